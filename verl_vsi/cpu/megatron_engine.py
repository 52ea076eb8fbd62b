"""verl's Megatron engine on a CPU: megatron-core's local layers, gloo, float32.

For the miniature and for tests. Megatron's vendor supports no such set: versions are pinned
(constraints-megatron-cpu.txt), and `verl-vsi doctor` says what of it is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.workers.engine.megatron.transformer_impl"

_METHODS = (
    "initialize",
    "to",
    "forward_backward_batch",
    "optimizer_zero_grad",
    "optimizer_step",
    "lr_scheduler_step",
    "get_per_tensor_param",
)
"""Of verl's engine: they call what asks for CUDA by name."""


def register() -> None:
    """Wait for verl's Megatron engine."""
    on_import(MODULE, _register)


def _register(impl: ModuleType) -> None:
    from verl.workers.engine.base import EngineRegistry

    from verl_vsi.patches import cuda_calls, megatron_imports

    upstream: Any = impl.MegatronEngineWithLMHead

    @EngineRegistry.register(model_type="language_model", backend="megatron", device="cpu")
    class MegatronOnCpu(upstream):
        """verl's own, whatever it asks of CUDA answered with the CPU."""

        def __init__(self, model_config: Any, engine_config: Any, *args: Any, **kwargs: Any) -> None:
            cuda_calls.install()
            _set_up(engine_config)
            with cuda_calls.CudaIsCpu():
                super().__init__(model_config, engine_config, *args, **kwargs)

        @cuda_calls.on_cpu
        def load_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            import torch

            for optimizer in _torch_optimizers(self.optimizer):
                _fill_state(optimizer)
            # float32 shards are views of the parameters, to which megatron-core writes (distrib_optimizer.py:1225)
            with torch.no_grad(), megatron_imports.without_modelopt():
                super().load_checkpoint(*args, **kwargs)
            for optimizer in _torch_optimizers(self.optimizer):
                _restore_steps(optimizer)

        @cuda_calls.on_cpu
        def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            with megatron_imports.without_modelopt():
                super().save_checkpoint(*args, **kwargs)

    for name in _METHODS:
        setattr(MegatronOnCpu, name, cuda_calls.on_cpu(getattr(upstream, name)))


def _set_up(engine_config: Any) -> None:
    """What a CPU can do, where the user has not said otherwise."""
    from verl_vsi.cpu.megatron_layers import layer_spec

    # verl's config takes bfloat16 and float16 only, and is frozen once it is made
    object.__setattr__(engine_config, "dtype", "float32")
    for name, value in {
        "transformer_impl": "local",
        "transformer_layer_spec": layer_spec,
        "gradient_accumulation_fusion": False,
    }.items():
        engine_config.override_transformer_config.setdefault(name, value)


def _torch_optimizers(optimizer: Any) -> Iterator[Any]:
    """torch's optimizers within Megatron's."""
    for part in getattr(optimizer, "chained_optimizers", [optimizer]):
        yield part.optimizer


def _fill_state(optimizer: Any) -> None:
    """Give Adam the state that it has after a step, which megatron-core asks for (distrib_optimizer.py:839)."""
    import torch

    for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
        if not optimizer.state[parameter]:
            moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.tensor(0.0), **moments}


def _restore_steps(optimizer: Any) -> None:
    """Put the number of steps where torch's Adam looks for it: megatron-core restores it to the groups alone."""
    import torch

    for group in optimizer.param_groups:
        for parameter in group["params"] if "step" in group else ():
            optimizer.state[parameter]["step"] = torch.tensor(float(group["step"]))

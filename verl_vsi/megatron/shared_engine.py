"""verl's Megatron engine with shared passes: the same batches in, the same numbers out.

How a batch is cut, packed and shown is FSDP2's (`verl_vsi.sharing`); only what one micro-batch computes is of here.
Every pipeline stage gets the micro-batch and packs it itself, so nothing but hidden states goes from stage to stage.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from megatron.core import __version__ as core_version
from megatron.core.models.gpt import GPTModel
from verl.utils.device import get_device_id
from verl.utils.megatron_utils import unwrap_model
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.megatron import transformer_impl

from verl_vsi.megatron.packed_model import install, log_prob_head
from verl_vsi.sharing import shadow, verl_batches
from verl_vsi.sharing.eligibility import VENDOR, why_upstream_megatron
from verl_vsi.sharing.packing import pack
from verl_vsi.sharing.shared_passes import SharedPasses, unpacked

if TYPE_CHECKING:
    from tensordict import TensorDict

FROZEN_TOWER = ("freeze_vision_model", "freeze_vision_projection")
"""Of Megatron-Bridge's providers."""


class MegatronSharedPasses(SharedPasses):
    """Shared passes in front of verl's Megatron engine."""

    def _build_tf_config(self) -> None:
        self.take_options()
        self.why_upstream = why_upstream_megatron(self) or why_upstream_core()
        if self.options.freeze_tower:
            self.engine_config.override_transformer_config.update(dict.fromkeys(FROZEN_TOWER, True))
        super()._build_tf_config()

    def initialize(self) -> None:
        """As verl's, and let the model take packed batches."""
        super().initialize()
        if self.why_upstream is None:
            stage = unwrap_model(self.module[0])
            install(stage)
            self.share(getattr(stage, "visual", None))

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        """As verl's, over micro-batches of whole groups; in shadow mode, verl's own passes first."""
        upstream = super().forward_backward_batch
        if not self.options.shadow or self.why_upstream_for(data) is not None:
            return upstream(data, loss_function, forward_only)
        # a pipeline's schedule runs all micro-batches, so passes are compared batch by batch
        theirs = self._alone(upstream, data, loss_function, forward_only, reason="shadow mode compares them")
        ours = self._alone(upstream, data, loss_function, forward_only)
        phase = shadow.phase_of(self, forward_only)
        shadow.remember(shadow.distances(theirs, ours, data, phase, self.get_model_parallel_group()))
        output = upstream(data, loss_function, forward_only)
        if not forward_only and "metrics" in output:
            output["metrics"] |= {name: [value] for name, value in shadow.take().items()}
        return output

    def _alone(
        self, passes: Any, data: TensorDict, loss_function: Any, forward_only: bool, reason: str | None = None
    ) -> shadow.Result:
        """What passes over a batch give, verl's own with a reason; gradients stay as they were."""
        buffers = [] if forward_only else [buffer for chunk in self.module for buffer in chunk.buffers]
        before = [buffer.grad_data.clone() for buffer in buffers]
        for buffer in buffers:
            buffer.grad_data.zero_()
        self.why_upstream = reason
        try:
            outputs = passes(data.copy(), loss_function, forward_only).get("model_output", {})
            named = [pair for chunk in self.module for pair in chunk.named_parameters() if pair[1].requires_grad]
            return outputs, {} if forward_only else {name: p.main_grad.clone() for name, p in named}
        finally:
            self.why_upstream = None
            for buffer, gradients in zip(buffers, before, strict=True):
                buffer.grad_data.copy_(gradients)

    def forward_step(
        self,
        batch_iter: Iterator[TensorDict],
        model: Any,
        logits_processor_func: Any,
        postprocess_micro_batch_func: Any,
    ) -> Any:
        """As verl's: what this stage computes of the next micro-batch, and what makes loss and metrics of it."""
        batch = next(batch_iter)
        if self.why_upstream_for(batch) is not None:
            batches = iter([self.with_stored_pixels(batch)])
            return super().forward_step(batches, model, logits_processor_func, postprocess_micro_batch_func)
        batch = batch.to(get_device_id())
        packed = pack(verl_batches.rollouts_of(batch))
        # each rank has the whole tower, and calls it for itself
        visuals = self.visuals_of(batch, packed, tower_group=None)
        head = log_prob_head(verl_batches.log_prob_head_of(batch))
        output = model(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)
        if isinstance(output, dict):
            output = unpacked(output, packed, batch)
        return output, partial(postprocess_micro_batch_func, data=batch)


def why_upstream_core() -> str | None:
    """What about megatron-core asks for verl's own passes."""
    if "output_processor" in inspect.signature(GPTModel.forward).parameters:
        return None
    return f"megatron-core {core_version} computes the logits of every token; 0.18 and newer can be told which"


def register(base: Any, device: str) -> None:
    """Offer shared passes in front of an engine.

    Args:
        base: verl's Megatron engine, or the CPU platform's.
        device: that it is registered for.
    """

    class SharedPassesMegatronEngine(MegatronSharedPasses, base):
        """verl's Megatron engine with shared passes."""

    EngineRegistry.register(model_type="language_model", backend="megatron", device=device, vendor=VENDOR)(
        SharedPassesMegatronEngine
    )


def register_all() -> None:
    """For GPUs, and for the CPU where its platform has an engine."""
    register(transformer_impl.MegatronEngineWithLMHead, "cuda")
    on_cpu = EngineRegistry._engines["language_model"]["megatron"].get("cpu")
    if on_cpu is not None:
        register(on_cpu, "cpu")

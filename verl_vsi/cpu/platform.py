"""The platform "cpu" for verl's registry, and verl's FSDP2 engine on it.

gloo, no IPC, no streams, and a logical GPU for Ray.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from verl_vsi.cpu.platform_choice import Surroundings, choose
from verl_vsi.on_import import on_import

ENGINES = "verl.workers.engine.fsdp.transformer_impl"


def register() -> None:
    """Register with verl (at once where verl is loading us)."""
    on_import("verl.plugin.platform", _register_platform)


def _register_platform(platform: ModuleType) -> None:
    import torch

    from verl_vsi.cpu import device

    @platform.PlatformRegistry.register(platform="cpu")
    class PlatformCpu(platform.PlatformBase):
        """Registered wherever verl is; available only where the CPU was chosen."""

        device_name = "cpu"
        vendor_name = "cpu"
        device_module = device

        def is_available(self) -> bool:
            return choose(Surroundings.here()).cpu

        def current_device(self) -> torch.device:
            return device.current_device()

        def device_count(self) -> int:
            return device.device_count()

        def set_device(self, device_index: int) -> None:
            pass

        def synchronize(self, device_index: int | None = None) -> None:
            pass

        def manual_seed(self, seed: int) -> None:
            torch.manual_seed(seed)

        def manual_seed_all(self, seed: int) -> None:
            torch.manual_seed(seed)

        def set_allocator_settings(self, settings: str) -> None:
            pass

        def empty_cache(self) -> None:
            pass

        def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
            return None, None

        def communication_backend_name(self) -> str:
            return "gloo"

        def visible_devices_envvar(self) -> str:
            return "CUDA_VISIBLE_DEVICES"

        @contextmanager
        def nvtx_range(self, msg: str) -> Iterator[None]:
            yield

        def profiler_start(self) -> None:
            pass

        def profiler_stop(self) -> None:
            pass

        def ray_resource_name(self) -> str:
            # A logical GPU (ray_kwargs.ray_init.num_gpus=N): vLLM's replica asks Ray for accelerator ids, and Ray
            # gives them only for the kinds that it knows.
            return "GPU"

        def ray_noset_envvars(self) -> list[str]:
            return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

        def is_ipc_supported(self) -> bool:
            return False  # weights go to the rollout through POSIX shared memory

        def cudart(self) -> Any:
            return None


def register_engines() -> None:
    """Wait for verl's engine module."""
    on_import(ENGINES, _register_engines)


def _register_engines(impl: Any) -> None:
    from verl.workers.engine.base import EngineRegistry

    EngineRegistry.register(model_type="language_model", backend="fsdp2", device="cpu")(impl.FSDPEngineWithLMHead)

    @EngineRegistry.register(model_type="language_model", backend="fsdp", device="cpu")
    class Fsdp1(impl.FSDPEngineWithLMHead):
        """FSDP1 moves weights to a GPU when it synchronises them: say so before it does."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ValueError(
                "strategy 'fsdp' (FSDP1) does not run on a CPU. Use FSDP2: actor_rollout_ref.actor.strategy=fsdp2 "
                "actor_rollout_ref.ref.strategy=fsdp2 (verl's SFT trainer: engine.strategy=fsdp2)"
            )

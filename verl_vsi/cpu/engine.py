"""verl's FSDP2 engine, registered for the device "cpu" as soon as verl imports it."""

from __future__ import annotations

from typing import Any

from verl_vsi.compat.on_import import on_import

MODULE = "verl.workers.engine.fsdp.transformer_impl"


def register() -> None:
    """Wait for verl's engine module."""
    on_import(MODULE, _register)


def _register(impl: Any) -> None:
    from verl.workers.engine.base import EngineRegistry

    _never_pin_memory(impl)
    EngineRegistry.register(model_type="language_model", backend="fsdp2", device="cpu")(impl.FSDPEngineWithLMHead)

    @EngineRegistry.register(model_type="language_model", backend="fsdp", device="cpu")
    class Fsdp1(impl.FSDPEngineWithLMHead):
        """FSDP1 moves weights to a GPU when it synchronises them: say so before it does."""

        def __init__(self, *_: Any, **__: Any) -> None:
            raise ValueError(
                "strategy 'fsdp' (FSDP1) does not run on a CPU. Use FSDP2: actor_rollout_ref.actor.strategy=fsdp2 "
                "actor_rollout_ref.ref.strategy=fsdp2 (verl's SFT trainer: engine.strategy=fsdp2)"
            )


def _never_pin_memory(impl: Any) -> None:
    """The reference policy asks for pinned memory, which torch refuses without an accelerator."""
    policy = impl.CPUOffloadPolicy

    def unpinned(pin_memory: bool = True) -> Any:
        return policy(pin_memory=False)

    impl.CPUOffloadPolicy = unpinned

"""Offer the shared passes to verl, beside its own: by engine vendor and by trainer name.

A run takes them by `VERL_ENGINE_VENDOR=vsi_shared` in its workers and `trainer.v1.trainer_mode=vsi_sync`, both of which
`passes=shared` sets; `passes=stock` leaves verl as it is.
"""

from __future__ import annotations

from typing import Any

from verl_vsi.compat.on_import import on_import
from verl_vsi.engine.names import TRAINER, VENDOR

ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"
TRAINER_MODULE = "verl.trainer.ppo.v1.trainer_sync"


def register() -> None:
    """Wait for verl's modules; import nothing now."""
    on_import(ENGINE_MODULE, _register_engine)
    on_import(TRAINER_MODULE, _register_trainer)


def _register_engine(impl: Any) -> None:
    from verl.workers.engine.base import EngineRegistry

    from verl_vsi.engine.shared import SharedPassesMixin

    @EngineRegistry.register(model_type="language_model", backend="fsdp2", device=["cuda", "npu", "cpu"], vendor=VENDOR)
    class SharedPassesEngine(SharedPassesMixin, impl.FSDPEngineWithLMHead):
        """verl's FSDP2 engine with shared passes."""

    @EngineRegistry.register(model_type="language_model", backend="fsdp", device=["cuda", "npu", "cpu"], vendor=VENDOR)
    class StockEngine(impl.FSDPEngineWithLMHead):
        """verl's FSDP1 engine as it is, and a word on it."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            print("verl-vsi: verl's own passes: shared passes need strategy=fsdp2, this run has fsdp", flush=True)
            super().__init__(*args, **kwargs)


def _register_trainer(module: Any) -> None:
    from verl_vsi.engine.trainer import SharedPassesTrainer

    module.register_trainer(TRAINER)(SharedPassesTrainer)

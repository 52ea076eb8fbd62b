"""Offer the shared passes to verl, beside its own: by engine vendor and by trainer name.

A run takes them by `VERL_ENGINE_VENDOR=vsi_shared` in its workers and `trainer.v1.trainer_mode=vsi_sync`, both of which
`passes=shared` sets; `passes=stock` leaves verl as it is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from verl_vsi.compat.on_import import on_import
from verl_vsi.engine import counts

ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"
TRAINER_MODULE = "verl.trainer.ppo.v1.trainer_sync"
AGENT_LOOP_MODULE = "verl.experimental.agent_loop.single_turn_agent_loop"


def register() -> None:
    """Wait for verl's modules; import nothing now."""
    on_import(ENGINE_MODULE, _register_engine)
    on_import(TRAINER_MODULE, _register_trainer)
    on_import(AGENT_LOOP_MODULE, _register_agent_loop)
    counts.register()


def _register_engine(_: Any) -> None:
    import_module("verl_vsi.engine.shared")  # registers itself; where it asked for verl's module, it goes on by itself


def _register_trainer(_: Any) -> None:
    import_module("verl_vsi.engine.trainer")


def _register_agent_loop(_: Any) -> None:
    import_module("verl_vsi.rollout.single_turn")

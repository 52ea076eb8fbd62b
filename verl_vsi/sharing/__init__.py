"""Training passes that do the work of a group once: one vision pass a video, one prompt pass a group.

vsGRPO samples n answers to one question on one video. verl's engine computes the video and the prompt n times, in each
of its three passes (old, reference, update); the engine here computes them once, and gives the same numbers.

Offered to verl beside its own, by engine vendor and by trainer name: a run takes them by `VERL_ENGINE_VENDOR=vsi_shared` in
its workers and `trainer.v1.trainer_mode=vsi_sync`, both of which `passes=shared` sets; `passes=stock` leaves verl as it
is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from verl_vsi.on_import import on_import

ENGINE_MODULE = "verl.workers.engine.fsdp.transformer_impl"
TRAINER_MODULE = "verl.trainer.ppo.v1.trainer_sync"
AGENT_LOOP_MODULE = "verl.experimental.agent_loop.single_turn_agent_loop"


def register() -> None:
    """Wait for verl's modules; import nothing now."""
    on_import(ENGINE_MODULE, _register_engine)
    on_import(TRAINER_MODULE, _register_trainer)
    on_import(AGENT_LOOP_MODULE, _register_agent_loop)


def _register_engine(_: Any) -> None:
    import_module("verl_vsi.sharing.engine")  # registers itself; where it asked for verl's module, it goes on by itself


def _register_trainer(_: Any) -> None:
    import_module("verl_vsi.sharing.group_trainer")


def _register_agent_loop(_: Any) -> None:
    import_module("verl_vsi.sharing.agent_loop")

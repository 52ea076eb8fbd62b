"""One computation a group: a question's video and prompt once for all of its rollouts, in rollout and in training.

vsGRPO samples n answers to one question on one video. verl prepares and computes the video and the prompt n times, in
rollout and in each of its three passes (old, reference, update); here it is done once, and gives the same numbers.

The arrows go one way. `engine` is verl's FSDP2; `shared_passes`, and what it takes, know no engine and no model: the
engine on Megatron (`verl_vsi.megatron.shared_engine`) starts there.

    rollout   agent_loop_manager -> agent_loop -> stored_video
    trainer   group_trainer      -> batching -> packing -> packed_layout
    passes    engine -> shared_passes, shadow -> verl_batches -> batching, vision, log_probs
                                 -> model_hooks -> attention, linear_attention -> kernels -> packed_layout
    all three ask `eligibility`, as recipes and checks do: what can a run share, and why not the rest?

Offered to verl beside its own, by vendor and by trainer name. A run takes them by `VERL_ENGINE_VENDOR=vsi_shared` in
its workers and `trainer.v1.trainer_mode=vsi_sync`, both of which `passes=shared` sets; `passes=stock` leaves verl as
it is.
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

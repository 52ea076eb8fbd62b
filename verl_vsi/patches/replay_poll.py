"""verl's replay buffer looks every 2 s whether the rollouts are done; a small model on a CPU is done in less.

The interval is a constructor argument that no setting reaches (a custom sampler would, but it loses group filtering).
"""

from __future__ import annotations

from verl_vsi.patches._constructor_default import set_default

MODULE = "verl.trainer.ppo.v1.replay_buffer"
SECONDS = 0.1


def install() -> None:
    """Poll more often."""
    set_default(MODULE, "ReplayBuffer", "poll_interval", lambda: SECONDS)

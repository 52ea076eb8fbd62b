"""verl's replay buffer looks every 2 s whether the rollouts are done; a small model on a CPU is done in less.

The interval is a constructor argument that no setting reaches (a custom sampler would, but it loses group filtering).
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.compat.on_import import on_import

MODULE = "verl.trainer.ppo.v1.replay_buffer"
SECONDS = 0.1


def register() -> None:
    """Poll more often."""
    on_import(MODULE, _wrap)


def _wrap(replay_buffer: Any) -> None:
    upstream = replay_buffer.ReplayBuffer.__init__

    @wraps(upstream)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        kwargs.setdefault("poll_interval", SECONDS)
        upstream(self, *args, **kwargs)

    replay_buffer.ReplayBuffer.__init__ = __init__

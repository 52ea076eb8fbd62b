"""vLLM's processes spin for a second after every message; on few cores they starve those that they wait for.

After a millisecond of it they sleep here until the next message wakes them, as vLLM does after the second. The time is
a constructor argument that no setting reaches.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.compat.on_import import on_import

MODULE = "vllm.distributed.device_communicators.shm_broadcast"
SECONDS = 0.001


def register() -> None:
    """Spin for a shorter time."""
    on_import(MODULE, _wrap)


def _wrap(shm_broadcast: Any) -> None:
    upstream = shm_broadcast.SpinCondition.__init__

    @wraps(upstream)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        kwargs.setdefault("busy_loop_s", SECONDS)
        upstream(self, *args, **kwargs)

    shm_broadcast.SpinCondition.__init__ = __init__

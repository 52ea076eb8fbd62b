"""vLLM's processes spin for a second after every message; on few cores they starve those that they wait for.

After a millisecond of it they sleep here until the next message wakes them, as vLLM does after the second. The time is
a constructor argument that no setting reaches.
"""

from __future__ import annotations

from verl_vsi.patches._constructor_default import set_default

MODULE = "vllm.distributed.device_communicators.shm_broadcast"
SECONDS = 0.001


def install() -> None:
    """Spin for a shorter time."""
    set_default(MODULE, "SpinCondition", "busy_loop_s", lambda: SECONDS)

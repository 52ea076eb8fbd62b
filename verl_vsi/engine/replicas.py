"""Whether every vLLM replica still answers, asked when rollouts are missing.

verl marks the questions of a dead replica as failed, its balancer sends it more (it has the fewest in flight), and the
weight sync at the step's end waits for it for ever. So the run stops here and says what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

_SECONDS = 120.0


class ReplicaLostError(RuntimeError):
    """A vLLM replica died while a step was sampled."""


def stop_if_lost(replicas: Sequence[Any], token: int, run: str, cause: BaseException | None = None) -> None:
    """Have each replica generate one token.

    Args:
        replicas: verl's.
        token: any token id.
        run: folder of the checkpoints, for the message.
        cause: what went wrong before, if anything raised.

    Raises:
        ReplicaLostError: one did not; names it, what it died of, and the way on.
    """
    asked = {
        _name(replica): replica.server_handle.generate.remote([token], {"max_tokens": 1}, uuid4().hex)
        for replica in replicas
    }
    dead = {name: error for name, answer in asked.items() if (error := _error(answer)) is not None}
    if dead:
        named = "; ".join(f"{name}: {error}" for name, error in dead.items())
        raise ReplicaLostError(
            f"{len(dead)} of {len(asked)} vLLM replicas no longer answer: {named}. This step's update was not made. "
            "Look for the cause above and in the system's log (out of memory?); the same command goes on from the last "
            f"checkpoint in {run}"
        ) from cause


def _name(replica: Any) -> str:
    return f"replica {replica.replica_rank} at {replica.server_address}"


def _error(answer: Any) -> str | None:
    import ray

    try:
        ray.get(answer, timeout=_SECONDS)
    except Exception as error:  # of Ray, of vLLM, of the network: whatever it is, it does not answer
        last = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__} {last[-1][:200]}"
    return None

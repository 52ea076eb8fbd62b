"""Who of a run has died: asked of Ray, by the driver, so that no wait for a dead process goes on for ever.

verl waits without a limit in several places (for TransferQueue's storage, for rollouts, for the weight sync), and a
limit in each would have to fit the slowest step of the largest model. Ray knows at once which actor's process has
ended by itself; those that verl ends on purpose have another cause of death there.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_INTERVAL = 2.0
"""Seconds between two looks."""
_GRACE = 15.0
"""Seconds that verl has to say it itself, and better, before the run is ended."""
_BY_ITSELF = {"WORKER_DIED": "", "NODE_DIED": ", its machine is gone", "OOM": ", killed by Ray for want of memory"}
"""Ray's reasons for a death that nobody asked for, and what to add of them."""


def watch_actors(on_death: Callable[[str], None], interval: float = _INTERVAL, grace: float = _GRACE) -> None:
    """Look at the job's actors until one is dead and the run still goes on after `grace`.

    Args:
        on_death: called once, with who died and of what.
        interval: seconds between two looks.
        grace: seconds.
    """
    while not explain_deaths():
        time.sleep(interval)
    time.sleep(grace)
    on_death(explain_deaths())


def explain_deaths() -> str:
    """Who of this job has died by now, and where to look; empty where nobody has, or without Ray."""
    if not (dead := _dead_now()):
        return ""
    return f"died: {'; '.join(dead)}. Look for the cause above and in the system's log (`dmesg`: out of memory?)"


def _dead_now() -> list[str]:
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return []
    from ray._private.state import state  # the public way asks the dashboard, which need not run

    return describe_deaths(state.actor_table(None, job_id=ray.get_runtime_context().job_id).values())


def describe_deaths(actors: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name, process and host of each actor that died by itself, the first to die first.

    Args:
        actors: rows of Ray's actor table.
    """
    dead = [actor for actor in actors if actor["State"] == "DEAD" and _reason(actor) in _BY_ITSELF]
    return [
        f"{actor['ActorClassName']} {actor['Name'] or ''} (process {actor['Pid']} on {actor['Address']['IPAddress']}"
        f"{_BY_ITSELF[_reason(actor)]})"
        for actor in sorted(dead, key=lambda actor: actor["EndTime"])
    ]


def _reason(actor: Mapping[str, Any]) -> str:
    cause = str(actor["DeathCause"])
    match = re.search(r"reason: (\w+)", cause)
    return "OOM" if "oom_context" in cause else match[1] if match else ""

"""Ray itself says who died by itself; what is ended on purpose is no death."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from verl_vsi.lifetime.dead_actors import describe_deaths, watch_actors

pytest.importorskip("ray")

CLUSTER = """
import os, signal, time
import ray
from verl_vsi.lifetime.dead_actors import watch_actors

ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)

@ray.remote(num_cpus=0)
class Storage:
    def pid(self):
        return os.getpid()

names = ("alive", "closed", "forgotten", "killed")
actors = {name: Storage.options(name=name).remote() for name in names}
pids = {name: ray.get(actor.pid.remote()) for name, actor in actors.items()}
ray.kill(actors.pop("closed"))
del actors["forgotten"]
os.kill(pids["killed"], signal.SIGKILL)
watch_actors(print, interval=0.2, grace=1.0)
ray.shutdown()
"""


def test_who_was_killed_is_named_and_who_was_ended_is_not() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VSI_RUN"}
    command = [sys.executable, "-c", CLUSTER]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    assert "died: Storage killed (process " in done.stdout
    for name in ("alive", "closed", "forgotten"):
        assert name not in done.stdout


def row(reason: str, state: str = "DEAD", name: str = "unit") -> dict[str, Any]:
    """Of Ray's actor table."""
    address = {"IPAddress": "10.0.0.1"}
    context = "oom_context { error_message: 'too much memory' }"
    cause = context if reason == "OOM" else f"actor_died_error_context {{ reason: {reason} }}"
    return {
        "ActorClassName": "Storage", "Name": name, "State": state, "DeathCause": cause,
        "Pid": 7, "Address": address, "EndTime": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "state", "words"),
    [
        ("WORKER_DIED", "DEAD", ""),  # kill -9, out of memory by the kernel's word
        ("NODE_DIED", "DEAD", ", its machine is gone"),
        ("OOM", "DEAD", ", killed by Ray for want of memory"),
        ("RAY_KILL", "DEAD", None),  # verl ends it
        ("OUT_OF_SCOPE", "DEAD", None),  # nobody needs it any more
        ("WORKER_DIED", "RESTARTING", None),  # Ray starts it again
    ],
)
def test_only_a_death_by_itself_counts(reason: str, state: str, words: str | None) -> None:
    dead = [] if words is None else [f"Storage unit (process 7 on 10.0.0.1{words})"]
    assert describe_deaths([row(reason, state)]) == dead


def test_without_ray_nobody_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    class EnoughError(Exception):
        pass

    def stop(_: float) -> None:
        raise EnoughError

    monkeypatch.setattr("time.sleep", stop)
    with pytest.raises(EnoughError):
        watch_actors(print)

"""verl's registry gives a server that ends with its engine, in runs of ours only."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("verl")
pytest.importorskip("vllm")

REGISTRY = """
from verl.workers.rollout.replica import RolloutReplicaRegistry
print(RolloutReplicaRegistry.get("vllm").__module__)
"""
DEATH = """
import asyncio
from types import SimpleNamespace
from verl_vsi.lifetime.vllm_server import vLLMHttpServer

async def main():
    server = vLLMHttpServer.__new__(vLLMHttpServer)
    server.engine, server.replica_rank = SimpleNamespace(errored=False), 3
    watching = asyncio.ensure_future(server._watch_engine())
    await asyncio.sleep(0.5)
    print("watching" if not watching.done() else "ended", flush=True)
    server.engine.errored = True
    await watching

asyncio.run(main())
"""


def python(code: str, run: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VSI_RUN": run, "VERL_PLATFORM": "cpu"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("run", "module"),
    [("tests", "verl_vsi.lifetime.vllm_server"), ("", "verl.workers.rollout.vllm_rollout.vllm_async_server")],
)
def test_the_registry_gives_ours_in_our_runs_only(run: str, module: str) -> None:
    if not run:
        pytest.importorskip("torchvision")
    done = python(REGISTRY, run)
    assert done.stdout.splitlines()[-1:] == [module], done.stderr[-2000:]


def test_a_server_ends_when_its_engine_has_died_and_says_so() -> None:
    done = python(DEATH, "tests")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "watching"
    assert "vLLM's engine of replica 3 has died" in done.stderr

"""verl's registry gives a server that ends with its engine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("verl")
pytest.importorskip("vllm")

DEATH = """
import asyncio
from types import SimpleNamespace

import verl
from verl.workers.rollout.replica import RolloutReplicaRegistry
print(RolloutReplicaRegistry.get("vllm").__module__, flush=True)
from verl_vsi.lifetime.vllm_server import vLLMHttpServer

async def main():
    server = vLLMHttpServer.__new__(vLLMHttpServer)
    server.engine, server.replica_rank = SimpleNamespace(errored=False), 3
    watching = asyncio.ensure_future(server._watch_engine())
    await asyncio.sleep(0.5)
    print("ended" if watching.done() else "watching", flush=True)
    server.engine.errored = True
    await watching

asyncio.run(main())
"""


def test_a_server_from_the_registry_ends_when_its_engine_has_died_and_says_so() -> None:
    environment = {**os.environ, "VSI_RUN": "tests", "VERL_PLATFORM": "cpu"}
    command = [sys.executable, "-c", DEATH]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == ["verl_vsi.lifetime.vllm_server", "watching"], done.stderr[-2000:]
    assert "vLLM's engine of replica 3 has died" in done.stderr

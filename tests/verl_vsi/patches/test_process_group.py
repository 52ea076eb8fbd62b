"""The process group of verl's workers on a CPU, really built, each in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

pytest.importorskip("verl")

from verl.plugin.platform import get_platform

pytestmark = pytest.mark.skipif(get_platform().device_name != "cpu", reason="an accelerator is present")


def joined(program: str) -> subprocess.CompletedProcess[str]:
    """A program in torchrun's environment for a group of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    group = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    program = f"import torch, verl\nfrom verl.utils import distributed\n{program}"
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **group}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("name", ["initialize_global_process_group", "initialize_global_process_group_ray"])
def test_upstream_still_asks_for_gloo_twice(name: str) -> None:
    """When this fails, verl or torch has fixed it: remove verl_vsi/patches/process_group.py."""
    run = joined(f"distributed.{name}.__wrapped__(timeout_second=10)")
    assert run.returncode
    assert "cpu:gloo,cpu:gloo" in run.stderr or "uplicate" in run.stderr, run.stderr[-2000:]


def test_a_ray_worker_gets_its_group() -> None:
    run = joined(
        "distributed.initialize_global_process_group_ray(timeout_second=10)\n"
        "torch.distributed.barrier()\n"
        "print(torch.distributed.get_world_size())"
    )
    assert run.stdout.endswith("1\n"), run.stderr[-2000:]


def test_torchrun_gets_its_group_and_its_ranks() -> None:
    run = joined(
        "ranks = distributed.initialize_global_process_group(timeout_second=10)\n"
        "total = torch.ones(1)\n"
        "torch.distributed.all_reduce(total)\n"
        "print(ranks, total.item())"
    )
    assert run.stdout.endswith("(0, 0, 1) 1.0\n"), run.stderr[-2000:]

"""The process group of verl's workers on a CPU, really built."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("verl")

import torch.distributed
from verl.plugin.platform import get_platform
from verl.utils import distributed

pytestmark = pytest.mark.skipif(get_platform().device_name != "cpu", reason="an accelerator is present")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torchrun's environment for a group of one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    group = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in group.items():
        monkeypatch.setenv(name, value)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("name", ["initialize_global_process_group", "initialize_global_process_group_ray"])
def test_upstream_still_asks_for_gloo_twice(name: str) -> None:
    """When this fails, verl or torch has fixed it: remove verl_vsi/patches/process_group.py."""
    upstream: Any = getattr(distributed, name).__wrapped__
    with pytest.raises((ValueError, RuntimeError), match=r"cpu:gloo,cpu:gloo|[Dd]uplicate"):
        upstream(timeout_second=10)


def test_a_ray_worker_gets_its_group() -> None:
    distributed.initialize_global_process_group_ray(timeout_second=10)
    assert torch.distributed.get_world_size() == 1
    torch.distributed.barrier()


def test_torchrun_gets_its_group_and_its_ranks() -> None:
    assert distributed.initialize_global_process_group(timeout_second=10) == (0, 0, 1)
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    assert total.item() == 1

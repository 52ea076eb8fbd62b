"""Two nodes of Ray on this machine, one rank and one vLLM replica on each, by multi_node.sh.

Three steps with a checkpoint in a folder that both see; then a node is killed, and the same command resumes. Some ten
minutes: pytest -m slow tests/recipes/test_two_nodes.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest
from vsi_support.small_rooms import make_rooms

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(2400)]

SCRIPT = Path(str(files("verl_vsi.recipes"))) / "scripts" / "multi_node.sh"
NODE = ("--num-cpus=16", "--num-gpus=1", "--object-store-memory=200000000", "--block")
TOKEN = {"RAY_AUTH_MODE": "token"} if (Path.home() / ".ray" / "auth_token").exists() else {}
TRAIN = (
    "vsi.hardware.nnodes=2",
    "vsi.hardware.ray_cpus=null",
    "vsi.hardware.ray_gpus=null",
    "data.train_batch_size=4",
    "trainer.save_freq=1",
    "trainer.test_freq=-1",
    "trainer.val_before_train=false",
    "trainer.logger=[console,file]",
)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Cluster:
    """Two raylets of this test's own: `ray stop` would stop everyone's."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        # where another Ray of this machine has the usual port, a node's agent takes no jobs
        command = ["bash", str(SCRIPT), *words, *NODE, f"--dashboard-agent-listen-port={free_port()}"]
        self.nodes[name] = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )

    def start_head(self) -> None:
        ports = (f"--port={self.port}", f"--dashboard-port={self.dashboard}")
        self.start("head", "head", "--node-ip-address=127.0.0.1", *ports)
        wait(lambda: answers(self.dashboard) and self.takes_jobs(), 240, "Ray's dashboard")

    def start_worker(self) -> None:
        self.start("worker", "worker", f"127.0.0.1:{self.port}", "--node-ip-address=127.0.0.2")
        wait(lambda: "Ray runtime started" in (self.folder / "worker.log").read_text(), 120, "the second node")

    def takes_jobs(self) -> bool:
        """A head that has just started answers 500: "No available agent to submit job"."""
        command = ["ray", "job", "submit", f"--address=http://127.0.0.1:{self.dashboard}", "--no-wait", "--", "true"]
        return subprocess.run(command, env=self.environment | TOKEN, capture_output=True, check=False).returncode == 0

    def submit(self, *overrides: str) -> subprocess.Popen[bytes]:
        log = (self.folder / "job.log").open("ab")
        command = ["bash", str(SCRIPT), "submit", "vsgrpo_miniature", *TRAIN, *overrides]
        environment = self.environment | {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard}"}
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)

    def stop(self, name: str) -> None:
        """End a node: its `ray start --block` ends what it started."""
        node = self.nodes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGTERM)
        node.wait(120)


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def wait(ready: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what} was not ready after {seconds:g} s"
        time.sleep(1)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    make_rooms(tmp_path, frames=True)
    folders = {"VSI_ROOT": str(tmp_path / "data"), "VSI_OUTPUTS": str(tmp_path / "outputs")}
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as ray:
        # In Ray's usual folder other runs of this machine would find the cluster, and join it.
        variables = {"HARDWARE": "cpu", "VERL_PLATFORM": "cpu", "RAY_TMPDIR": ray}
        cluster = Cluster(tmp_path, os.environ | folders | variables)
        cluster.start_head()
        cluster.start_worker()
        yield cluster
        for name in list(cluster.nodes):
            cluster.stop(name)


def test_three_steps_a_dead_node_and_a_resume(cluster: Cluster) -> None:
    run = cluster.folder / "outputs" / "vsgrpo_miniature"
    tracker = run / "latest_checkpointed_iteration.txt"
    assert cluster.submit("trainer.total_training_steps=3").wait(1200) == 0, tail(cluster)
    assert tracker.read_text() == "3"
    shards = sorted(path.name for path in (run / "global_step_3" / "actor").glob("model_world_size_2_rank_*.pt"))
    assert shards == ["model_world_size_2_rank_0.pt", "model_world_size_2_rank_1.pt"]

    job = cluster.submit("trainer.total_training_steps=30")
    wait(lambda: int(tracker.read_text()) >= 4, 900, "step 4")
    cluster.stop("worker")
    assert job.wait(600) != 0
    reached = int(tracker.read_text())

    cluster.start_worker()
    assert cluster.submit(f"trainer.total_training_steps={reached + 1}").wait(1200) == 0, tail(cluster)
    assert int(tracker.read_text()) == reached + 1


def tail(cluster: Cluster) -> str:
    return (cluster.folder / "job.log").read_text(errors="replace")[-4000:]

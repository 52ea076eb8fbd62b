"""The multi-node scripts: what they start, with which settings, and what they refuse.

Ray, SLURM and the trainer are stand-ins that write down how they were called; `test_two_nodes` has the real ones.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPTS = Path(str(files("verl_vsi.recipes"))) / "scripts"

CALLED = """#!/usr/bin/env bash
echo "$(basename "$0") $* [auth=${RAY_AUTH_MODE:-} cpus=${SRUN_CPUS_PER_TASK:-} ray=${RAY_ADDRESS:-}]" >> "$CALLS"
"""
STAND_INS = {
    "ray": CALLED,
    "python": CALLED,
    "sleep": "#!/usr/bin/env bash\n",
    "scontrol": "#!/usr/bin/env bash\necho node1\necho node2\n",
    "hostname": "#!/usr/bin/env bash\necho fe80::1 10.0.0.7\n",
    # runs the command here, after its own options
    "srun": CALLED + 'while [[ $1 == --* ]]; do shift; done\n"$@"\n',
}
FOLDERS = {"VSI_ROOT": "/data/vsi", "VSI_OUTPUTS": "/data/outputs"}
SLURM = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "64"}


@dataclass
class Machine:
    """A folder of stand-ins, and a home."""

    folder: Path

    def run(self, script: str, *arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        """Exit status, what was said on stderr, and the calls."""
        calls = self.folder / "calls"
        calls.write_text("")
        env = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder), "CALLS": str(calls)}
        command = ["bash", str(SCRIPTS / script), *arguments]
        done = subprocess.run(command, env=env | variables, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr, calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return Machine(tmp_path)


COMMANDS = {
    "multi_node.sh": (("submit", "vsgrpo_7b", "mode=think"), FOLDERS),
    "vsgrpo_slurm.sh": (("vsgrpo_7b", "mode=think"), FOLDERS | SLURM),
}


@pytest.mark.parametrize("script", COMMANDS)
def test_checkpoints_go_to_an_absolute_folder(machine: Machine, script: str) -> None:
    arguments, variables = COMMANDS[script]
    code, stderr, calls = machine.run(script, *arguments, **variables)
    assert code == 0, stderr
    (trainer,) = [call for call in calls if "main_ppo" in call and not call.startswith("srun")]
    assert "+recipe=vsgrpo_7b hardware=2x8" in trainer
    assert "trainer.default_local_dir=/data/outputs/${trainer.experiment_name} mode=think" in trainer


@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("folder", ["", "outputs", "./outputs"])
def test_a_relative_folder_is_refused_before_anything_starts(
    machine: Machine, script: str, name: str, folder: str
) -> None:
    arguments, variables = COMMANDS[script]
    code, stderr, calls = machine.run(script, *arguments, **{**variables, name: folder})
    assert (code, calls) == (2, [])
    assert f"{name}='{folder}'" in stderr


@pytest.mark.parametrize("script", COMMANDS)
@pytest.mark.parametrize(("token", "mode"), [(True, "token"), (False, "")])
def test_rays_clients_authenticate_where_a_token_lies(machine: Machine, script: str, token: bool, mode: str) -> None:
    """`ray start` asks for it by itself, `ray job submit` and `ray.init` send it only when told to."""
    if token:
        (machine.folder / ".ray").mkdir()
        (machine.folder / ".ray" / "auth_token").write_text("t")
    arguments, variables = COMMANDS[script]
    _, _, calls = machine.run(script, *arguments, **variables)
    assert calls
    assert all(f"[auth={mode} " in call for call in calls)


def test_slurms_steps_get_the_jobs_cpus_and_rays_head_an_ipv4_address(machine: Machine) -> None:
    arguments, variables = COMMANDS["vsgrpo_slurm.sh"]
    _, _, calls = machine.run("vsgrpo_slurm.sh", *arguments, **variables)
    steps = [call for call in calls if call.startswith("srun")]
    assert len(steps) == 4  # the address, Ray's head, Ray's worker, the trainer
    assert all("cpus=64 " in step for step in steps)
    assert "ray start --head --node-ip-address=10.0.0.7" in "\n".join(steps)
    (trainer,) = [call for call in calls if call.startswith("python")]
    assert trainer.endswith("ray=10.0.0.7:6379]")


def test_ray_is_started_with_what_is_added(machine: Machine) -> None:
    assert "--num-gpus=4" in machine.run("multi_node.sh", "head", "--num-gpus=4")[2][0]
    assert (
        "--address=10.0.0.7:6379 --num-gpus=4"
        in machine.run("multi_node.sh", "worker", "10.0.0.7", "--num-gpus=4")[2][0]
    )
    assert machine.run("multi_node.sh")[0] == 2

"""A run that no recipe of ours has started finds verl, torch, transformers, vLLM and its environment as they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("verl")

OURS = ("VSI_RUN", "VERL_PLATFORM", "TORCHDYNAMO_DISABLE", "VERL_USE_EXTERNAL_PLUGINS")

SNAPSHOT = r"""
import importlib, json, os, re, sys, types
from verl_vsi.cpu import builds  # a CPU machine whose packages are CPU builds: the same in both snapshots
builds.declare_torchvision_ops()
builds.hide_cuda_builds()
builds.answer_for_vllm()
before = dict(os.environ)
MODULES = '''
verl verl.trainer.main_ppo verl.trainer.sft_trainer verl.trainer.ppo.v1.trainer_base verl.trainer.ppo.v1.trainer_sync
verl.trainer.ppo.v1.replay_buffer verl.trainer.ppo.v1.agent_loop_tq verl.experimental.agent_loop.agent_loop
verl.experimental.agent_loop.single_turn_agent_loop verl.workers.engine verl.workers.engine.fsdp.transformer_impl
verl.workers.engine_workers verl.utils.distributed verl.utils.tensordict_utils verl.models.transformers.qwen2_vl
verl.model_merger.base_model_merger verl.plugin.platform hydra omegaconf transformers
transformers.models.qwen2_vl.modeling_qwen2_vl vllm vllm.model_executor.layers.utils
vllm.distributed.device_communicators.shm_broadcast
'''.split()
imported = []
for name in MODULES:
    try:
        importlib.import_module(name)
        imported.append(name)
    except Exception as error:  # as it may be on this machine: the same with and without the plug-in
        imported.append(f"{name}: {type(error).__name__}")

def plain(text):
    return re.sub(r"0x[0-9a-f]+", "0x", str(text))[:200]

def of(value):
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}:{value.__code__.co_firstlineno}"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, type):
        return f"class {value.__module__}.{value.__qualname__}"
    if isinstance(value, tuple):  # torch makes some of sets, in any order
        return plain(sorted(map(repr, value)))
    if isinstance(value, (bool, int, float, str, type(None))):
        return plain(repr(value))
    return f"a {type(value).__name__}"

# verl's loader of plug-ins looks at its own variables; a class's text may list a set, in any order
LOADER = {"verl._allowed", "verl._discovered", "verl._ep", "verl._entry_points", "verl._plugins_policy", "verl._e"}
seen = {}
for name, module in sorted(sys.modules.items()):
    if module is None:
        seen[name] = "hidden"
    if name.split(".")[0] not in ("verl", "torch", "transformers", "vllm") or module is None:
        continue
    for key, value in list(vars(module).items()):
        if key.startswith("__") and key != "__version__":
            continue
        if f"{name}.{key}" in LOADER:
            continue
        seen[f"{name}.{key}"] = of(value)
        if isinstance(value, type) and value.__module__ == name:
            for member, what in list(vars(value).items()):
                if member == "__doc__":
                    continue
                seen[f"{name}.{key}.{member}"] = of(what)
changed = {key: os.environ.get(key) for key in {*before, *os.environ} if before.get(key) != os.environ.get(key)}
print(json.dumps({"imported": imported, "attributes": seen, "environment": changed}))
"""


def process(program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A Python process of somebody else's run."""
    inherited = {key: value for key, value in os.environ.items() if key not in OURS}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**inherited, "PYTHONHASHSEED": "0", **env},
        capture_output=True,
        text=True,
        timeout=280,
    )


def snapshot(**env: str) -> dict[str, Any]:
    run = process(SNAPSHOT, **env)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def gpu_machine(folder: Path) -> dict[str, str]:
    """What tells a machine with a GPU, as far as it can be had here: its tool answers."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n")
    tool.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Of processes without the plug-in, beside it, and of ours; on a machine without an accelerator and with one."""
    gpu = gpu_machine(tmp_path_factory.mktemp("bin"))
    wanted = {
        "without": {"VERL_USE_EXTERNAL_PLUGINS": "none"},
        "without again": {"VERL_USE_EXTERNAL_PLUGINS": "none"},
        "beside": {},
        "without, GPU": {"VERL_USE_EXTERNAL_PLUGINS": "none", **gpu},
        "beside, GPU": gpu,
        "ours": {"VSI_RUN": "vsgrpo_2b"},
    }
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(wanted, pool.map(lambda env: snapshot(**env), wanted.values()), strict=True))


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Attributes that differ, or that only one has."""
    left, right = one["attributes"], other["attributes"]
    return {key: (left.get(key), right.get(key)) for key in {*left, *right} if left.get(key) != right.get(key)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", ["", ", GPU"], ids=["no accelerator", "a GPU"])
def test_nothing_is_changed_where_no_recipe_of_ours_runs(machine: str, snapshots: dict[str, dict[str, Any]]) -> None:
    without, beside = snapshots["without" + machine], snapshots["beside" + machine]
    assert len(without["attributes"]) > 20_000, "the snapshot looks at all of it"
    assert "verl.workers.engine.fsdp.transformer_impl" in without["imported"]
    assert beside["imported"] == without["imported"]
    assert beside["environment"] == without["environment"]
    by_itself = differences(snapshots["without"], snapshots["without again"])  # addresses, session ids, times
    assert len(by_itself) < 100
    assert not {key: values for key, values in differences(without, beside).items() if key not in by_itself}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "replaced",
    [
        "verl.trainer.ppo.v1.trainer_base.PPOTrainer._compute_metrics",
        "verl.utils.tensordict_utils.maybe_fix_3d_position_ids",
        "verl.experimental.agent_loop.agent_loop.AgentLoopOutput.as_dict",
        "verl.workers.engine.fsdp.transformer_impl.prepare_micro_batches",
    ],
)
def test_in_a_run_of_ours_the_snapshot_does_differ(replaced: str, snapshots: dict[str, dict[str, Any]]) -> None:
    """So the comparison can fail."""
    assert replaced in differences(snapshots["without"], snapshots["ours"])


CHECKPOINTS = r"""
from verl_vsi.cpu import builds  # as in the snapshots
builds.declare_torchvision_ops()
builds.hide_cuda_builds()
builds.answer_for_vllm()
import sys
from pathlib import Path
from omegaconf import OmegaConf
import verl
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

run = Path(sys.argv[1])

class Workers:
    '''As verl's checkpoint manager: writes, and removes its own older folders beyond the limit.'''
    def __init__(self):
        self.saved = []
    def save_checkpoint(self, path, remote, step, max_ckpt_to_keep=None):
        import shutil
        Path(path).mkdir(parents=True)
        (Path(path) / "model.pt").write_text(str(step))
        self.saved.append(path)
        while max_ckpt_to_keep and len(self.saved) > max_ckpt_to_keep:
            shutil.rmtree(self.saved.pop(0))

class Nothing:
    def __getattr__(self, name):
        return lambda *_, **__: None

class Loader:
    def state_dict(self):
        return {}

trainer = PPOTrainerSync.__new__(PPOTrainerSync)
trainer.config = OmegaConf.create({
    "trainer": {"default_local_dir": str(run), "default_hdfs_dir": None, "max_actor_ckpt_to_keep": 1},
    "actor_rollout_ref": {"actor": {"checkpoint": {"async_save": False}}},
})
trainer.trainer_mode = "sync"
trainer.use_critic, trainer.actor_rollout_wg, trainer.critic_wg = True, Workers(), Workers()
trainer.train_dataloader, trainer.checkpoint_callback = Loader(), Nothing()
if len(sys.argv) > 2:
    from verl_vsi.checkpoint_callback import RunCheckpoints
    trainer.checkpoint_callback = RunCheckpoints(trainer.config)
for trainer.global_steps in (1, 2, 3):
    trainer._save_checkpoint()
    (run / f"global_step_{trainer.global_steps}" / "notes.txt").write_text("my own")
"""


def saved(folder: Path, *arguments: str, **env: str) -> set[str]:
    """Files of a run with an actor that keeps one checkpoint and a critic that keeps all."""
    folder.mkdir()
    run = process(CHECKPOINTS, str(folder), *arguments, **env)
    assert run.returncode == 0, run.stderr[-3000:]
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_checkpoints_of_other_runs_are_those_that_verl_keeps_file_by_file(tmp_path: Path) -> None:
    beside = saved(tmp_path / "beside")
    assert beside == saved(tmp_path / "without", VERL_USE_EXTERNAL_PLUGINS="none")
    assert {"global_step_1/critic/model.pt", "global_step_1/data.pt", "global_step_1/notes.txt"} <= beside


def test_in_a_run_of_ours_too_a_critic_and_a_users_own_files_stay(tmp_path: Path) -> None:
    ours = saved(tmp_path / "ours", "with our callback", VSI_RUN="vsgrpo_2b")
    assert {"global_step_1/critic/model.pt", "global_step_1/notes.txt", "global_step_3/actor/model.pt"} <= ours
    assert "global_step_1/actor/model.pt" not in ours


def test_a_config_of_ones_own_that_lists_a_recipe_starts_again_marked(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "defaults: [ppo_trainer, /recipe@_global_: vsgrpo_miniature, _self_]\n"
        "hydra: {searchpath: [pkg://verl.trainer.config]}\n"
    )
    inherited = {key: value for key, value in os.environ.items() if key not in (*OURS, "VSI_ROOT")}
    command = [sys.executable, "-m", "verl.trainer.main_ppo", "--config-path", str(tmp_path), "--config-name", "mine"]
    inherited["VERL_PLATFORM"] = "cpu"  # so that verl can be imported unmarked on any machine
    run = subprocess.run(command, env=inherited, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert run.returncode == 1
    assert run.stderr.count("vsi.root is not set") == 1, run.stderr[-3000:]

"""The CPU platform in verl, and nothing of it on a machine with an accelerator."""

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("verl")

from verl_vsi import cpu
from verl_vsi.cpu import platform
from verl_vsi.cpu.platform_choice import Surroundings, find_accelerator
from verl_vsi.patches import replay_poll

cpu_only = pytest.mark.skipif(find_accelerator(Surroundings.here()) is not None, reason="an accelerator is present")

WHAT_ACTS = """
import json, sys, os, verl
from verl.plugin.platform import get_platform
from verl.utils import distributed
from verl_vsi.on_import import _FINDER
print(json.dumps({
    "platform": type(get_platform()).__name__,
    "waits for": sorted(_FINDER.waiting),
    "hidden": sorted(name for name in ("torchcodec", "torchaudio") if sys.modules.get(name, name) is None),
    "shims": sorted(name for name in sys.modules if name.startswith("verl_vsi.cpu.")),
    "process group": hasattr(distributed.initialize_global_process_group, "__wrapped__"),
    "finder": any(type(finder).__module__.startswith("verl_vsi.cpu") for finder in sys.meta_path),
    "environment": os.environ.get("TORCHDYNAMO_DISABLE"),
    "variable": os.environ.get("VERL_PLATFORM"),
}))
"""


def what_acts(**env: str) -> dict[str, Any]:
    """What of the CPU platform acts in a fresh process with these variables."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("VERL_PLATFORM", "TORCHDYNAMO_DISABLE")}
    run = subprocess.run(
        [sys.executable, "-c", WHAT_ACTS], env={**inherited, **env}, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@cpu_only
def test_without_an_accelerator_all_of_it_acts_and_children_are_told() -> None:
    acts = what_acts()
    assert acts["platform"] == "PlatformCpu"
    assert acts["variable"] == "cpu"
    assert acts["environment"] == "1"
    assert acts["process group"]
    assert {platform.ENGINES, replay_poll.MODULE} <= set(acts["waits for"])


@pytest.mark.parametrize(
    "env",
    [{"VERL_PLATFORM": "nvidia"}, {"RAY_ADDRESS": "10.0.0.1:6379"}, {"VSI_RUN": ""}],
    ids=["GPU", "cluster", "a run that is not ours"],
)
def test_elsewhere_nothing_of_it_acts(env: dict[str, str]) -> None:
    acts = what_acts(**env)
    assert acts["platform"] != "PlatformCpu"
    platform_only = ["verl_vsi.cpu.device", "verl_vsi.cpu.platform", "verl_vsi.cpu.platform_choice"]
    assert acts["shims"] == platform_only, "nothing but the choice and what is registered is imported"
    assert not acts["hidden"]
    for part in ("process group", "finder", "environment"):
        assert not acts[part], part
    assert acts["variable"] == env.get("VERL_PLATFORM")


def test_a_variable_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "0")
    cpu.set_environment()
    assert os.environ["TORCHDYNAMO_DISABLE"] == "0"


@pytest.mark.parametrize(("accelerator", "stays"), [(None, False), ("/dev/nvidia0", True)])
def test_an_empty_list_of_gpus_is_dropped_where_there_is_no_gpu_to_hide(
    monkeypatch: pytest.MonkeyPatch, accelerator: str | None, stays: bool
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(cpu, "find_accelerator", lambda _: accelerator)
    cpu.set_environment()
    assert ("CUDA_VISIBLE_DEVICES" in os.environ) is stays


@pytest.mark.parametrize(
    ("argv", "told"), [(["main_ppo", "+recipe=vsgrpo_7b"], True), (["main_ppo"], False)], ids=["recipe", "no recipe"]
)
def test_a_driver_of_a_cluster_is_told_why_only_when_it_asked_for_a_recipe(
    argv: list[str], told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(sys, "argv", argv)
    assert cpu.register().unsure or find_accelerator(Surroundings.here())
    assert ("RAY_ADDRESS=10.0.0.1:6379" in capsys.readouterr().err) is told


def test_the_device_module_answers_what_torch_cuda_would() -> None:
    import torch

    from verl_vsi.cpu import device

    assert device.current_device() == torch.device("cpu")
    assert device.memory_allocated(0) == device.max_memory_reserved() == 0
    assert device.set_device(3) is None
    available, total = device.mem_get_info()
    assert 0 < available <= total
    state = device.get_rng_state()
    first = torch.rand(3)
    device.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)
    assert device.Stream is torch.cpu.Stream


@cpu_only
def test_verl_finds_its_fsdp2_engine_for_the_cpu_and_says_what_to_do_about_fsdp1() -> None:
    import verl
    from verl.workers.engine.base import EngineRegistry
    from verl.workers.engine.fsdp import transformer_impl

    assert verl.__version__
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is transformer_impl.FSDPEngineWithLMHead
    impl: Any = transformer_impl
    assert impl.CPUOffloadPolicy(pin_memory=True).pin_memory is False
    with pytest.raises(ValueError, match="strategy=fsdp2"):
        EngineRegistry.new("language_model", "fsdp")


@cpu_only
def test_the_replay_buffer_looks_more_often() -> None:
    from omegaconf import OmegaConf
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    arguments: Any = ("sync", OmegaConf.create(), None, "drop", OmegaConf.create())
    assert ReplayBuffer(*arguments).poll_interval == replay_poll.SECONDS
    assert ReplayBuffer(*arguments, poll_interval=3.0).poll_interval == 3.0
    upstream: Any = ReplayBuffer.__init__.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    assert inspect.signature(upstream).parameters["poll_interval"].default == 2.0

"""When the CPU platform is chosen, on simulated machines."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from verl_vsi.cpu.platform_choice import Surroundings, choose


def machine(root: Path, **changes: Any) -> Surroundings:
    """A laptop on which a recipe of ours runs: no accelerator, no cluster."""
    laptop: dict[str, Any] = {"env": {}, "argv": [], "root": root, "modules": {}, "which": lambda tool: None}
    laptop |= changes
    laptop["env"] = {"VSI_RUN": "vsgrpo_2b", **laptop["env"]}
    return Surroundings(**laptop)


def torch(device: str, available: bool) -> SimpleNamespace:
    return SimpleNamespace(**{device: SimpleNamespace(is_available=lambda: available)})


def test_a_laptop_takes_the_cpu_by_itself(tmp_path: Path) -> None:
    (tmp_path / "dev/dri").mkdir(parents=True)
    (tmp_path / "dev/dri/renderD128").touch()  # its display
    choice = choose(machine(tmp_path, modules={"torch": torch("cuda", False)}))
    assert choice.cpu
    assert not choice.unsure


@pytest.mark.parametrize(
    "file",
    [
        "dev/nvidia0",
        "dev/nvidiactl",
        "proc/driver/nvidia",
        "usr/lib/wsl/lib/libcuda.so.1",
        "dev/kfd",
        "dev/davinci0",
        "dev/accel/accel0",
        "dev/accel0",
        "dev/mxcd",
    ],
)
def test_a_driver_file_keeps_the_cpu_platform_out(file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    choice = choose(machine(tmp_path))
    assert not choice.cpu
    assert file in choice.why
    assert not choice.unsure, "an accelerator is here: nothing to ask"


@pytest.mark.parametrize("tool", ["nvidia-smi", "rocm-smi", "npu-smi"])
def test_an_accelerators_tool_keeps_it_out(tool: str, tmp_path: Path) -> None:
    choice = choose(machine(tmp_path, which=lambda name: f"/usr/bin/{name}" if name == tool else None))
    assert not choice.cpu
    assert tool in choice.why


@pytest.mark.parametrize("device", ["cuda", "npu", "xpu"])
def test_a_device_that_torch_sees_keeps_it_out(device: str, tmp_path: Path) -> None:
    choice = choose(machine(tmp_path, modules={"torch": torch(device, True)}))
    assert not choice.cpu
    assert f"torch.{device}" in choice.why


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env": {"RAY_ADDRESS": "10.0.0.1:6379"}}, "RAY_ADDRESS=10.0.0.1:6379"),
        ({"env": {"RAY_ADDRESS": "auto"}}, "RAY_ADDRESS=auto"),
        ({"argv": ["main_ppo", "+ray_kwargs.ray_init.address=auto"]}, "ray_init.address=auto"),
        ({"env": {"RAY_RAYLET_PID": "7"}}, "Ray worker"),
        ({"modules": {"ray": SimpleNamespace(is_initialized=lambda: True)}}, "initialised"),
    ],
    ids=["driver", "auto", "argument", "worker", "connected"],
)
def test_a_gpu_less_head_or_driver_of_a_cluster_is_left_to_a_person(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    choice = choose(machine(tmp_path, **changes))
    assert not choice.cpu
    assert choice.unsure
    assert said in choice.why


@pytest.mark.parametrize("folder", ["", "/scratch"])
def test_a_cluster_started_on_this_machine_is_left_to_a_person(folder: str, tmp_path: Path) -> None:
    marker = tmp_path / (folder or "/tmp").lstrip("/") / "ray" / "ray_current_cluster"
    marker.parent.mkdir(parents=True)
    marker.write_text("10.0.0.1:6379")
    choice = choose(machine(tmp_path, env={"RAY_TMPDIR": folder} if folder else {}))
    assert choice.unsure
    assert str(marker) in choice.why


@pytest.mark.parametrize(
    "changes",
    [
        {"env": {"RAY_ADDRESS": "local"}},
        {"env": {"RAY_ADDRESS": ""}},
        {"argv": ["main_ppo", "ray_kwargs.ray_init.address=null"]},
        {"modules": {"ray": SimpleNamespace(is_initialized=lambda: False)}},
        {"modules": {"ray": SimpleNamespace()}},
    ],
    ids=["local", "empty", "null", "not yet", "half imported"],
)
def test_a_new_local_ray_is_no_cluster(changes: dict[str, Any], tmp_path: Path) -> None:
    assert choose(machine(tmp_path, **changes)).cpu


@pytest.mark.parametrize(("platform", "cpu"), [("cpu", True), (" CPU ", True), ("nvidia", False), ("huawei", False)])
def test_the_variable_decides_whatever_the_machine(platform: str, cpu: bool, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidia0").touch()
    assert choose(machine(tmp_path, env={"VERL_PLATFORM": platform, "RAY_ADDRESS": "auto"})).cpu is cpu


def test_without_a_recipe_of_ours_nothing_is_chosen_and_nothing_asked(tmp_path: Path) -> None:
    choice = choose(machine(tmp_path, env={"VSI_RUN": ""}))
    assert not choice.cpu
    assert not choice.unsure


def test_the_variable_asks_for_the_cpu_without_a_recipe_too(tmp_path: Path) -> None:
    assert choose(machine(tmp_path, env={"VSI_RUN": "", "VERL_PLATFORM": "cpu"})).cpu

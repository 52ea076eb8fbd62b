"""torchcodec and torchaudio from the default index are CUDA builds: make them look absent where torch is a CPU build.

Their import raises OSError or RuntimeError there; callers (transformers, vLLM, qwen_vl_utils) expect ImportError only.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

_CUDA_BUILD = re.compile(r"""__version__\s*=\s*['"][^'"]*\+cu\d""")


def register() -> None:
    """Hide the packages that cannot load."""
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

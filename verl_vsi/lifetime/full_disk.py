"""A disk that ran full during a training, named: torch and safetensors say so in words of their own, or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from verl_vsi.data_adapters.files import free_space

_SIGNS = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|os error 28\b|PytorchStreamWriter|inline_container"
)
"""What a writer says: Python, safetensors' Rust, torch's archive writer."""
_FULL = 16 << 20
"""Bytes of free space below which a disk counts as full, whatever the error says."""


def explain_full_disk(folder: Path, error: BaseException | None) -> str:
    """What to say where a run in `folder` ended for want of space; empty where it did not.

    Args:
        folder: the run's.
        error: what ended the run.
    """
    signs = any(_SIGNS.search(str(each)) for each in _chain(error))
    if not signs and shutil.disk_usage(folder).free >= _FULL:
        return ""
    return (
        f"writing failed, and {free_space(folder)}. A checkpoint that was being written is not used. Free some space, "
        "or keep fewer checkpoints (trainer.max_actor_ckpt_to_keep)"
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""A full disk is said with path and space, whatever the writer's own words are."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from verl_vsi.lifetime.full_disk import explain_full_disk

SIGNS = [
    OSError(errno.ENOSPC, "No space left on device"),  # Python
    RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 470"),  # torch.save
    RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
    RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
    OSError(errno.EDQUOT, "Disk quota exceeded"),
]


@pytest.mark.parametrize("error", SIGNS, ids=str)
def test_each_writers_words_are_known_also_as_a_cause(tmp_path: Path, error: Exception) -> None:
    outer = RuntimeError("ray::WorkerDict.save_checkpoint()")
    outer.__cause__ = error
    for raised in (error, outer):
        words = explain_full_disk(tmp_path, raised)
        assert str(tmp_path) in words
        assert "MiB free of" in words
        assert "max_actor_ckpt_to_keep" in words


def test_another_error_is_not_called_a_full_disk(tmp_path: Path) -> None:
    assert explain_full_disk(tmp_path, ValueError("shapes differ")) == ""
    assert explain_full_disk(tmp_path, None) == ""

"""A checkpoint's weights merged once, into a folder beside it that says what it was made from.

verl's own merger puts FSDP2's shards together. It leaves the base's weights where LoRA was trained, the adapter beside
them. It unpickles, so it is for one's own checkpoints only, and runs in a process of its own, `merge_weights`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from verl_vsi.data_adapters.files import write_text

ADAPTER = "lora_adapter"
"""Folder that verl's merger writes beside the weights where LoRA was trained."""


class MergeError(RuntimeError):
    """A checkpoint's weights could not be merged; the message holds the end of what the process wrote."""


def merge(shards: Path, console: Console) -> Path:
    """Run verl's merger, unless it was done for these shards; returns the model folder beside them.

    Args:
        shards: folder of FSDP2's.
        console: where progress shows.

    Raises:
        MergeError: it failed.
    """
    target = shards.with_name(f"{shards.name}_merged")
    if _is_done(target, shards):
        return target
    arguments = ["merge", "--backend", "fsdp", "--local_dir", str(shards), "--target_dir", str(target)]
    with console.status(f"merging {shards} with verl's own merger"):
        _run(["shards", *arguments], target, f"verl's merger failed on {shards}")
    _mark(target, shards)
    return target


def merge_adapter(base: str, adapter: Path, target: Path, console: Console) -> Path:
    """Put an adapter into the weights that it was trained on, unless it was done; returns the folder of the model.

    Args:
        base: model folder or hub name.
        adapter: its folder; what lies beside it (tokenizer, processor) is part of the model.
        target: the folder to write.
        console: where progress shows.

    Raises:
        MergeError: the adapter does not fit the model.
    """
    if _is_done(target, adapter):
        return target
    with console.status(f"folding {adapter} into {base}"):
        _run(["adapter", base, str(adapter), str(target)], target, f"{adapter} can't be folded into {base}")
    _mark(target, adapter)
    return target


def _run(arguments: list[str], target: Path, failure: str) -> None:
    """`merge_weights` in a process of its own: it loads torch and unpickles."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "verl_vsi.evaluation.ask.merge_weights", *arguments]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode or not (target / "config.json").exists():
        raise MergeError(f"{failure}:\n{process.stdout[-500:]}\n{process.stderr[-1500:]}")


DONE = ".verl-vsi-done"
"""File in a merged model that names what it was merged from."""


def _mark(target: Path, source: Path) -> None:
    write_text(target / DONE, _state(source))


def _is_done(target: Path, source: Path) -> bool:
    mark = target / DONE
    return mark.exists() and mark.read_text() == _state(source)


def _state(source: Path) -> str:
    """Names, sizes and times of the files that went in."""
    files = sorted(p for p in source.iterdir() if p.is_file())
    return json.dumps([[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files])

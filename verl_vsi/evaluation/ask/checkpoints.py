"""verl checkpoints as models that vLLM serves: merged by verl's own merger, a LoRA adapter merged in or served.

The merger alone leaves the base's weights where LoRA was trained: the adapter lies beside them. Merging unpickles, so
it is for one's own checkpoints only. It runs in a process of its own, `merge_weights`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from verl_vsi.config.weights import weights_sha256
from verl_vsi.data_adapters.files import write_text

HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


class CheckpointError(ValueError):
    """The folder is no checkpoint that can be served."""


class MergeError(RuntimeError):
    """A checkpoint's weights could not be merged; the message holds the end of what the process wrote."""


@dataclass(frozen=True)
class Served:
    """What to give to vLLM.

    Args:
        model: folder or hub name.
        adapters: name -> folder of a LoRA adapter, served beside the model.
    """

    model: str
    adapters: Mapping[str, str] = field(default_factory=dict)


def as_served(model: str, *, lora: str, console: Console) -> Served:
    """The model as vLLM takes it: a verl checkpoint is merged once, everything else is left as it is.

    Args:
        model: model folder, hub name, or a verl checkpoint (``global_step_N``, its ``actor``, or the run's folder).
        lora: ``fold`` an adapter into the weights, or ``serve`` it as one.
        console: where progress shows.

    Raises:
        CheckpointError: no folder, or one that is neither.
        MergeError: verl's merger failed.
    """
    folder = Path(model)
    if not folder.exists():
        if not HUB_NAME.fullmatch(model):
            raise CheckpointError(f"{folder}: there is no such folder, and it can't be a hub name")
        return Served(model)
    shards = find_shards(folder)
    if shards is None:
        if (folder / "config.json").exists():
            return Served(model)
        raise CheckpointError(
            f"{folder}: neither a model folder (config.json) nor a verl checkpoint (fsdp_config.json under actor/)"
        )
    whole = shards / "huggingface"
    if list(whole.glob("*.safetensors")) and not (shards / LORA_MARK).exists():
        return Served(str(whole))  # saved with hf_model: complete, in the precision of training, and no pickle
    merged = merge(shards, console)
    if not (merged / ADAPTER).is_dir():
        return Served(str(merged))
    if lora == "fold":
        return Served(str(merge_adapter(merged, console)))
    return Served(str(merged), {"lora": str(merged / ADAPTER)})


def find_shards(folder: Path) -> Path | None:
    """The folder with the shards of a checkpoint; of a run's folder, those of the last step."""
    latest = folder / "latest_checkpointed_iteration.txt"
    if latest.exists():
        folder = folder / f"global_step_{latest.read_text().strip()}"
    candidates = (folder, folder / "actor", folder / "model")
    return next((c for c in candidates if (c / "fsdp_config.json").exists() or list(c.glob("dist_ckpt"))), None)


LORA_MARK = "lora_train_meta.json"
"""verl writes it beside the shards where LoRA was trained."""


def identity(model: str, lora: str) -> dict[str, str]:
    """Tells the weights of a local folder from those of another training step.

    Args:
        model: see `as_served`.
        lora: ``fold`` or ``serve``; part of the identity where the checkpoint holds an adapter, since folding rounds.

    Returns:
        ``step`` of a verl checkpoint, ``adapter``, and ``sha256`` of `weights_sha256`; nothing for a hub name.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {}
    place = find_shards(folder) or folder
    step = next((part for part in reversed(place.parts) if part.startswith("global_step_")), "")
    adapter = {"adapter": lora} if (place / LORA_MARK).exists() else {}
    return {**({"step": step} if step else {}), **adapter, "sha256": weights_sha256(place)}


ADAPTER = "lora_adapter"
"""Folder that verl's merger writes beside the weights where LoRA was trained."""


def merge(shards: Path, console: Console) -> Path:
    """Run verl's merger, unless it was done for these shards; returns the model folder beside them.

    Args:
        shards: folder of a checkpoint.
        console: where progress shows.

    Raises:
        MergeError: it failed.
    """
    target = shards.with_name(f"{shards.name}_merged")
    if _is_done(target, shards):
        return target
    backend = "fsdp" if (shards / "fsdp_config.json").exists() else "megatron"
    arguments = ["merge", "--backend", backend, "--local_dir", str(shards), "--target_dir", str(target)]
    with console.status(f"merging {shards} with verl's own merger"):
        _run(["shards", *arguments], target, f"verl's merger failed on {shards}")
    _mark(target, shards)
    return target


def merge_adapter(merged: Path, console: Console) -> Path:
    """Put the adapter that verl's merger left beside the weights into them; returns the folder of the whole model.

    Args:
        merged: what `merge` returned.
        console: where progress shows.

    Raises:
        CheckpointError: the adapter's scale is unknown.
        MergeError: the adapter does not fit the model.
    """
    adapter = json.loads((merged / ADAPTER / "adapter_config.json").read_text())
    if not adapter.get("lora_alpha"):
        raise CheckpointError(
            f"{merged / ADAPTER}: lora_alpha is {adapter.get('lora_alpha')}, so folding would change nothing. "
            f"The checkpoint lacks {LORA_MARK}; write the run's alpha into adapter_config.json and run again"
        )
    target = merged.with_name(f"{merged.name}_folded")
    if _is_done(target, merged / ADAPTER):
        return target
    with console.status(f"folding the adapter into {merged}"):
        _run(["adapter", str(merged), str(target)], target, f"the adapter of {merged} can't be folded")
    _mark(target, merged / ADAPTER)
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

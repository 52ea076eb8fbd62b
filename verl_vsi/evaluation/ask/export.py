"""A run's checkpoint as a model folder of its own, as one pushes it to the Hugging Face hub."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from verl_vsi.data_adapters.files import full_disk_named, hidden_beside, write_text
from verl_vsi.evaluation.ask.checkpoints import CheckpointError, as_served

if TYPE_CHECKING:
    import torch

Precision = Literal["as trained", "bfloat16", "float16", "float32"]

_INDEX = "model.safetensors.index.json"
_DTYPES = ("dtype", "torch_dtype")
"""Keys of a config that name the weights' type, in transformers 5 and before."""


def export_model(checkpoint: Path, out: Path, precision: Precision, console: Console) -> Path:
    """Write a checkpoint as a folder with weights, configuration, tokenizer and processor; an adapter is folded in.

    Args:
        checkpoint: the folder of a run, of a step, or its ``actor``.
        out: the folder to make.
        precision: of the weights.
        console: where progress shows.

    Returns:
        `out`.

    Raises:
        CheckpointError: `checkpoint` is none.
        FileExistsError: `out` is there.
        DiskFullError: there is no room.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; name a new folder")
    if not checkpoint.is_dir():
        raise CheckpointError(f"{checkpoint}: there is no such folder")
    model = Path(as_served(str(checkpoint), lora="fold", console=console).model)
    if model.resolve() == checkpoint.resolve():
        raise CheckpointError(f"{checkpoint} is a model folder, and nothing is to be merged")
    temporary = hidden_beside(out)
    try:
        with full_disk_named(out), console.status(f"writing {out}"):
            out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(model, temporary, ignore=_not_the_models)
            _set_precision(temporary, precision)
            temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _not_the_models(folder: str, names: list[str]) -> list[str]:
    """Marks of ours, pickles of the trainer, and folders."""
    return [name for name in names if name.startswith(".") or name.endswith(".pt") or (Path(folder) / name).is_dir()]


def _set_precision(folder: Path, precision: Precision) -> None:
    """Cast the weights where that is asked for, and have the configuration name the type that they have."""
    import torch

    kinds = set()
    for file in sorted(folder.glob("*.safetensors")):
        kinds |= _cast(file, None if precision == "as trained" else getattr(torch, precision))
    if len(kinds) == 1:
        config = folder / "config.json"
        write_text(config, json.dumps(_with_dtype(json.loads(config.read_text()), *kinds), indent=2) + "\n")
    _correct_index(folder)


def _cast(file: Path, dtype: torch.dtype | None) -> set[str]:
    """Names of the floating types that the file has in the end."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    if dtype is not None:
        tensors = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tensors.items()}
        save_file(tensors, file, {"format": "pt"})
    return {str(value.dtype).removeprefix("torch.") for value in tensors.values() if value.is_floating_point()}


def _with_dtype(node: Any, dtype: str) -> Any:
    """A configuration whose every mention of the weights' type is `dtype`."""
    if not isinstance(node, dict):
        return node
    return {key: dtype if key in _DTYPES else _with_dtype(value, dtype) for key, value in node.items()}


def _correct_index(folder: Path) -> None:
    """The sum of bytes that an index of several files tells."""
    index = folder / _INDEX
    if index.exists():
        content = json.loads(index.read_text())
        sizes = [_tensor_bytes(file) for file in folder.glob("*.safetensors")]
        content["metadata"] = {**content.get("metadata", {}), "total_size": sum(sizes)}
        write_text(index, json.dumps(content, indent=2) + "\n")


def _tensor_bytes(file: Path) -> int:
    """Without the header, whose length stands in the first eight bytes."""
    with file.open("rb") as stream:
        return file.stat().st_size - 8 - int.from_bytes(stream.read(8), "little")

"""Merge a checkpoint's weights. Run as a process, since it loads torch and unpickles; see `checkpoints`.

python -m verl_vsi.evaluation.ask.merge_weights shards ARGUMENTS...      verl's own merger, with its arguments
python -m verl_vsi.evaluation.ask.merge_weights adapter MERGED TARGET    a LoRA adapter into the model it lies in
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any


def merge_shards() -> None:
    """Merge as ``python -m verl.model_merger`` does, with this process's arguments.

    FSDP's shards are read as weights alone: a pickle that would run code is refused. Megatron's can't be read so.

    In training's precision where that is float32: on a CPU it is, and verl's merger would round it
    (`patches.merger_precision`).
    """
    if "fsdp" in sys.argv:
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    import verl  # noqa: F401  (its plug-in prepares a CPU)
    from verl.model_merger.__main__ import main

    from verl_vsi.cpu.platform_choice import Surroundings, choose
    from verl_vsi.patches import merger_precision

    if choose(Surroundings.here()).cpu:
        merger_precision.install()
    main()


def merge_adapter(merged: Path, target: Path) -> None:
    """Write a model with its adapter inside the weights, with processor and tokenizer.

    Args:
        merged: what verl's merger wrote: the base's weights, and the adapter in ``lora_adapter``.
        target: the folder to write.
    """
    from verl_vsi import cpu

    cpu.prepare()
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    base: Any = AutoModelForImageTextToText.from_pretrained(merged, dtype=_stored_dtype(merged))
    model: Any = PeftModel.from_pretrained(base, merged / "lora_adapter").merge_and_unload()
    model.save_pretrained(target)
    for file in merged.iterdir():
        if file.is_file() and not (target / file.name).exists() and "safetensors" not in file.name:
            shutil.copy(file, target / file.name)


def _stored_dtype(merged: Path) -> Any:
    """That of the weights on disk: the configuration may name another."""
    from safetensors import safe_open

    with safe_open(next(merged.glob("*.safetensors")), framework="pt") as weights:
        return weights.get_tensor(next(iter(weights.keys()))).dtype


if __name__ == "__main__":
    if sys.argv.pop(1) == "shards":  # verl's merger reads the rest itself
        merge_shards()
    else:
        merge_adapter(*map(Path, sys.argv[1:]))

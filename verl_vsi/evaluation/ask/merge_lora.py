"""Fold a LoRA adapter into a merged model: ``python -m verl_vsi.evaluation.ask.merge_lora MERGED TARGET``; see `checkpoints`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

WEIGHTS = (".safetensors", ".bin", ".json")


def main(merged: Path, target: Path) -> None:
    """Write `merged` with its adapter inside to `target`, with processor and tokenizer."""
    from verl_vsi import cpu

    cpu.prepare()
    import torch
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    base: Any = AutoModelForImageTextToText.from_pretrained(merged, dtype=_dtype(merged, torch))
    folded: Any = PeftModel.from_pretrained(base, merged / "lora_adapter").merge_and_unload()
    folded.save_pretrained(target)
    for file in merged.iterdir():
        if file.is_file() and not (target / file.name).exists() and "safetensors" not in file.name:
            shutil.copy(file, target / file.name)


def _dtype(merged: Path, torch: Any) -> Any:
    """That of the stored weights: the configuration may name another."""
    from safetensors import safe_open

    with safe_open(next(merged.glob("*.safetensors")), framework="pt") as weights:
        return weights.get_tensor(next(iter(weights.keys()))).dtype


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

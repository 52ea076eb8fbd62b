"""Merge a checkpoint's weights. Run as a process, since it loads torch and unpickles; see `checkpoints`.

python -m verl_vsi.evaluation.ask.merge_weights shards ARGUMENTS...           verl's own merger, with its arguments
python -m verl_vsi.evaluation.ask.merge_weights adapter BASE ADAPTER TARGET    a LoRA adapter into its base
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


def merge_adapter(base: str, adapter: Path, target: Path) -> None:
    """Write a model with its adapter inside the weights, with processor and tokenizer.

    Args:
        base: the weights that the adapter was trained on, a folder or a hub name.
        adapter: its folder, beside processor and tokenizer.
        target: the folder to write.
    """
    from verl_vsi import cpu

    cpu.prepare()
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(base, dtype=_stored_dtype(Path(base)))
    with_adapter: Any = PeftModel(model, PeftConfig.from_pretrained(str(adapter)))
    _load_adapter(with_adapter, adapter)
    with_adapter.merge_and_unload().save_pretrained(target)
    for file in adapter.parent.iterdir():
        if file.is_file() and not (target / file.name).exists() and "safetensors" not in file.name:
            shutil.copy(file, target / file.name)


_PUBLISHED_NAMES = {r"^model\.(?!language_model\.|visual\.)": "model.language_model."}
"""From the names of published checkpoints, which Megatron-Bridge writes, to those of transformers 5's modules."""


def _load_adapter(model: Any, adapter: Path) -> None:
    """Every tensor of the adapter, or none: PEFT leaves out what it can't place, and says nothing."""
    from peft import load_peft_weights, set_peft_model_state_dict

    weights = load_peft_weights(str(adapter), device="cpu", key_mapping=_PUBLISHED_NAMES)
    if unplaced := set_peft_model_state_dict(model, weights).unexpected_keys:
        raise SystemExit(
            f"{len(unplaced)} of {len(weights)} tensors of {adapter} have no place in the model, first {unplaced[0]}: "
            "is base_model_name_or_path in adapter_config.json the model that it was trained on?"
        )


def _stored_dtype(folder: Path) -> Any:
    """That of the weights on disk, of which the configuration may name another; "auto" for a hub name."""
    from safetensors import safe_open

    file = next(folder.glob("*.safetensors"), None)
    if file is None:
        return "auto"
    with safe_open(file, framework="pt") as weights:
        return weights.get_tensor(next(iter(weights.keys()))).dtype


if __name__ == "__main__":
    if sys.argv.pop(1) == "shards":  # verl's merger reads the rest itself
        merge_shards()
    else:
        base, adapter, target = sys.argv[1:]
        merge_adapter(base, Path(adapter), Path(target))

"""verl checkpoints as models that vLLM serves: merged by verl's own merger, a LoRA adapter merged in or served.

verl writes, under `global_step_N/actor`:

    FSDP2       model_world_size_N_rank_M.pt ..., fsdp_config.json, huggingface/ (weights too with `hf_model`)
    Megatron    model/huggingface/ (weights), or model/huggingface/adapter/ (LoRA: the base's weights are not there)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from verl_vsi.config.weights import weights_sha256
from verl_vsi.evaluation.ask.merging import ADAPTER, merge, merge_adapter

HUB_NAME = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


FSDP_MARK = "fsdp_config.json"
HUGGINGFACE, DIST_CHECKPOINT, MEGATRON_ADAPTER = "huggingface", "dist_ckpt", "adapter"
"""Folders of verl's, and of Megatron-Bridge's in the first."""
ADAPTER_CONFIG = "adapter_config.json"


class CheckpointError(ValueError):
    """The folder is no checkpoint that can be served."""


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
            f"{folder}: neither a model folder (config.json) nor a verl checkpoint (fsdp_config.json or "
            "model/huggingface under actor/)"
        )
    whole = shards / HUGGINGFACE
    if list(whole.glob("*.safetensors")) and not (shards / LORA_MARK).exists():
        return Served(str(whole))  # complete, in the precision of training, and no pickle
    if (whole / MEGATRON_ADAPTER).is_dir():
        return _with_adapter(_base_of(whole / MEGATRON_ADAPTER), whole / MEGATRON_ADAPTER, shards, lora, console)
    if not (shards / FSDP_MARK).exists():
        raise CheckpointError(
            f"{shards}: Megatron's own shards only ({DIST_CHECKPOINT}/), and verl's merger knows no Qwen2-VL. Resume "
            "the run and save with actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra,hf_model]"
        )
    merged = merge(shards, console)
    if not (merged / ADAPTER).is_dir():
        return Served(str(merged))
    return _with_adapter(str(merged), merged / ADAPTER, merged, lora, console)


def _with_adapter(base: str, adapter: Path, source: Path, lora: str, console: Console) -> Served:
    """`source` names the folder of the merged model, which is written beside it."""
    alpha = json.loads((adapter / ADAPTER_CONFIG).read_text()).get("lora_alpha")
    if not alpha:
        raise CheckpointError(
            f"{adapter}: lora_alpha is {alpha}, so it would change nothing. The checkpoint lacks {LORA_MARK}: "
            f"write the run's alpha into {ADAPTER_CONFIG} and run again"
        )
    if lora != "fold":
        return Served(base, {"lora": str(adapter)})
    return Served(str(merge_adapter(base, adapter, source.with_name(f"{source.name}_folded"), console)))


def _base_of(adapter: Path) -> str:
    """Model that an adapter was trained on, as its configuration names it."""
    base = json.loads((adapter / ADAPTER_CONFIG).read_text()).get("base_model_name_or_path") or ""
    if not (Path(base) / "config.json").exists() and (Path(base).is_absolute() or not HUB_NAME.fullmatch(base)):
        raise CheckpointError(
            f"{adapter}: the adapter was trained on {base!r}, which is no model folder here: write the base model's "
            f"folder or hub name into base_model_name_or_path of {ADAPTER_CONFIG} and run again"
        )
    return base


def find_shards(folder: Path) -> Path | None:
    """The folder with the weights of a checkpoint; of a run's folder, those of the last step.

    Args:
        folder: of a run, of a step, its ``actor``, or Megatron's ``model`` in that.
    """
    latest = folder / "latest_checkpointed_iteration.txt"
    if latest.exists():
        folder = folder / f"global_step_{latest.read_text().strip()}"
    candidates = (folder, folder / "actor", folder / "model", folder / "actor" / "model")
    return next((c for c in candidates if (c / FSDP_MARK).exists() or _is_megatron(c)), None)


def _is_megatron(folder: Path) -> bool:
    parts = (folder / HUGGINGFACE, folder / DIST_CHECKPOINT)
    return folder.name == "model" and any(part.is_dir() for part in parts)


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
    trained_lora = (place / LORA_MARK).exists() or (place / HUGGINGFACE / MEGATRON_ADAPTER).is_dir()
    adapter = {"adapter": lora} if trained_lora else {}
    return {**({"step": step} if step else {}), **adapter, "sha256": weights_sha256(place)}

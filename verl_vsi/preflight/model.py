"""The model: that it is there, that verl can train it on videos, and what of it is held against vLLM here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from verl_vsi.config.access import QWEN2_PATCH, model_path
from verl_vsi.config.model_shape import model_family, patch_size
from verl_vsi.config.problems import Problem
from verl_vsi.data_adapters.positions import FAMILIES
from verl_vsi.sharing.eligibility import MEGATRON_MODEL_TYPES, why_upstream_passes

VERL_PROCESSORS = (
    "Qwen2VLProcessor",
    "Qwen2_5_VLProcessor",
    "Qwen3VLProcessor",
    "Glm4vProcessor",
    "Glm46VProcessor",
    "MllamaProcessor",
    "Gemma4Processor",
)
"""Those that `verl.utils.tokenizer.hf_processor` of verl 0.9.1 knows; of any other it makes none and only warns."""

_SLOT = "take a model by its slot (`verl-vsi recipes list` names them)"


def check_model(config: DictConfig) -> Iterator[Problem]:
    """A model given as a path is a Hugging Face folder; one given by name can be fetched or is in the cache."""
    model = model_path(config)
    folder = Path(model).expanduser()
    if folder.is_absolute() or model.startswith((".", "~")) or folder.exists():
        if not (folder / "config.json").is_file():
            yield Problem(
                f"vsi.model={model} is no Hugging Face folder: it has no config.json",
                "set vsi.model to a folder that transformers loads, or to a name on the hub",
            )
    elif _offline() and not _cached(model):
        yield Problem(
            f"vsi.model={model} is not in the Hugging Face cache, and HF_HUB_OFFLINE forbids to fetch it",
            f"`hf download {model}` where there is a network, or vsi.model=/path/to/folder",
        )


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _cached(model: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(model, "config.json"), str)


def check_family(config: DictConfig) -> Iterator[Problem]:
    """verl makes a processor of this family, SFT's rows are made for it, and frames are stored for its patches.

    Of a model whose config is neither in a folder nor in the cache nothing is known before verl fetches it.
    """
    model = model_path(config)
    family = model_family(model)
    if family is None:
        return
    processor = _processor_name(family)
    if processor not in VERL_PROCESSORS:
        yield Problem(
            f"{model} is of type {family}, and verl 0.9.1 makes no processor of it ({processor or 'none known'}): it "
            "would go on without one, and without videos",
            f"{_SLOT}; this one can be evaluated: `verl-vsi eval`",
        )
    elif family not in FAMILIES and "actor_rollout_ref" not in config:
        yield Problem(f"{model} is of type {family}, and rows of SFT and DPO are made for {', '.join(FAMILIES)}", _SLOT)
    else:
        yield from _check_patches(config, model)


def _processor_name(family: str) -> str | None:
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    name = PROCESSOR_MAPPING_NAMES.get(family)
    return name if isinstance(name, str) else None


def _check_patches(config: DictConfig, model: str) -> Iterator[Problem]:
    patch = patch_size(model)
    stored = config.vsi.frames.get("patch_size", QWEN2_PATCH)
    if patch is not None and patch != stored:
        yield Problem(
            f"{model} has patches of {patch} pixels, and frames are stored for patches of {stored}",
            f"{_SLOT}, or set ++vsi.frames.patch_size={patch} and pixels that fit it",
        )


def _takes_rollouts_positions(config: DictConfig, family: str) -> bool:
    """Whether a model on Megatron is given the positions that vLLM had: by shared passes."""
    has_rollouts = "actor_rollout_ref" in config
    return has_rollouts and family in MEGATRON_MODEL_TYPES and why_upstream_passes(config) is None


def model_remarks(config: DictConfig) -> Iterator[str]:
    """What is not held against vLLM's own code here, so that only the first step's correlation tells."""
    family = model_family(model_path(config))
    if family is None:
        return
    if family not in FAMILIES:
        yield (
            f"model type {family}: passes, positions and prompt lengths are verl's and transformers' own, not held "
            "against vLLM's here; the first step's correlation is (vsi.checks.min_correlation)"
        )
    elif config.vsi.backend == "megatron" and family != "qwen2_vl" and not _takes_rollouts_positions(config, family):
        yield (
            f"model type {family} on Megatron is Megatron-Bridge's own, and counts positions by itself: they are not "
            "held against vLLM's here; the first step's correlation is (vsi.checks.min_correlation)"
        )

"""Qwen2-VL on verl's Megatron engine.

Neither Megatron-Bridge nor mbridge knows Qwen2-VL, so verl cannot train it with Megatron (verl issue 636). What is
missing is added from outside: the model (Hugging Face's vision tower in front of megatron-core's GPT), the table of
weight names, and a provider and a bridge that Megatron-Bridge finds by itself.

    bridge -> qwen2_vl -> model_inputs
           -> weights

`bridge` needs Megatron-Bridge and is imported by nobody but `add_qwen2_vl`; the others need torch, transformers and
megatron-core.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from verl_vsi.on_import import on_import

NOT_RUN_ON_A_GPU = (
    "Qwen2-VL on Megatron has been run on CPUs only (megatron-core's local layers, gloo): TransformerEngine, packed "
    "attention on a GPU, more than two ranks and the weight sync to vLLM have not been run yet"
)
"""What a run on this backend says first, until someone has run benchmarks/gpu."""

ARCHITECTURE = "Qwen2VLForConditionalGeneration"
"""As `config.json` of the checkpoint names it."""


def register() -> None:
    """Have the bridge registered after the import of `megatron.bridge`, in this process."""
    on_import("megatron.bridge", add_qwen2_vl)


def add_qwen2_vl(megatron_bridge: ModuleType) -> None:
    """Register the bridge, unless Megatron-Bridge has one of its own.

    Args:
        megatron_bridge: the imported module `megatron.bridge`.
    """
    if ARCHITECTURE not in megatron_bridge.AutoBridge.list_supported_models():
        import_module("verl_vsi.megatron.bridge")

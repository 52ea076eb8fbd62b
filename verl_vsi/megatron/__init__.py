"""Qwen2-VL on verl's Megatron engine, and shared passes there.

Neither Megatron-Bridge nor mbridge knows Qwen2-VL, so verl cannot train it with Megatron (verl issue 636). What is
missing is added from outside: the model (Hugging Face's vision tower in front of megatron-core's GPT), the table of
weight names, and a provider and a bridge that Megatron-Bridge finds by itself.

    bridge        -> qwen2_vl -> model_inputs
                  -> weights
    shared_engine -> packed_model

Shared passes on verl's Megatron engine are here too: for each model that they know, ours or Megatron-Bridge's own.

`bridge` needs Megatron-Bridge and is imported by nobody but `add_qwen2_vl`, `shared_engine` needs verl's engine; the
others need torch, transformers and megatron-core.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from verl_vsi.on_import import on_import

NOT_RUN_ON_A_GPU = (
    "Qwen2-VL on Megatron, and shared passes there, have run on CPUs only (megatron-core's local layers, gloo, up to 4 "
    "ranks, float32): TransformerEngine's layers, bfloat16, NCCL and a GPU have not been run yet"
)
"""What a run on this backend says first, until someone has run benchmarks/gpu."""

ARCHITECTURE = "Qwen2VLForConditionalGeneration"
"""As `config.json` of the checkpoint names it."""


ENGINE_MODULE = "verl.workers.engine.megatron.transformer_impl"


def register() -> None:
    """Wait for Megatron-Bridge, and for verl's engine on it; import nothing now."""
    on_import("megatron.bridge", add_qwen2_vl)
    on_import(ENGINE_MODULE, _add_shared_engine)


def _add_shared_engine(_: ModuleType) -> None:
    import_module("verl_vsi.megatron.shared_engine").register_all()


def add_qwen2_vl(megatron_bridge: ModuleType) -> None:
    """Register the bridge, unless Megatron-Bridge has one of its own.

    Args:
        megatron_bridge: the imported module `megatron.bridge`.
    """
    if ARCHITECTURE not in megatron_bridge.AutoBridge.list_supported_models():
        import_module("verl_vsi.megatron.bridge")

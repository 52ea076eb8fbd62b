"""Adds Qwen2-VL to Megatron-Bridge as soon as something imports it; nothing happens where nothing does."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from verl_vsi.compat.on_import import on_import

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

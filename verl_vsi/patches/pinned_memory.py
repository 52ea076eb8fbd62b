"""verl 0.9.1: the reference policy asks for pinned memory, which torch refuses without an accelerator."""

from __future__ import annotations

from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.workers.engine.fsdp.transformer_impl"


def install() -> None:
    """Wait for verl's engine."""
    on_import(MODULE, _wrap)


def _wrap(transformer_impl: Any) -> None:
    upstream = transformer_impl.CPUOffloadPolicy

    def unpinned(pin_memory: bool = True) -> Any:
        return upstream(pin_memory=False)

    transformer_impl.CPUOffloadPolicy = unpinned

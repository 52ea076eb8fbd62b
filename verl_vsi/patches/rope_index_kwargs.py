"""verl asks a processor's `get_rope_index_kwargs` for what else its positions need, and no processor has it.

So the seconds between Qwen2.5-VL's frame pairs never reached the actor's positions (verl 0.9.1,
`experimental/agent_loop/agent_loop.py`, `_compute_position_ids`). Here its processor has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "transformers.models.qwen2_5_vl.processing_qwen2_5_vl"
_SECONDS = "second_per_grid_ts"


def install() -> None:
    """Give the processor verl's hook."""
    on_import(MODULE, _add)


def _add(processing: Any) -> None:
    processor = processing.Qwen2_5_VLProcessor
    if not hasattr(processor, "get_rope_index_kwargs"):
        processor.get_rope_index_kwargs = staticmethod(rope_index_kwargs)


def rope_index_kwargs(multi_modal_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What `get_rope_index` takes beside grids.

    Args:
        multi_modal_inputs: what the processor gave for a row.
    """
    seconds = multi_modal_inputs.get(_SECONDS)
    return {} if seconds is None else {_SECONDS: seconds}

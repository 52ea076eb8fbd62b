"""verl 0.9.1: every rollout's float32 pixels travel through TransferQueue twice.

`AgentLoopOutput.mm_processor_output` is a payload for SGLang's request, built whatever the rollout engine is. It has
done its work when `as_dict` turns the output into a TransferQueue record; nothing reads it there, and it stays in.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.experimental.agent_loop.agent_loop"


def install() -> None:
    """Leave the payload out of the record."""
    on_import(MODULE, _wrap)


def _wrap(agent_loop: Any) -> None:
    upstream = agent_loop.AgentLoopOutput.as_dict

    @wraps(upstream)
    def as_dict(self: Any) -> dict[str, Any]:
        record = upstream(self)
        record.pop("mm_processor_output", None)
        return record

    agent_loop.AgentLoopOutput.as_dict = as_dict

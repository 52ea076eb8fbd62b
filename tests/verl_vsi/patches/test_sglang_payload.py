"""Pixels that travel through TransferQueue for nobody."""

from typing import Any

import pytest

pytest.importorskip("verl")

import torch
from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput


def output() -> AgentLoopOutput:
    """A rollout of one video, as verl's single-turn loop builds it."""
    pixels = torch.zeros(4, 1176)
    return AgentLoopOutput(
        prompt_ids=[1, 2],
        response_ids=[3],
        response_mask=[1],
        multi_modal_data={"videos": [pixels]},
        metrics=AgentLoopMetrics(),
        mm_processor_output=[{"format": "processor_output", "pixel_values_videos": pixels}],
    )


def test_upstream_still_sends_the_payload() -> None:
    """When this fails, verl has fixed it: remove verl_vsi/patches/sglang_payload.py."""
    upstream: Any = AgentLoopOutput.as_dict.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    assert "mm_processor_output" in upstream(output())


def test_the_record_holds_everything_but_the_payload() -> None:
    upstream: Any = AgentLoopOutput.as_dict.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    record = output().as_dict()
    assert set(record) == set(upstream(output())) - {"mm_processor_output"}
    assert record["multi_modal_data"]["videos"]


def test_the_output_itself_keeps_it_for_the_request() -> None:
    rollout = output()
    rollout.as_dict()
    assert rollout.mm_processor_output is not None

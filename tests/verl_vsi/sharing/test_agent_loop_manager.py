"""The worker that answers questions: one agent loop for all rollouts."""

from __future__ import annotations

import asyncio
import inspect
import os
from typing import Any, ClassVar

import pytest
from omegaconf import OmegaConf

os.environ["VERL_PLATFORM"] = "cpu"


class Loop:
    """Stands in for the agent loop, which would ask a vLLM server."""

    instances: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, **parts: Any) -> None:
        self.instances.append(parts)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> tuple[Any, ...]:
        return sampling_params["temperature"], kwargs["question"]


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker without its server, tokenizer and processor."""
    from verl_vsi.sharing import agent_loop, agent_loop_manager

    async def postprocess(self: Any, output: Any, validate: bool, **kwargs: Any) -> Any:
        return output, validate, kwargs["question"]

    monkeypatch.setattr(agent_loop, "GroupSingleTurn", Loop)
    monkeypatch.setattr(agent_loop_manager.GroupWorker, "_agent_loop_postprocess", postprocess)
    monkeypatch.setattr(Loop, "instances", [])
    bare = object.__new__(agent_loop_manager.GroupWorker)
    bare.config = OmegaConf.create({"data": {}})
    for name in ("llm_client", "tokenizer", "processor", "hf_model_type", "dataset_cls"):
        setattr(bare, name, None)
    return bare


def test_one_loop_serves_all_rollouts_and_each_gets_its_own_answer(worker: Any) -> None:
    for question, validate in (("a", False), ("b", True)):
        trajectory = {"step": 1, "sample_index": 0, "rollout_n": 0, "validate": validate}
        answer = worker._run_agent_loop(
            {"temperature": 1.0}, trajectory, agent_name="vsi_single_turn", question=question
        )
        assert asyncio.run(answer) == ((1.0, question), validate, question)
    assert len(Loop.instances) == 1


def test_the_loop_gets_all_that_verl_gives_one(worker: Any) -> None:
    """When verl gives a loop something more, hand it on in `GroupWorker._one_loop`."""
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase

    worker._one_loop()
    assert set(Loop.instances[0]) == set(inspect.signature(AgentLoopBase.__init__).parameters) - {"self", "kwargs"}


def test_another_loop_is_left_to_verl(worker: Any) -> None:
    trajectory = {"step": 1, "sample_index": 0, "rollout_n": 0, "validate": False}
    with pytest.raises(AssertionError, match="Agent loop nobodys not registered"):
        asyncio.run(worker._run_agent_loop({}, trajectory, agent_name="nobodys"))

"""verl's agent loop manager and worker, for questions that are prepared once and scored where they are answered.

`actor_rollout_ref.rollout.agent.agent_loop_manager_class=verl_vsi.sharing.agent_loop_manager.GroupManager`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ray
import torch
from tensordict import TensorDict
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.protocol import DataProto
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.utils.profiler import simple_timer
from verl.utils.rollout_trace import rollout_trace_attr

from verl_vsi.sharing import agent_loop

_remote_class: Any = AgentLoopWorkerTQ
_Worker: Any = _remote_class.__ray_metadata__.modified_class


class GroupWorker(_Worker):
    """Takes a question's processed inputs from its preparation, and scores answers without asking another process."""

    _scorer: RewardLoopWorker | None = None
    _loop: agent_loop.GroupSingleTurn | None = None

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], *, agent_name: str, **kwargs: Any
    ) -> Any:
        """As verl's, which composes an agent loop for each rollout: ours holds nothing of a rollout, so one serves."""
        if agent_name != agent_loop.NAME:
            return await super()._run_agent_loop(sampling_params, trajectory, agent_name=agent_name, **kwargs)
        trace = kwargs.pop("trace", True)
        with rollout_trace_attr(**trajectory, name="agent_loop", trace=trace):
            output = await self._one_loop().run(sampling_params, **kwargs)
            return await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

    def _one_loop(self) -> agent_loop.GroupSingleTurn:
        if self._loop is None:
            self._loop = agent_loop.GroupSingleTurn(
                trainer_config=DictConfigWrap(self.config),
                server_manager=self.llm_client,
                tokenizer=self.tokenizer,
                processor=self.processor,
                hf_model_type=self.hf_model_type,
                dataset_cls=self.dataset_cls,
                data_config=DictConfigWrap(self.config.data),
            )
        return self._loop

    def _compute_multi_modal_inputs(self, output: Any, input_ids: torch.Tensor) -> dict[str, Any]:
        question = (output.multi_modal_data or {}).get(agent_loop.PREPARED)
        if question is None:
            return super()._compute_multi_modal_inputs(output, input_ids)
        return dict(question.trainer_inputs)

    async def _compute_score(self, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        if self.reward_loop_worker_handles is None or self.config.reward.reward_model.enable or len(outputs) > 1:
            await super()._compute_score(outputs, kwargs=kwargs)
            return
        timing: dict[str, float] = {}
        with simple_timer("compute_score", timing):
            result = await self._local_scorer().compute_score(_reward_input(outputs[0], kwargs))
        outputs[0].reward_score = result["reward_score"]
        outputs[0].extra_fields["reward_extra_info"] = result["reward_extra_info"]
        outputs[0].metrics.compute_score = timing["compute_score"]

    def _local_scorer(self) -> RewardLoopWorker:
        if self._scorer is None:
            self._scorer = RewardLoopWorker(self.config)
        return self._scorer


def _reward_input(output: Any, kwargs: dict[str, Any]) -> DataProto:
    """An answer as verl's reward managers take it."""
    prompt, answer = (torch.tensor([ids], dtype=torch.int64) for ids in (output.prompt_ids, output.response_ids))
    ids = torch.cat((prompt, answer), dim=1)
    tensors = {"prompts": prompt, "responses": answer, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    extra = {
        "__num_turns__": output.num_turns,
        "tool_extra_fields": output.extra_fields,
        "prompt_len": len(output.prompt_ids),
        "response_len": len(output.response_ids),
    }
    rows = {key: _object_row(value) for key, value in {**kwargs, **extra}.items()}
    return DataProto(TensorDict(tensors, batch_size=1), rows)


def _object_row(value: Any) -> np.ndarray:
    array = np.empty(1, dtype=object)
    array[0] = value
    return array


class GroupManager(AgentLoopManagerTQ):
    """verl's manager over `GroupWorker`s."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(GroupWorker)

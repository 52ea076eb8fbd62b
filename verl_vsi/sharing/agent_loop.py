"""The agent loop `vsi_single_turn`: verl's single turn, with the question prepared once for all of its rollouts.

verl decodes a video, calls the processor and sends float pixels for each of the n rollouts of a question, several
times. Here a question is prepared once; its frames go to vLLM as one shared object, a name in the frame store goes to
the trainer, and its rollouts go to one replica, whose caches then hit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any
from uuid import uuid4

import ray
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, register
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.distillation import is_distillation_enabled
from verl.utils.device import get_device_name
from verl.utils.profiler import simple_timer

from verl_vsi.data_adapters.datasets.data_settings import DataSettings
from verl_vsi.data_adapters.lru import LRUCache
from verl_vsi.sharing.eligibility import why_upstream_run
from verl_vsi.sharing.stored_video import KEY, StoredVideo, video_names

NAME = "vsi_single_turn"
PREPARED = "vsi_prepared"
"""Where an output's `multi_modal_data`, which goes no further than its worker, holds the `PreparedQuestion`."""


@dataclass(frozen=True)
class PreparedQuestion:
    """What all rollouts of a question share.

    Attributes:
        ids: prompt tokens, video placeholders expanded.
        server_media: images and videos as verl's server takes them, videos as a shared object of Ray.
        trainer_inputs: what the trainer gets: grids, and names of stored videos (or pixels, where there is no store).
    """

    ids: list[int]
    server_media: dict[str, Any]
    trainer_inputs: dict[str, Any]


_REMEMBERED_QUESTIONS = 32
"""In a process; the rollouts of a question start together."""


class PreparedCache:
    """Each question's preparation, by uid: the first rollout makes it, the others wait for it."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._tasks: LRUCache[str, asyncio.Future[PreparedQuestion]] = LRUCache(_REMEMBERED_QUESTIONS)

    async def get(self, uid: str, prepare: Callable[[], Awaitable[PreparedQuestion]]) -> PreparedQuestion:
        """The preparation of this question.

        Args:
            uid: of the question.
            prepare: called if nobody has called one for it yet.
        """
        task = self._tasks.get(uid) or self._tasks.put(uid, asyncio.ensure_future(prepare()))
        return await asyncio.shield(task)


PREPARED_QUESTIONS = PreparedCache()


def rollout_seed(seed: int, step: int, index: Any, session: int) -> int:
    """The seed of one rollout's sampling.

    Args:
        seed: of the run.
        step: of training.
        index: of the question among the rows.
        session: number of the rollout among those of its question.

    Returns:
        A number below 2^63, as vLLM takes it; different places give different ones.
    """
    place = f"{seed}/{step}/{index}/{session}".encode()
    return int.from_bytes(blake2b(place, digest_size=8).digest(), "big") >> 1


@register(NAME)
class GroupSingleTurn(SingleTurnAgentLoop):
    """One turn; the question is decoded, tokenised and processed once, whatever the number of rollouts."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs: Any) -> AgentLoopOutput:
        """As verl's."""
        if is_distillation_enabled(self.config.get("distillation")):  # its teacher wants the videos themselves
            return await super().run(sampling_params, priority=priority, **kwargs)  # pyright: ignore[reportAbstractUsage]
        uid = str(kwargs.get("uid") or uuid4().hex)
        question = await PREPARED_QUESTIONS.get(uid, lambda: self._prepare(list(kwargs["raw_prompt"])))
        metrics: dict[str, Any] = {}
        with simple_timer("generate_sequences", metrics):
            answer = await self.server_manager.generate(
                request_id=self._request_id(uid, kwargs.get("session_id", 0)),  # one id a group: one replica a group
                prompt_ids=question.ids,
                sampling_params=self._seeded(sampling_params, kwargs),
                mm_processor_kwargs=self._get_mm_processor_kwargs(),
                priority=int(priority),
                **question.server_media,
            )
        metrics["num_preempted"] = -1 if answer.num_preempted is None else answer.num_preempted
        return await self._output(question, answer, metrics)

    def _seeded(self, sampling_params: dict[str, Any], rollout: dict[str, Any]) -> dict[str, Any]:
        """With a seed of this rollout's own, so that runs of one seed sample the same, whatever is answered first."""
        if self.rollout_config.enable_chunked_prefill and get_device_name() == "cpu":
            return dict(sampling_params)  # vLLM 0.27 dies there: "CPU Generator does not use offset"
        place = (rollout.get(name, 0) for name in ("global_steps", "index", "session_id"))
        return {"seed": rollout_seed(self.rollout_config.seed, *place), **sampling_params}

    def _request_id(self, uid: str, session: Any) -> str:
        # Under full determinism verl hands this id on to vLLM, where no two requests may share one.
        return f"{uid}-{session}" if getattr(self.rollout_config, "full_determinism", False) else uid

    async def _prepare(self, messages: list[dict[str, Any]]) -> PreparedQuestion:
        data = await self.process_multi_modal_info(messages)
        self._assert_mm_supported(bool(data))
        inputs: dict[str, Any] = {}
        images: Any = data.get("images")
        videos: Any = data.get("videos")
        ids = await self.ct_build_initial_tokens(messages, images=images, videos=videos, mm_inputs_out=inputs)
        inputs.pop("attention_mask", None)
        if videos and not self._get_mm_processor_kwargs() and why_upstream_run(self.config) is None:
            settings = DataSettings.from_config(self.data_config.get("vsi"))
            inputs[KEY] = [StoredVideo(settings, name).text for name in video_names(messages)]
            del inputs["pixel_values_videos"]
        server_media = {"image_data": images, "video_data": ray.put(videos) if videos else None}
        return PreparedQuestion(ids, server_media, trainer_inputs=inputs)

    async def _output(self, question: PreparedQuestion, answer: Any, metrics: dict[str, Any]) -> AgentLoopOutput:
        sampled = answer.log_probs or None
        merged, mask, log_probs = await self.ct_merge_assistant_token(
            question.ids, answer.token_ids, [], [] if sampled else None, assistant_logprobs=sampled
        )
        longest, start = self.rollout_config.response_length, len(merged.token_ids) - len(mask)
        return AgentLoopOutput(
            prompt_ids=merged.token_ids[:start],
            response_ids=merged.token_ids[start:][:longest],
            response_mask=mask[:longest],
            response_logprobs=log_probs[:longest] if log_probs else None,
            multi_modal_data={PREPARED: question},
            mm_processor_kwargs=self._get_mm_processor_kwargs(),
            num_turns=2,
            metrics=metrics,  # pyright: ignore[reportArgumentType]
            extra_fields={**answer.extra_fields, "turn_scores": [], "tool_rewards": []},
        )

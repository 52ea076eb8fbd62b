"""A question is prepared once for all of its rollouts."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"


@pytest.fixture(scope="module")
def single_turn() -> Any:
    """The module (it imports verl, which takes seconds)."""
    from verl_vsi.sharing import agent_loop

    return agent_loop


def prepare_all(cache: Any, uids: list[str], fail: bool = False) -> tuple[list[str], list[Any]]:
    """What was prepared, and what each rollout got."""
    prepared: list[str] = []

    async def prepare(uid: str) -> str:
        prepared.append(uid)
        await asyncio.sleep(0)
        if fail:
            raise ValueError(f"{uid}: broken")
        return uid.upper()

    async def rollout(uid: str) -> Any:
        return await cache.get(uid, lambda: prepare(uid))

    async def everything() -> list[Any]:
        return await asyncio.gather(*map(rollout, uids), return_exceptions=True)

    return prepared, asyncio.run(everything())


def test_a_question_is_prepared_once(single_turn: Any) -> None:
    prepared, answers = prepare_all(single_turn.PreparedCache(), ["a", "b", "a", "a", "b"])
    assert (prepared, answers) == (["a", "b"], ["A", "B", "A", "A", "B"])


def test_a_broken_video_is_the_error_of_each_rollout(single_turn: Any) -> None:
    prepared, answers = prepare_all(single_turn.PreparedCache(), ["a", "a"], fail=True)
    assert prepared == ["a"]
    assert [str(error) for error in answers] == ["a: broken"] * 2


def test_old_questions_are_forgotten(single_turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_turn, "_REMEMBERED_QUESTIONS", 2)
    cache = single_turn.PreparedCache()
    prepare_all(cache, ["a", "b", "c"])
    prepared, _ = prepare_all(cache, ["c", "b", "a"])
    assert prepared == ["a"]


def test_the_loop_is_registered_under_its_name(single_turn: Any) -> None:
    from verl.experimental.agent_loop.agent_loop import _agent_loop_registry

    target = _agent_loop_registry["vsi_single_turn"]["_target_"]
    assert target == f"{single_turn.GroupSingleTurn.__module__}.GroupSingleTurn"


PLACES = [
    (seed, step, index, session) for seed in (0, 1) for step in (0, 1, 11) for index in (0, 1, 11) for session in (0, 1)
]


def test_every_rollout_has_a_seed_of_its_own_that_vllm_takes(single_turn: Any) -> None:
    seeds = [single_turn.rollout_seed(*place) for place in PLACES]
    assert len({*seeds}) == len(PLACES)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_seed_of_a_place_is_the_same_in_every_process(single_turn: Any) -> None:
    assert single_turn.rollout_seed(42, 1, 7, 3) == 6646972979812182536

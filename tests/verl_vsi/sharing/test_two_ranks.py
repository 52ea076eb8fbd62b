"""Two ranks: one update as verl's, whatever lies on which rank, and no rank waits for the other.

The tiny model's output layer is not its embedding, as at 7B: verl makes it an FSDP unit of its own, which is gathered
for each call.

Slow, because two processes import verl: pytest -m slow tests/verl_vsi/sharing/test_two_ranks.py
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, fsdp_engine
from vsi_support.random_models import FAMILIES, Family

from verl_vsi.sharing import log_probs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

UNEVEN = (
    [SampleQuestion((5, 3, 1), seed=0), SampleQuestion((4,), seed=1)],  # two groups, one video each
    [SampleQuestion((2, 6), seed=2), SampleQuestion((3, 3), grids=(), seed=3)],  # a video and a text
)
STEPS = (
    ([SampleQuestion((5, 3), seed=0)], [SampleQuestion((2, 6), seed=2)]),
    ([SampleQuestion((5, 3), seed=0)], [SampleQuestion((2, 6), seed=7)]),  # the second rank's video is new to it
    ([SampleQuestion((5, 3), seed=0)], [SampleQuestion((2, 6), seed=7)]),  # both are known
)


def _update(engine: Any, questions: list[SampleQuestion], lr: float = 1.0, **options: Any) -> list[torch.Tensor]:
    engine.optimizer = torch.optim.SGD([p for p in engine.module.parameters() if p.requires_grad], lr=lr)
    with engine.train_mode():
        family = FAMILIES[engine.module.config.model_type]
        engine.train_batch(engine_batch(questions, family=family, **options), ppo_loss())
    return _weights(engine)


def _weights(engine: Any) -> list[torch.Tensor]:
    return [parameter.full_tensor().detach().clone() for parameter in engine.module.parameters()]


def _uneven(make: Any, rank: int) -> None:
    rows = sum(len(question.answers) for question in UNEVEN[rank])
    expected = _update(make(UPSTREAM), UNEVEN[rank], micro_batch_size_per_gpu=rows)
    for limit in (4, 3, 2):  # micro-batches: 1 and 1, 2 and 2, 3 and 2
        for ours, upstream in zip(_update(make(), UNEVEN[rank], micro_batch_size_per_gpu=limit), expected, strict=True):
            torch.testing.assert_close(ours, upstream, atol=1e-5, rtol=0)


def _cached(make: Any, rank: int) -> None:
    engine = make(options={"vsi_freeze_tower": True})
    for step in STEPS:
        _update(engine, step[rank])


def _twenty_updates(make: Any, rank: int) -> None:
    """Answers of a think run's spread, so that one rank has many chunks of positions where the other has few."""
    log_probs._CHUNK = 16
    ours, upstream = make(), make(UPSTREAM)
    before = _weights(ours)
    draw = random.Random(rank)
    for step in range(20):
        answers = [draw.randrange(1, 90 if rank else 9) for _ in range(3)]
        question = SampleQuestion(answers, seed=2 * step + rank)
        for engine in (ours, upstream):
            _update(engine, [question], micro_batch_size_per_gpu=3, lr=0.2)
    moved = 0.0
    for ours_now, upstream_now, start in zip(_weights(ours), _weights(upstream), before, strict=True):
        torch.testing.assert_close(ours_now, upstream_now, atol=1e-5, rtol=0)
        moved = max(moved, float((upstream_now - start).abs().max()))
    assert moved > 1e-2  # the updates do something that a wrong one would show in


_ANSWERS = st.lists(st.integers(1, 40), min_size=2, max_size=2)


def _any_lengths(make: Any, rank: int) -> None:
    """Ranks that don't issue the same collectives hang, or die."""
    log_probs._CHUNK = 4
    engine = make()

    @settings(max_examples=25, deadline=None, database=None, derandomize=True)  # both ranks draw the same
    @given(st.tuples(_ANSWERS, _ANSWERS), st.sampled_from((1, 2)))
    def updates(answers: tuple[list[int], list[int]], limit: int) -> None:
        _update(engine, [SampleQuestion(answers[rank], seed=rank)], micro_batch_size_per_gpu=limit, lr=0.001)

    updates()


CASES = {"uneven": _uneven, "cached": _cached, "twenty updates": _twenty_updates, "any lengths": _any_lengths}


def _work(rank: int, folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=2)
    CASES[name](partial(fsdp_engine, folder), rank)
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("family", "name"), [*(("qwen2_vl", name) for name in CASES), ("qwen3_vl", "uneven"), ("qwen3_5", "uneven")]
)
def test_two_ranks(folder_of: Callable[[Family], Path], family: str, name: str) -> None:
    folder = str(folder_of(FAMILIES[family]))
    ranks = [subprocess.Popen([sys.executable, __file__, str(rank), folder, name]) for rank in range(2)]
    try:
        assert [rank.wait(timeout=270) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


if __name__ == "__main__":
    _work(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

"""Two ranks: one update as verl's, whatever lies on which rank, and no rank waits for the other.

Slow, because two processes import verl: pytest -m slow tests/verl_vsi/sharing/test_two_ranks.py
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, fsdp_engine
from vsi_support.random_models import FAMILIES, Family

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


def _update(engine: Any, questions: list[SampleQuestion], **settings: Any) -> list[torch.Tensor]:
    engine.optimizer = torch.optim.SGD([p for p in engine.module.parameters() if p.requires_grad], lr=1.0)
    with engine.train_mode():
        family = FAMILIES[engine.module.config.model_type]
        engine.train_batch(engine_batch(questions, family=family, **settings), ppo_loss())
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


def _work(rank: int, folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=2)
    {"uneven": _uneven, "cached": _cached}[name](partial(fsdp_engine, folder), rank)
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("family", "name"), [("qwen2_vl", "uneven"), ("qwen2_vl", "cached"), ("qwen3_vl", "uneven"), ("qwen3_5", "uneven")]
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

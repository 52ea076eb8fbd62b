"""Shadow mode reports how far the shared passes are from verl's, and trains as without it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss

from verl_vsi.sharing import engine, shadow

QUESTIONS = [SampleQuestion((5, 3, 1, 9)), SampleQuestion((4, 2, 3), seed=1)]


def reported(engine: Any) -> dict[str, Any]:
    """Metrics of a pass for old log-probabilities and an update in two micro-batches."""
    with engine.eval_mode(), torch.no_grad():
        engine.infer_batch(engine_batch(QUESTIONS, micro_batch_size_per_gpu=4))
    with engine.train_mode():
        return engine.train_batch(engine_batch(QUESTIONS, micro_batch_size_per_gpu=4), ppo_loss())["metrics"]


def test_small_differences_are_reported(make_engine: Any) -> None:
    metrics = reported(make_engine(options={"vsi_shadow": True}))
    differences = {name: max(values) for name, values in metrics.items() if name.startswith("shadow/")}
    assert differences.keys() == {
        "shadow/old_log_probs_max",
        "shadow/old_entropy_max",
        "shadow/update_log_probs_max",
        "shadow/update_entropy_max",
        "shadow/gradient_max",
    }
    assert max(differences.values()) < 1e-5


def test_a_wrong_pass_is_reported(make_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiled(rollouts: Any) -> Any:
        packed = pack(rollouts)
        return dataclasses.replace(packed, positions=packed.positions * 2)

    pack = engine.pack
    monkeypatch.setattr(engine, "pack", spoiled)
    metrics = reported(make_engine(options={"vsi_shadow": True}))
    assert min(max(metrics[f"shadow/{name}_max"]) for name in ("old_log_probs", "update_log_probs", "gradient")) > 1e-3


def test_the_update_is_the_same(make_engine: Any) -> None:
    weights = []
    for options in ({}, {"vsi_shadow": True}):
        engine = make_engine(options=options)
        engine.optimizer = torch.optim.SGD(engine.module.parameters(), lr=1.0)
        reported(engine)
        weights.append([shadow.whole(parameter) for parameter in engine.module.parameters()])
    for alone, shadowed in zip(*weights, strict=True):
        torch.testing.assert_close(shadowed, alone, atol=1e-6, rtol=0)

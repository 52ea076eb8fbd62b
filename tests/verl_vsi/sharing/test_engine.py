"""The engine among verl's: whole updates, micro-batches, a frozen tower, and verl's own passes where ours cannot."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, answers, fsdp_engine
from vsi_support.random_qwen2_vl import Sizes, random_model

from verl_vsi.sharing import packed_layout
from verl_vsi.sharing.eligibility import VENDOR
from verl_vsi.sharing.shadow import whole

QUESTIONS = [SampleQuestion((5, 3, 1, 9)), SampleQuestion((4, 2, 3), seed=1)]
SHUFFLED = [0, 4, 1, 5, 2, 6, 3]


def update(engine: Any, **settings: Any) -> dict[str, torch.Tensor]:
    """Weights after one update."""
    with engine.train_mode():
        engine.train_batch(engine_batch(QUESTIONS, order=SHUFFLED, **settings), ppo_loss())
    return weights(engine)


def weights(engine: Any) -> dict[str, torch.Tensor]:
    """All parameters."""
    return {name: whole(parameter) for name, parameter in engine.module.named_parameters()}


@pytest.fixture(scope="module")
def sgd(make_engine: Any) -> Any:
    """Engines whose update shows every difference of gradients (Adam's first step shows their sign only)."""

    def make(vendor: str = VENDOR, **settings: Any) -> Any:
        engine = make_engine(vendor, **settings)
        engine.optimizer = torch.optim.SGD([p for p in engine.module.parameters() if p.requires_grad], lr=1.0)
        return engine

    return make


@pytest.fixture(scope="module")
def expected(sgd: Any) -> dict[str, torch.Tensor]:
    """Weights after verl's own update, in one micro-batch."""
    return update(sgd(UPSTREAM))


@pytest.mark.parametrize(
    "limits",
    [
        {"micro_batch_size_per_gpu": 7},
        {"micro_batch_size_per_gpu": 4},
        {"micro_batch_size_per_gpu": 2},  # groups are cut
        {"use_dynamic_bsz": True, "max_token_len_per_gpu": 200},
        {"use_dynamic_bsz": True, "max_token_len_per_gpu": 45},
        {"use_dynamic_bsz": True, "max_token_len_per_gpu": 33},  # groups are cut
    ],
    ids=str,
)
def test_an_update_is_upstreams_however_the_batch_is_cut(sgd: Any, expected: Any, limits: dict[str, Any]) -> None:
    updated = update(sgd(), **limits)
    for name, weight in expected.items():
        torch.testing.assert_close(
            updated[name], weight, atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_log_probabilities_come_back_in_the_batchs_order(make_engine: Any) -> None:
    def infer(engine: Any, limit: int) -> torch.Tensor:
        batch = engine_batch(QUESTIONS, order=SHUFFLED, micro_batch_size_per_gpu=limit)
        with engine.eval_mode(), torch.no_grad():
            output = engine.infer_batch(batch)["model_output"]
        return answers(output["log_probs"], batch)

    torch.testing.assert_close(infer(make_engine(), 4), infer(make_engine(UPSTREAM), 7), atol=1e-5, rtol=0)


def test_cut_groups_are_said(make_engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    engine = make_engine()
    with caplog.at_level(logging.WARNING), engine.train_mode():
        engine.train_batch(engine_batch(QUESTIONS, micro_batch_size_per_gpu=2), ppo_loss())
    assert "2 groups were cut into 4" in caplog.text


def test_the_update_gives_the_old_log_probabilities_where_it_is_on_policy(sgd: Any) -> None:
    """Against verl: a pass for the old log-probabilities, then the update."""
    from verl.utils import tensordict_utils as tu
    from verl.workers.utils.padding import response_from_nested

    def batch() -> Any:
        return engine_batch(QUESTIONS, calculate_entropy=True)

    upstream, twice = sgd(UPSTREAM), batch()
    with upstream.eval_mode(), torch.no_grad():
        old = upstream.infer_batch(batch())["model_output"]["log_probs"]
    twice["old_log_probs"] = response_from_nested(old, twice["response_mask"])
    once = batch()
    del once["old_log_probs"]
    once["rollout_log_probs"] = twice["old_log_probs"]
    tu.assign_non_tensor(once, vsi_old_is_current=True, calculate_entropy=False)
    ours = sgd()
    with upstream.train_mode():
        upstream.train_batch(twice, ppo_loss(entropy=0.0))
    with ours.train_mode():
        metrics = ours.train_batch(once, ppo_loss(entropy=0.0))["metrics"]
    for name, weight in weights(upstream).items():
        torch.testing.assert_close(weights(ours)[name], weight, atol=1e-5, rtol=0)
    assert metrics["training/rollout_actor_probs_pearson_corr"][0] == pytest.approx(1, abs=1e-5)
    assert metrics["actor/entropy_loss"].aggregate() > 0


def test_a_frozen_tower_stays_as_it_was_and_is_called_once(sgd: Any) -> None:
    engine = sgd(options={"vsi_freeze_tower": True})
    calls = []
    engine.module.model.visual.patch_embed.register_forward_hook(lambda *_: calls.append(1))
    before = weights(engine)
    update(engine)
    update(engine)
    changed = {name for name, weight in weights(engine).items() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if "visual" not in name}
    assert len(calls) == 1


def test_a_frozen_tower_gives_upstreams_gradients(sgd: Any) -> None:
    upstream = sgd(UPSTREAM)
    upstream.module.model.visual.requires_grad_(False)
    expected = update(upstream)
    updated = update(sgd(options={"vsi_freeze_tower": True}))
    for name, weight in expected.items():
        torch.testing.assert_close(updated[name], weight, atol=1e-5, rtol=0)


def test_options_leave_no_trace_in_the_models_configuration(make_engine: Any) -> None:
    engine = make_engine(options={"vsi_freeze_tower": True, "vsi_feature_cache_gib": 0.5})
    assert engine.options.feature_cache_bytes == 2**29
    assert "vsi_" not in engine.module.config.to_json_string()


def test_an_unknown_option_is_an_error(make_engine: Any) -> None:
    with pytest.raises(TypeError, match="freeze_towr"):
        make_engine(options={"vsi_freeze_towr": True})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"calculate_sum_pi_squared": True}, "calculate_sum_pi_squared"),
        ({"temperature": torch.ones(7)}, "its own temperature"),
        ({"uid": None}, "no uid"),
    ],
    ids=["sum of squares", "temperatures", "no uid"],
)
def test_what_is_not_supported_runs_upstream_and_says_so(
    make_engine: Any, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], reason: str
) -> None:
    tensor = {key: value for key, value in settings.items() if isinstance(value, torch.Tensor)}
    batch = engine_batch(QUESTIONS, **{key: value for key, value in settings.items() if key not in {*tensor, "uid"}})
    batch.update(tensor)
    if "uid" in settings:
        del batch["uid"]
    engine = make_engine()
    with caplog.at_level(logging.WARNING), engine.train_mode():
        engine.train_batch(batch, ppo_loss())
    assert reason in caplog.text


def test_frames_of_another_size_are_an_error(make_engine: Any) -> None:
    batch = engine_batch([SampleQuestion((3, 2))])
    for row in batch["multi_modal_inputs"]:
        row.update(engine_batch([SampleQuestion((1,), grids=((2, 4, 8),))])["multi_modal_inputs"][0])
    with pytest.raises(ValueError, match="8 video tokens, but their videos give 16 features"):
        make_engine().forward_step(batch, ppo_loss(), False)


def test_a_pass_makes_its_segments_once(make_engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP2 casts the inputs of every layer; on a GPU each of these made anew is a copy that the host waits for."""
    engine, made = make_engine(), []

    def segments(*args: Any) -> packed_layout.Segments:
        made.append(original(*args))
        return made[-1]

    original = packed_layout.Segments
    monkeypatch.setattr(packed_layout, "Segments", segments)
    update(engine, micro_batch_size_per_gpu=7)
    assert len(made) == 3  # prompts, answers, answers by group: for all layers, forward, recomputed and backward


def test_lora_on_the_output_layer(group: None, tmp_path: Path) -> None:
    """The layer that is asked for log-probabilities is then PEFT's. (Tied: an own FSDP unit it can't be, in verl.)"""
    random_model(Sizes(tied=True)).save_pretrained(tmp_path)
    results = []
    for vendor in (VENDOR, UPSTREAM):
        engine = fsdp_engine(tmp_path, vendor, lora_rank=4, target_modules=["q_proj", "lm_head"])
        for name, parameter in engine.module.named_parameters():
            if "lora" in name:
                draw = torch.Generator().manual_seed(len(name))
                parameter.data.to_local().copy_(0.1 * torch.randn(parameter.shape, generator=draw))
        batch = engine_batch(QUESTIONS)
        with engine.eval_mode():
            results.append(answers(engine.infer_batch(batch)["model_output"]["log_probs"], batch))
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)

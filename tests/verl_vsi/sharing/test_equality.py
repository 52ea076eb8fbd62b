"""Shared passes give what verl's own engine gives, on the same batch: log-probabilities, entropies, every gradient."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, answers

from verl_vsi.sharing import engine as engine_module
from verl_vsi.sharing.eligibility import VENDOR
from verl_vsi.sharing.packed_layout import PackedLayout
from verl_vsi.sharing.shadow import whole

TOLERANCE = 1e-5
MISS = 1e-2

pytestmark = pytest.mark.timeout(120)


@dataclasses.dataclass
class PassResult:
    """What a pass gives."""

    loss: float
    log_probs: torch.Tensor
    entropy: torch.Tensor
    gradients: dict[str, torch.Tensor]


def run(engine: Any, batch: Any) -> PassResult:
    """One pass forward and backward over the whole batch, as verl's `train_batch` makes it."""
    engine.module.zero_grad(set_to_none=True)
    loss, output = engine.forward_step(batch, ppo_loss(), False)
    loss.backward()
    return PassResult(
        output["loss"],
        answers(output["model_output"]["log_probs"], batch),
        answers(output["model_output"]["entropy"], batch),
        {
            name: whole(parameter.grad)
            for name, parameter in engine.module.named_parameters()
            if parameter.grad is not None
        },
    )


def difference(ours: PassResult, upstream: PassResult) -> dict[str, float]:
    """Largest differences; of a parameter's gradient relative to that gradient's norm."""
    assert ours.gradients.keys() == upstream.gradients.keys()
    worst = max(
        ((ours.gradients[name] - grad).norm() / (grad.norm() + 1e-6)).item()
        for name, grad in upstream.gradients.items()
    )
    return {
        "loss": abs(ours.loss - upstream.loss),
        "log_probs": (ours.log_probs - upstream.log_probs).abs().max().item(),
        "entropy": (ours.entropy - upstream.entropy).abs().max().item(),
        "gradients": worst,
    }


def assert_equal(ours: PassResult, upstream: PassResult) -> None:
    """All within the tolerance."""
    assert {name: d for name, d in difference(ours, upstream).items() if d >= TOLERANCE} == {}


@pytest.fixture(scope="module")
def upstream(make_engine: Any) -> Any:
    """verl's own engine."""
    return make_engine(UPSTREAM)


@pytest.fixture(scope="module")
def ours(make_engine: Any) -> Any:
    """The engine with shared passes."""
    return make_engine()


BATCHES = {
    "one group, unequal answers": [SampleQuestion((5, 3, 1, 9))],
    "equal answers": [SampleQuestion((4, 4, 4))],
    "answers of one token": [SampleQuestion((1, 1)), SampleQuestion((1,), seed=1)],
    "several videos": [
        SampleQuestion((5, 2), seed=0),
        SampleQuestion((3, 7, 4), seed=1, text=5),
        SampleQuestion((2,), seed=2),
    ],
    "equal text, other videos": [SampleQuestion((5, 2), seed=0), SampleQuestion((3, 7), seed=1)],
    "equal text and video, other question": [SampleQuestion((5, 2)), SampleQuestion((3, 7))],
    "two questions on one video": [SampleQuestion((5, 2), text_seed=1), SampleQuestion((3, 7), text_seed=2)],
    "two videos in a prompt": [SampleQuestion((5, 2), grids=((2, 4, 4), (1, 8, 4)))],
    "images": [
        SampleQuestion((5, 2), kind="image", grids=((1, 4, 4),)),
        SampleQuestion((3,), kind="image", grids=((1, 8, 4),)),
    ],
    "a video and a text": [SampleQuestion((5, 2)), SampleQuestion((3, 4), grids=(), text_seed=3)],
    "a video, an image and a text": [
        SampleQuestion((5, 2)),
        SampleQuestion((3, 4), kind="image", grids=((1, 4, 4),), seed=1),
        SampleQuestion((2,), grids=(), seed=2),
    ],
}


@pytest.mark.parametrize("questions", BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_gives_upstreams_numbers(upstream: Any, ours: Any, questions: list[SampleQuestion]) -> None:
    batch = engine_batch(questions)
    assert_equal(run(ours, batch), run(upstream, batch))


def test_rows_of_a_group_need_not_be_neighbours(upstream: Any, ours: Any) -> None:
    batch = engine_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)], order=[3, 0, 4, 2, 1])
    assert_equal(run(ours, batch), run(upstream, batch))


@pytest.mark.parametrize("rows", [1], ids=["each alone"])
def test_a_group_that_lost_a_rollout_and_verls_padding(upstream: Any, ours: Any, rows: int) -> None:
    def update(engine: Any) -> Any:
        engine.module.zero_grad(set_to_none=True)
        batch = engine_batch(questions, padding=2, micro_batch_size_per_gpu=rows)
        metrics = engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)["metrics"]
        return [whole(p.grad) for p in engine.module.parameters() if p.grad is not None], metrics["actor/pg_loss"]

    questions = [SampleQuestion((5, 3, 1)), SampleQuestion((4, 6), seed=1)]
    (our_gradients, our_loss), (their_gradients, their_loss) = update(ours), update(upstream)
    assert our_loss.aggregate() == pytest.approx(their_loss.aggregate(), abs=TOLERANCE)
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(our_gradient, their_gradient, atol=TOLERANCE, rtol=0)


def test_another_temperature(upstream: Any, ours: Any) -> None:
    batch = engine_batch([SampleQuestion((5, 3, 2))], temperature=0.7)
    assert_equal(run(ours, batch), run(upstream, batch))


def test_gradient_checkpointing(upstream: Any, make_engine: Any) -> None:
    batch = engine_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    assert_equal(run(make_engine(enable_gradient_checkpointing=True), batch), run(upstream, batch))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_attention_that_verl_replaced(
    upstream: Any, make_engine: Any, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    """`use_remove_padding`: verl's attention needs flash-attn, so upstream runs without it here."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLAttention
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLAttention

    batch = engine_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected = run(upstream, batch)
    for attention in (Qwen2VLAttention, Qwen2_5_VLAttention):  # put back afterwards
        monkeypatch.setattr(attention, "forward", attention.forward)
    engine = make_engine(use_remove_padding=True, enable_gradient_checkpointing=checkpointing)
    assert Qwen2VLAttention.forward.__module__ == "verl.models.transformers.qwen2_vl"
    assert_equal(run(engine, batch), expected)


@pytest.mark.parametrize("exclude", [None, ".*visual.*"])
def test_lora(make_engine: Any, exclude: str | None) -> None:
    upstream, ours = (make_engine(vendor, lora_rank=4, exclude_modules=exclude) for vendor in (UPSTREAM, VENDOR))
    torch.manual_seed(1)
    theirs = dict(upstream.module.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.module.named_parameters():
            if "lora_" in name:
                theirs[name].normal_(std=0.1)
                parameter.copy_(theirs[name])
    batch = engine_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected = run(upstream, batch)
    assert any("lora_" in name for name in expected.gradients)
    assert_equal(run(ours, batch), expected)


def test_the_reference_is_the_adapter_switched_off(make_engine: Any, upstream: Any) -> None:
    engine = make_engine(lora_rank=4)
    with torch.no_grad():
        for name, parameter in engine.module.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
    batch = engine_batch([SampleQuestion((5, 3, 2))])
    with torch.no_grad():
        adapted = engine.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
        with engine.disable_adapter():
            reference = engine.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
        expected = upstream.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
    expected, reference, adapted = (answers(jagged, batch) for jagged in (expected, reference, adapted))
    torch.testing.assert_close(reference, expected, atol=TOLERANCE, rtol=0)
    assert (adapted - expected).abs().max() > MISS


def _positions_run_on(packed: Any) -> Any:
    """As if the second answer came after the first."""
    positions = packed.positions.clone()
    start = packed.layout.prompt_tokens
    positions[..., start:] += torch.arange(packed.layout.answer_tokens)
    return dataclasses.replace(packed, positions=positions)


def _answers_see_each_other(packed: Any) -> Any:
    layout = packed.layout
    together = tuple((sum(lengths),) for lengths in layout.answer_lengths)
    return dataclasses.replace(packed, layout=PackedLayout(layout.prompt_lengths, together, layout.device))


@pytest.mark.parametrize("spoil", [_positions_run_on, _answers_see_each_other])
def test_a_wrong_packing_is_seen(upstream: Any, ours: Any, monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    pack = engine_module.pack
    monkeypatch.setattr(engine_module, "pack", lambda rollouts: spoil(pack(rollouts)))
    batch = engine_batch([SampleQuestion((9, 6, 8))])
    differences = difference(run(ours, batch), run(upstream, batch))
    assert differences["log_probs"] > MISS
    assert differences["gradients"] > MISS


def test_the_other_video_is_seen(upstream: Any, ours: Any) -> None:
    questions = [SampleQuestion((9, 6, 8)), SampleQuestion((9, 6, 8), seed=1)]
    batch = engine_batch(questions)
    expected = run(upstream, batch)
    swapped = engine_batch(questions[::-1])["multi_modal_inputs"]
    for row, other in zip(batch["multi_modal_inputs"], swapped, strict=True):
        row.update(other)
    assert difference(run(ours, batch), expected)["log_probs"] > MISS

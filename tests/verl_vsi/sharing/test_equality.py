"""Shared passes give what verl's own engine gives, on the same batch: log-probabilities, entropies, every gradient."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from vsi_support.engine_samples import SampleQuestion, make_batch, ppo_loss

TOLERANCE = 1e-5
MISS = 1e-2

pytestmark = pytest.mark.timeout(120)


@dataclasses.dataclass
class Result:
    """What a pass gives."""

    loss: float
    log_probs: torch.Tensor
    entropy: torch.Tensor
    gradients: dict[str, torch.Tensor]


def run(engine: Any, batch: Any) -> Result:
    """One pass forward and backward over the whole batch, as verl's `train_batch` makes it."""
    engine.module.zero_grad(set_to_none=True)
    loss, output = engine.forward_step(batch, ppo_loss(), False)
    loss.backward()
    return Result(
        output["loss"],
        answers(output["model_output"]["log_probs"], batch),
        answers(output["model_output"]["entropy"], batch),
        {
            name: whole(parameter.grad)
            for name, parameter in engine.module.named_parameters()
            if parameter.grad is not None
        },
    )


def whole(tensor: Any) -> torch.Tensor:
    """A sharded tensor's value."""
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).clone()


def answers(jagged: torch.Tensor, batch: Any) -> torch.Tensor:
    """The values that verl reads: at each token before one of the answer's."""
    from verl.workers.utils.padding import response_from_nested

    return response_from_nested(jagged, batch["response_mask"]).values()


def difference(ours: Result, stock: Result) -> dict[str, float]:
    """Largest differences; of a parameter's gradient relative to that gradient's norm."""
    assert ours.gradients.keys() == stock.gradients.keys()
    worst = max(
        ((ours.gradients[name] - grad).norm() / (grad.norm() + 1e-6)).item() for name, grad in stock.gradients.items()
    )
    return {
        "loss": abs(ours.loss - stock.loss),
        "log_probs": (ours.log_probs - stock.log_probs).abs().max().item(),
        "entropy": (ours.entropy - stock.entropy).abs().max().item(),
        "gradients": worst,
    }


def assert_equal(ours: Result, stock: Result) -> None:
    """All within the tolerance."""
    assert {name: d for name, d in difference(ours, stock).items() if d >= TOLERANCE} == {}


@pytest.fixture(scope="module")
def stock(make_engine: Any) -> Any:
    """verl's own engine."""
    return make_engine("")


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
def test_a_batch_gives_stocks_numbers(stock: Any, ours: Any, questions: list[SampleQuestion]) -> None:
    batch = make_batch(questions)
    assert_equal(run(ours, batch), run(stock, batch))


def test_rows_of_a_group_need_not_be_neighbours(stock: Any, ours: Any) -> None:
    batch = make_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)], order=[3, 0, 4, 2, 1])
    assert_equal(run(ours, batch), run(stock, batch))


@pytest.mark.parametrize("rows", [1], ids=["each alone"])
def test_a_group_that_lost_a_rollout_and_verls_padding(stock: Any, ours: Any, rows: int) -> None:
    def update(engine: Any) -> Any:
        engine.module.zero_grad(set_to_none=True)
        batch = make_batch(questions, padding=2, micro_batch_size_per_gpu=rows)
        metrics = engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)["metrics"]
        return [whole(p.grad) for p in engine.module.parameters() if p.grad is not None], metrics["actor/pg_loss"]

    questions = [SampleQuestion((5, 3, 1)), SampleQuestion((4, 6), seed=1)]
    (found, our_loss), (expected, their_loss) = update(ours), update(stock)
    assert our_loss.aggregate() == pytest.approx(their_loss.aggregate(), abs=TOLERANCE)
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other, atol=TOLERANCE, rtol=0)


def test_another_temperature(stock: Any, ours: Any) -> None:
    batch = make_batch([SampleQuestion((5, 3, 2))], temperature=0.7)
    assert_equal(run(ours, batch), run(stock, batch))


def test_gradient_checkpointing(stock: Any, make_engine: Any) -> None:
    batch = make_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    assert_equal(run(make_engine(enable_gradient_checkpointing=True), batch), run(stock, batch))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_attention_that_verl_replaced(
    stock: Any, make_engine: Any, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    """`use_remove_padding`: verl's attention needs flash-attn, so stock runs without it here."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLAttention
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLAttention

    batch = make_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected = run(stock, batch)
    for attention in (Qwen2VLAttention, Qwen2_5_VLAttention):  # put back afterwards
        monkeypatch.setattr(attention, "forward", attention.forward)
    engine = make_engine(use_remove_padding=True, enable_gradient_checkpointing=checkpointing)
    assert Qwen2VLAttention.forward.__module__ == "verl.models.transformers.qwen2_vl"
    assert_equal(run(engine, batch), expected)


@pytest.mark.parametrize("exclude", [None, ".*visual.*"])
def test_lora(make_engine: Any, exclude: str | None) -> None:
    stock, ours = (make_engine(v, lora_rank=4, exclude_modules=exclude) for v in ("", "vsi_shared"))
    torch.manual_seed(1)
    theirs = dict(stock.module.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.module.named_parameters():
            if "lora_" in name:
                theirs[name].normal_(std=0.1)
                parameter.copy_(theirs[name])
    batch = make_batch([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected, found = run(stock, batch), run(ours, batch)
    assert any("lora_" in name for name in expected.gradients)
    assert_equal(found, expected)


def test_the_reference_is_the_adapter_switched_off(make_engine: Any, stock: Any) -> None:
    engine = make_engine(lora_rank=4)
    with torch.no_grad():
        for name, parameter in engine.module.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
    batch = make_batch([SampleQuestion((5, 3, 2))])
    with torch.no_grad():
        adapted = engine.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
        with engine.disable_adapter():
            reference = engine.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
        expected = stock.forward_step(batch, None, True)[1]["model_output"]["log_probs"]
    expected, reference, adapted = (answers(jagged, batch) for jagged in (expected, reference, adapted))
    torch.testing.assert_close(reference, expected, atol=TOLERANCE, rtol=0)
    assert (adapted - expected).abs().max() > MISS


def _positions_run_on(plan: Any) -> Any:
    """As if the second answer came after the first."""
    positions = plan.positions.clone()
    start = plan.layout.prompt_tokens
    positions[..., start:] += torch.arange(plan.layout.answer_tokens)
    return dataclasses.replace(plan, positions=positions)


def _answers_see_each_other(plan: Any) -> Any:
    layout = plan.layout
    together = tuple((sum(lengths),) for lengths in layout.answer_lengths)
    return dataclasses.replace(plan, layout=dataclasses.replace(layout, answer_lengths=together))


@pytest.mark.parametrize("spoil", [_positions_run_on, _answers_see_each_other])
def test_a_wrong_plan_is_seen(stock: Any, ours: Any, monkeypatch: pytest.MonkeyPatch, spoil: Any) -> None:
    from verl_vsi.sharing import engine

    right = engine.pack
    monkeypatch.setattr(engine, "pack", lambda rows: spoil(right(rows)))
    batch = make_batch([SampleQuestion((9, 6, 8))])
    found = difference(run(ours, batch), run(stock, batch))
    assert found["log_probs"] > MISS
    assert found["gradients"] > MISS


def test_the_other_video_is_seen(stock: Any, ours: Any) -> None:
    questions = [SampleQuestion((9, 6, 8)), SampleQuestion((9, 6, 8), seed=1)]
    batch = make_batch(questions)
    expected = run(stock, batch)
    for row, other in zip(batch["multi_modal_inputs"], make_batch(questions[::-1])["multi_modal_inputs"], strict=True):
        row.update(other)
    assert difference(run(ours, batch), expected)["log_probs"] > MISS

"""Shared passes give what verl's own engine gives, on the same batch: log-probabilities, entropies, every gradient.

Of each family's model, random weights at a tiny size. Qwen2-VL meets every case in every run of the suite, the others
the cases in which they differ from it; the rest: pytest -m slow tests/verl_vsi/sharing/test_equality.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, answers, fsdp_engine
from vsi_support.random_models import FAMILIES, QWEN2_VL, Family

from verl_vsi.sharing import engine as engine_module
from verl_vsi.sharing import model_hooks
from verl_vsi.sharing.eligibility import VENDOR
from verl_vsi.sharing.linear_attention import Memory
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
def family(request: pytest.FixtureRequest) -> Family:
    """The models that are compared."""
    return FAMILIES[getattr(request, "param", QWEN2_VL.name)]


@pytest.fixture(scope="module")
def make_engine(group: None, folder_of: Callable[[Family], Path], family: Family) -> Any:
    """Build our engine over the family's tiny model, or verl's (`UPSTREAM`)."""
    return partial(fsdp_engine, folder_of(family))


@pytest.fixture(scope="module")
def batch_of(family: Family) -> Any:
    """Build a batch for the family's model."""
    return partial(engine_batch, family=family)


OTHERS = [name for name in FAMILIES if name != QWEN2_VL.name]
in_every_family = pytest.mark.parametrize("family", FAMILIES, indirect=True)
in_every_family_but_slow = pytest.mark.parametrize(
    "family", [QWEN2_VL.name, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)], indirect=True
)


def in_families(argument: str, values: Mapping[str, Any], core: Container[str]) -> Any:
    """Run a test with each family's model and each value.

    Args:
        argument: of the test.
        values: what it is given, by name.
        core: names of the values that every run of the suite gives every family; the others, Qwen2-VL alone.
    """
    cases = [
        pytest.param(family, value, id=f"{family}-{name}", marks=() if in_suite else pytest.mark.slow)
        for family in FAMILIES
        for name, value in values.items()
        for in_suite in [family == QWEN2_VL.name or name in core]
    ]
    return pytest.mark.parametrize(("family", argument), cases, indirect=["family"])


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
    "a video of several windows, and more tokens than linear attention takes at a time": [
        SampleQuestion((70, 3, 130), text=100, grids=((2, 6, 12),)),
        SampleQuestion((66,), text=60),
    ],
}
CORE = [*BATCHES][-2:]
"""Both kinds of pixels and none; more than one window and chunk."""


@in_families("questions", BATCHES, CORE)
def test_a_batch_gives_upstreams_numbers(
    batch_of: Any, upstream: Any, ours: Any, questions: list[SampleQuestion]
) -> None:
    batch = batch_of(questions)
    assert_equal(run(ours, batch), run(upstream, batch))


@in_every_family_but_slow
def test_rows_of_a_group_need_not_be_neighbours(batch_of: Any, upstream: Any, ours: Any) -> None:
    batch = batch_of([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)], order=[3, 0, 4, 2, 1])
    assert_equal(run(ours, batch), run(upstream, batch))


@pytest.mark.parametrize("rows", [1], ids=["each alone"])
@in_every_family_but_slow
def test_a_group_that_lost_a_rollout_and_verls_padding(batch_of: Any, upstream: Any, ours: Any, rows: int) -> None:
    def update(engine: Any) -> Any:
        engine.module.zero_grad(set_to_none=True)
        batch = batch_of(questions, padding=2, micro_batch_size_per_gpu=rows)
        metrics = engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)["metrics"]
        return [whole(p.grad) for p in engine.module.parameters() if p.grad is not None], metrics["actor/pg_loss"]

    questions = [SampleQuestion((5, 3, 1)), SampleQuestion((4, 6), seed=1)]
    (our_gradients, our_loss), (their_gradients, their_loss) = update(ours), update(upstream)
    assert our_loss.aggregate() == pytest.approx(their_loss.aggregate(), abs=TOLERANCE)
    for our_gradient, their_gradient in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(our_gradient, their_gradient, atol=TOLERANCE, rtol=0)


@in_every_family_but_slow
def test_another_temperature(batch_of: Any, upstream: Any, ours: Any) -> None:
    batch = batch_of([SampleQuestion((5, 3, 2))], temperature=0.7)
    assert_equal(run(ours, batch), run(upstream, batch))


@in_every_family_but_slow
def test_gradient_checkpointing(batch_of: Any, upstream: Any, make_engine: Any) -> None:
    batch = batch_of([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    assert_equal(run(make_engine(enable_gradient_checkpointing=True), batch), run(upstream, batch))


@in_families("checkpointing", {"alone": False, "with checkpointing": True}, ["with checkpointing"])
def test_attention_that_verl_replaced(
    batch_of: Any, upstream: Any, make_engine: Any, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    """`use_remove_padding`: verl's attention needs flash-attn, so upstream runs without it here."""
    flash_attention: Any = import_module("transformers.integrations.flash_attention")
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLAttention
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLAttention

    batch = batch_of([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected = run(upstream, batch)
    for attention in (Qwen2VLAttention, Qwen2_5_VLAttention):  # put back afterwards
        monkeypatch.setattr(attention, "forward", attention.forward)
    monkeypatch.setattr(flash_attention, "_flash_attention_forward", flash_attention._flash_attention_forward)
    engine = make_engine(use_remove_padding=True, enable_gradient_checkpointing=checkpointing)
    assert flash_attention._flash_attention_forward.__module__ == "verl.models.transformers.monkey_patch"
    assert_equal(run(engine, batch), expected)


@in_families("exclude", {"everywhere": None, "language only": ".*visual.*"}, ["everywhere"])
def test_lora(batch_of: Any, make_engine: Any, exclude: str | None) -> None:
    upstream, ours = (make_engine(vendor, lora_rank=4, exclude_modules=exclude) for vendor in (UPSTREAM, VENDOR))
    torch.manual_seed(1)
    theirs = dict(upstream.module.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.module.named_parameters():
            if "lora_" in name:
                theirs[name].normal_(std=0.1)
                parameter.copy_(theirs[name])
    batch = batch_of([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), seed=1)])
    expected = run(upstream, batch)
    assert any("lora_" in name for name in expected.gradients)
    assert_equal(run(ours, batch), expected)


@in_every_family
def test_a_frozen_tower_and_its_remembered_features(batch_of: Any, make_engine: Any) -> None:
    batch = batch_of([SampleQuestion((5, 3, 2)), SampleQuestion((4, 6), kind="image", grids=((1, 4, 4),), seed=1)])
    upstream, ours = make_engine(UPSTREAM), make_engine(options={"vsi_freeze_tower": True})
    upstream.module.model.visual.requires_grad_(False)
    expected = run(upstream, batch)
    assert_equal(run(ours, batch), expected)
    assert ours.feature_cache.used > 0
    assert_equal(run(ours, batch), expected)


@in_every_family_but_slow
def test_the_reference_is_the_adapter_switched_off(batch_of: Any, make_engine: Any, upstream: Any) -> None:
    engine = make_engine(lora_rank=4)
    with torch.no_grad():
        for name, parameter in engine.module.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.5)
    batch = batch_of([SampleQuestion((5, 3, 2))])
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


@in_families("spoil", {"positions run on": _positions_run_on, "answers see each other": _answers_see_each_other}, [])
def test_a_wrong_packing_is_seen(
    batch_of: Any, upstream: Any, ours: Any, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    pack = engine_module.pack
    monkeypatch.setattr(engine_module, "pack", lambda rollouts: spoil(pack(rollouts)))
    batch = batch_of([SampleQuestion((9, 6, 8))])
    differences = difference(run(ours, batch), run(upstream, batch))
    assert differences["log_probs"] > MISS
    assert differences["gradients"] > MISS


@in_every_family_but_slow
def test_the_other_video_is_seen(batch_of: Any, upstream: Any, ours: Any) -> None:
    questions = [SampleQuestion((9, 6, 8)), SampleQuestion((9, 6, 8), seed=1)]
    batch = batch_of(questions)
    expected = run(upstream, batch)
    swapped = batch_of(questions[::-1])["multi_modal_inputs"]
    for row, other in zip(batch["multi_modal_inputs"], swapped, strict=True):
        row.update(other)
    assert difference(run(ours, batch), expected)["log_probs"] > MISS


def _deepstack_of_other_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    ordered = model_hooks.in_reading_order

    def turned_round(*args: Any) -> Any:
        places, features = ordered(*args)
        return places, features.flip(0)

    monkeypatch.setattr(model_hooks, "in_reading_order", turned_round)


def _answers_without_state(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Memory.of
    monkeypatch.setattr(Memory, "of", lambda memory, groups: dataclasses.replace(of(memory, groups), state=None))


def _answers_of_the_other_group(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Memory.of
    monkeypatch.setattr(Memory, "of", lambda memory, groups: of(memory, [1 - group for group in groups]))


@pytest.mark.parametrize(
    ("family", "spoil"),
    [
        ("qwen3_vl", _deepstack_of_other_tokens),
        ("qwen3_5", _answers_without_state),
        ("qwen3_5", _answers_of_the_other_group),
    ],
    indirect=["family"],
)
def test_a_family_needs_what_it_adds(
    batch_of: Any, upstream: Any, ours: Any, monkeypatch: pytest.MonkeyPatch, spoil: Any
) -> None:
    batch = batch_of([SampleQuestion((9, 6, 8)), SampleQuestion((9, 6, 8), text=5, seed=1)])
    expected = run(upstream, batch)
    spoil(monkeypatch)
    differences = difference(run(ours, batch), expected)
    assert differences["log_probs"] > MISS
    assert differences["gradients"] > MISS

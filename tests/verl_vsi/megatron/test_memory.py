"""What `recipes estimate` says of Megatron's memory, against what its engine allocates on a CPU, in float32.

Slow, and needs the set of `make megatron`:

    .venv-megatron/bin/python -m pytest -m slow tests/verl_vsi/megatron/test_memory.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import megatron_engine, process_group
from vsi_support.live_memory import tensor_bytes
from vsi_support.marks import needs_bridge
from vsi_support.random_qwen2_vl import Sizes, random_model

from verl_vsi.config.estimate import recipe_of
from verl_vsi.config.memory import training_terms
from verl_vsi.config.recipes import Composer

pytestmark = [pytest.mark.slow, needs_bridge]

MID_SIZE = Sizes(256, 1500, heads=8, groups=8, vision_width=64, vision_ratio=4, vocabulary=512)


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    with process_group():
        yield
        from megatron.core import parallel_state

        parallel_state.destroy_model_parallel()


@pytest.mark.usefixtures("group", "untouched_transformers")
@pytest.mark.parametrize("sizes", [Sizes(groups=4), MID_SIZE], ids=["tiny", "mid-size"])
def test_weights_gradients_and_adam_are_what_megatron_allocates(
    compose: Composer, tmp_path: Path, sizes: Sizes
) -> None:
    """Activations are not held: megatron-core's layers for a CPU keep more than the fused ones of a GPU."""
    random_model(sizes).save_pretrained(tmp_path)
    recipe = recipe_of(compose.recipe(f"vsgrpo_miniature backend=megatron vsi.model={tmp_path}"))
    terms = {term.what: term.bytes for term in training_terms(recipe)}
    engine, batch = megatron_engine(tmp_path), engine_batch([SampleQuestion((5, 3))], use_remove_padding=True)
    with engine.train_mode():
        engine.optimizer_zero_grad()
        engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)
        engine.optimizer_step()
    measured = allocated(engine)
    assert {what: terms[what] for what in measured} == pytest.approx(measured, rel=0.15)


def allocated(engine: Any) -> dict[str, float]:
    parameters = [parameter for part in engine.module for parameter in part.parameters()]
    optimizers = getattr(engine.optimizer, "chained_optimizers", [engine.optimizer])
    states = [state for part in optimizers for state in part.optimizer.state.values()]
    return {
        "weights": sum(map(tensor_bytes, parameters)),
        "gradients": sum(tensor_bytes(parameter.main_grad) for parameter in parameters),
        "Adam": sum(tensor_bytes(value) for state in states for name, value in state.items() if name != "step"),
    }

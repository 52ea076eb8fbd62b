"""A micro-batch that shows nothing goes through verl's own passes too, and gives what the shared ones give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM

TEXT = [SampleQuestion((5, 3), grids=()), SampleQuestion((4,), grids=(), text_seed=1)]


def test_both_engines_agree(make_engine: Any) -> None:
    outputs = []
    for engine in (make_engine(UPSTREAM), make_engine()):
        loss, output = engine.forward_step(engine_batch(TEXT), ppo_loss(), False)
        loss.backward()
        tower = [p.grad for name, p in engine.module.named_parameters() if "visual" in name]
        assert all(gradient is not None for gradient in tower), "FSDP waits for the gradient of every parameter"
        outputs.append((output["loss"], [row.grad for row in engine.module.lm_head.parameters()]))
    (upstream, upstream_head), (ours, our_head) = outputs
    assert ours == pytest.approx(upstream, abs=1e-5)
    for our_gradient, gradient in zip(our_head, upstream_head, strict=True):
        torch.testing.assert_close(our_gradient.full_tensor(), gradient.full_tensor(), atol=1e-5, rtol=0)


def test_upstream_still_dies(model_folder: Path) -> None:
    """When this fails, verl has mended it: remove verl_vsi/patches/text_only_batch.py."""
    from transformers import Qwen2VLForConditionalGeneration
    from verl.models.transformers import qwen2_vl

    upstream: Any = qwen2_vl._get_input_embeds.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    model = Qwen2VLForConditionalGeneration.from_pretrained(model_folder)
    with pytest.raises(AttributeError, match="mean"):
        upstream(model.model, torch.tensor([[1, 2, 3]]))

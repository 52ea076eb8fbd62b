"""A micro-batch that shows nothing goes through verl's own passes too, and gives what the shared ones give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from vsi_support.engine_samples import SampleQuestion, make_batch, ppo_loss

TEXT = [SampleQuestion((5, 3), grids=()), SampleQuestion((4,), grids=(), text_seed=1)]


def test_both_engines_agree(make_engine: Any) -> None:
    outputs = []
    for engine in (make_engine(""), make_engine()):
        loss, output = engine.forward_step(make_batch(TEXT), ppo_loss(), False)
        loss.backward()
        tower = [p.grad for name, p in engine.module.named_parameters() if "visual" in name]
        assert all(gradient is not None for gradient in tower), "FSDP waits for the gradient of every parameter"
        outputs.append((output["loss"], [row.grad for row in engine.module.lm_head.parameters()]))
    (stock, stock_head), (ours, our_head) = outputs
    assert ours == pytest.approx(stock, abs=1e-5)
    for found, expected in zip(our_head, stock_head, strict=True):
        torch.testing.assert_close(found.full_tensor(), expected.full_tensor(), atol=1e-5, rtol=0)


def test_upstream_still_dies(model_path: Path) -> None:
    """When this fails, verl has mended it: remove verl_vsi/patches/text_only_batch.py."""
    from transformers import Qwen2VLForConditionalGeneration
    from verl.models.transformers import qwen2_vl

    upstream: Any = qwen2_vl._get_input_embeds.__wrapped__  # pyright: ignore[reportFunctionMemberAccess]
    model = Qwen2VLForConditionalGeneration.from_pretrained(model_path)
    with pytest.raises(AttributeError, match="mean"):
        upstream(model.model, torch.tensor([[1, 2, 3]]))

"""Models with random weights and engines over them, for `passes.py` and `gpu`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from passes_costs import Shape
from stored_videos import processor_of

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.engines import UPSTREAM, fsdp_engine, megatron_engine
from vsi_support.random_models import FAMILIES, Family
from vsi_support.random_qwen2_vl import Sizes

from verl_vsi.sharing.eligibility import VENDOR


def save_model(
    model: str,
    shape: Shape,
    dtype: torch.dtype,
    folder: Path | None = None,
    tokens: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> Path:
    """A model with random weights.

    Args:
        model: its `model_type`.
        shape: its sizes.
        dtype: of its weights.
        folder: where it goes; None: one that the system throws away.
        tokens: ids of the special ones; those of `vsi_support.engine_batches` by default.
        device: where its weights are drawn.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="verl-vsi-passes-"))
    torch.set_default_dtype(dtype)
    with torch.device(device):
        random_model = FAMILIES[model].random_model(sizes_of(shape), sharp=False)
    torch.set_default_dtype(torch.float32)
    for name, token in (tokens or {}).items():
        config = random_model.config.text_config if name.startswith(("bos", "eos", "pad")) else random_model.config
        setattr(config, name, token)
    random_model.save_pretrained(folder)
    return folder


def sizes_of(shape: Shape) -> Sizes:
    """A shape in the words of the random models."""
    return Sizes(
        hidden=shape.hidden,
        feed_forward=shape.intermediate,
        layers=shape.layers,
        heads=shape.heads,
        groups=shape.key_heads,
        vision_layers=shape.vision_layers,
        vision_width=shape.vision_width,
        vision_heads=shape.vision_heads,
        vision_ratio=4,
        vocabulary=shape.vocabulary,
        tied=shape.tied,
    )


def make_engine(
    kind: str,
    family: Family,
    folder: Path,
    device: str = "cpu",
    dtype: str = "fp32",
    backend: str = "fsdp2",
    **settings: Any,
) -> Any:
    """verl's engine, or ours, over this process alone.

    Args:
        kind: one of `passes_costs.KINDS`.
        family: of the model.
        folder: of the model.
        device: cpu or cuda.
        dtype: of the weights, as verl names it.
        backend: fsdp2, or megatron, which is measured on a CPU only.
        settings: others of `fsdp_engine`.
    """
    vendor = UPSTREAM if kind == "stock" else VENDOR
    options = {"vsi_freeze_tower": True} if kind == "frozen" else {}
    if backend == "megatron":
        engine = megatron_engine(folder, vendor, options=options)
    else:
        own = {"device": device, "dtype": dtype, "learning_rate": 1e-6}
        engine = fsdp_engine(folder, vendor, options=options, **own, **settings)
    engine.model_config.processor = processor_of(family)
    return engine


def run_pass(engine: Any, batch: Any, loss_function: Any) -> None:
    """One pass over one micro-batch.

    Args:
        engine: FSDP2's or Megatron's.
        batch: the micro-batch.
        loss_function: with a backward pass; None without.
    """
    forward_only = loss_function is None
    with torch.set_grad_enabled(not forward_only):
        if engine.engine_config.strategy == "megatron":  # its schedule has the backward pass in it
            engine.forward_backward_batch(batch.copy(), loss_function, forward_only)
            for chunk in engine.module:
                chunk.zero_grad_buffer()
            return
        loss, _ = engine.forward_step(batch, loss_function, forward_only)
    if not forward_only:
        loss.backward()
        engine.module.zero_grad(set_to_none=True)

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

from vsi_support.engines import UPSTREAM, VENDOR, fsdp_engine
from vsi_support.random_models import FAMILIES, Family
from vsi_support.random_qwen2_vl import Sizes


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
    kind: str, family: Family, folder: Path, device: str = "cpu", dtype: str = "fp32", **settings: Any
) -> Any:
    """verl's engine, or ours: FSDP2 over this process alone.

    Args:
        kind: one of `passes_costs.KINDS`.
        family: of the model.
        folder: of the model.
        device: cpu or cuda.
        dtype: of the weights, as verl names it.
        settings: others of `fsdp_engine`.
    """
    shared, frozen = kind != "stock", kind == "frozen"
    options = {"vsi_freeze_tower": True} if frozen else {}
    engine = fsdp_engine(
        folder,
        VENDOR if shared else UPSTREAM,
        options=options,
        device=device,
        dtype=dtype,
        learning_rate=1e-6,
        **settings,
    )
    engine.model_config.processor = processor_of(family)
    return engine

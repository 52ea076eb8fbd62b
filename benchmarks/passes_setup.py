"""Models with random weights and engines over them, for `passes.py`."""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from passes_costs import Shape

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.engines import UPSTREAM, megatron_engine
from vsi_support.random_models import FAMILIES
from vsi_support.random_qwen2_vl import Sizes

from verl_vsi.sharing.eligibility import VENDOR


def save_model(
    model: str,
    shape: Shape,
    dtype: torch.dtype,
    folder: Path | None = None,
    tokens: Mapping[str, int] | None = None,
) -> Path:
    """A model with random weights.

    Args:
        model: its `model_type`.
        shape: its sizes.
        dtype: of its weights.
        folder: where it goes; None: one that the system throws away.
        tokens: ids of the special ones; those of `vsi_support.engine_batches` by default.
    """
    sizes = Sizes(
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
    )
    folder = folder or Path(tempfile.mkdtemp(prefix="verl-vsi-passes-"))
    torch.set_default_dtype(dtype)
    random_model = FAMILIES[model].random_model(sizes, sharp=False)
    torch.set_default_dtype(torch.float32)
    for name, token in (tokens or {}).items():
        config = random_model.config.text_config if name.startswith(("bos", "eos", "pad")) else random_model.config
        setattr(config, name, token)
    random_model.save_pretrained(folder)
    return folder


def make_engine(folder: Path, device: str, *, shared: bool, frozen: bool = False) -> Any:
    """verl's engine, or ours: FSDP2 over this process alone, float32 on a CPU and bfloat16 on a GPU.

    Args:
        folder: of the model.
        device: cpu or cuda.
        shared: ours.
        frozen: with the vision tower frozen.
    """
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    kind = "fp32" if device == "cpu" else "bf16"
    options = {"vsi_freeze_tower": True} if shared and frozen else {}
    engine_class = EngineRegistry._engines["language_model"]["fsdp2"][(device, VENDOR) if shared else device]
    engine = engine_class(
        model_config=HFModelConfig(
            path=str(folder),
            load_tokenizer=False,
            use_remove_padding=False,
            enable_gradient_checkpointing=device != "cpu",
            override_config={"attn_implementation": "sdpa", **options},
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2",
            model_dtype=kind,
            mixed_precision={"param_dtype": kind, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
            use_torch_compile=False,
            use_dynamic_bsz=False,
            micro_batch_size_per_gpu=64,
        ),
        optimizer_config=FSDPOptimizerConfig(lr=1e-6, total_training_steps=10),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    if frozen and not shared:
        engine.module.model.visual.requires_grad_(False)
    engine.module.train()
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


class Engines:
    """Engines by kind: all of them on a CPU, one at a time on a GPU."""

    def __init__(self, folder: Path, device: str, backend: str = "fsdp2") -> None:
        """Engines over one model.

        Args:
            folder: of the model.
            device: cpu or cuda.
            backend: fsdp2 or megatron.
        """
        self.folder, self.device, self.backend = folder, device, backend
        self._engines: dict[str, Any] = {}

    def get(self, kind: str) -> Any:
        """The engine of one of `passes_costs.KINDS`, made at its first use."""
        if kind not in self._engines:
            if self.device == "cuda":
                self._engines.clear()
                gc.collect()
            shared, frozen = kind != "stock", kind == "frozen"
            if self.backend == "megatron":
                options = {"vsi_freeze_tower": True} if frozen else {}
                vendor = VENDOR if shared else UPSTREAM
                self._engines[kind] = megatron_engine(self.folder, vendor, options=options if shared else None)
            else:
                self._engines[kind] = make_engine(self.folder, self.device, shared=shared, frozen=frozen)
        return self._engines[kind]

"""Models with random weights and engines over them, for `passes.py`."""

from __future__ import annotations

import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from passes_costs import Shape

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.random_qwen2_vl import EOS, IMAGE, VIDEO, VISION_END, VISION_START

TOKENS = {
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "pad_token_id": EOS,
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}
"""Of the batches in `vsi_support.random_qwen2_vl`."""


def save_model(shape: Shape, dtype: torch.dtype, folder: Path | None = None, tokens: dict[str, int] = TOKENS) -> Path:
    """A model with random weights.

    Args:
        shape: its sizes.
        dtype: of its weights.
        folder: where it goes; None: one that the system throws away.
        tokens: ids of the special ones.
    """
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    section = [shape.head // 8, shape.head * 3 // 16, shape.head * 3 // 16]
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "max_position_embeddings": 32768,
        "use_sliding_window": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section},
        **{name: tokens[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    vision = {
        "depth": shape.vision_layers,
        "embed_dim": shape.vision_width,
        "hidden_size": shape.hidden,
        "num_heads": shape.vision_heads,
        "mlp_ratio": 4,
    }
    media: dict[str, Any] = {n: token for n, token in tokens.items() if n.startswith(("image", "video", "vision"))}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **media)
    torch.manual_seed(0)
    folder = folder or Path(tempfile.mkdtemp(prefix="verl-vsi-passes-"))
    torch.set_default_dtype(dtype)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)
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

    from verl_vsi.sharing.eligibility import VENDOR

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


class Engines:
    """Engines by kind: all of them on a CPU, one at a time on a GPU."""

    def __init__(self, folder: Path, device: str) -> None:
        """Engines over one model.

        Args:
            folder: of the model.
            device: cpu or cuda.
        """
        self.folder, self.device = folder, device
        self._engines: dict[str, Any] = {}

    def get(self, kind: str) -> Any:
        """The engine of one of `passes_costs.KINDS`, made at its first use."""
        if kind not in self._engines:
            if self.device == "cuda":
                self._engines.clear()
                gc.collect()
            shared, frozen = kind != "stock", kind == "frozen"
            self._engines[kind] = make_engine(self.folder, self.device, shared=shared, frozen=frozen)
        return self._engines[kind]

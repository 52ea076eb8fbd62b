"""Models with random weights and engines over them, for `passes.py`."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.random_qwen2_vl import EOS, IMAGE, VIDEO, VISION_END, VISION_START


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2-VL."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    vision_width: int
    vision_layers: int
    vision_heads: int

    @property
    def head(self) -> int:
        """Numbers in a head."""
        return self.hidden // self.heads

    @property
    def text_weights(self) -> int:
        """Weights that a token of text meets, without embedding and output."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.key_heads * self.head
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def vision_weights(self) -> int:
        """Weights that a patch meets (its share of the merger included)."""
        width = self.vision_width
        merger = (4 * width) * (4 * width + self.hidden) // 4
        return self.vision_layers * 12 * width * width + 3 * 2 * 14 * 14 * width + merger


SHAPES = {
    "tiny": Shape(64, 96, 1, 2, 1, 128, 32, 1, 2),
    # Qwen2-VL-2B's proportions: vision 58 % of stock's work, output layer 6 %.
    "small": Shape(256, 1496, 2, 4, 2, 1856, 192, 3, 3),
    "2b": Shape(1536, 8960, 28, 12, 2, 151936, 1280, 32, 16),
    "7b": Shape(3584, 18944, 28, 28, 4, 152064, 1280, 32, 16),
}


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
    """A model with random weights, in `folder`, or in one that the system throws away."""
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
    """verl's engine, or ours: FSDP2 over this process alone, float32 on a CPU and bfloat16 on a GPU."""
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


def flops(shape: Shape, *, patches: int, tokens: int, answers: int, frame: int) -> float:
    """Floating-point operations of one forward pass: matrices, attention (causal, and within a frame), output layer."""
    output = shape.hidden * shape.vocabulary * answers
    matrices = 2.0 * (shape.text_weights * tokens + shape.vision_weights * patches + output)
    causal = 2.0 * shape.layers * shape.hidden * tokens**2
    within_frames = 4.0 * shape.vision_layers * shape.vision_width * patches * frame
    return matrices + causal + within_frames

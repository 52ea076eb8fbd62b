"""The miniature: a Qwen2-VL of about 1.1 million parameters, small enough to learn to see on one core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verl_vsi.miniature.processor import MERGE, PATCH, TEMPORAL
from verl_vsi.miniature.tokenizer import END, END_OF_TEXT, IMAGE, VIDEO, VISION_END, VISION_START

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

HEAD = 32
"""The smallest head that vLLM's attention knows on a CPU."""
LAYERS, WIDTH, INTERMEDIATE = 4, 4 * HEAD, 256
INITIAL_STD = 0.06
ROPE_THETA, SECTION = 1000.0, [1, 3, 12]
"""Base and (time, row, column) pairs of the rotary positions. Qwen2-VL's own give a column angles of under a degree
here, so that a model this small cannot tell left from right; these give it up to ten, and more pairs."""


def build_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2VLConfig:
    """Qwen2-VL's configuration with every size cut down; the rope is made for prompts of some fifty tokens."""
    from transformers import Qwen2VLConfig

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (END_OF_TEXT, END)}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": INITIAL_STD,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA, "mrope_section": SECTION},
        "bos_token_id": ids[END_OF_TEXT],
        "eos_token_id": ids[END],
        "pad_token_id": ids[END_OF_TEXT],
    }
    vision = {
        "depth": 1,
        "embed_dim": 3 * HEAD,
        "hidden_size": WIDTH,
        "num_heads": 3,
        "mlp_ratio": 2,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": TEMPORAL,
        "in_channels": 3,
        "in_chans": 3,
        "initializer_range": INITIAL_STD,
    }
    names = {"image_token_id": IMAGE, "video_token_id": VIDEO}
    names |= {"vision_start_token_id": VISION_START, "vision_end_token_id": VISION_END}
    tokens: dict[str, Any] = {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
    return Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False, **tokens)


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2VLForConditionalGeneration:
    """A fresh float32 model, its attention set to look for its like from the start."""
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(build_config(tokenizer))
    _look_for_the_like(model)
    generation: Any = model.generation_config
    generation.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    generation.pad_token_id = tokenizer.pad_token_id
    return model


def _look_for_the_like(model: Any) -> None:
    """Start with W_q = W_k: a word then attends to the video tokens that resemble it (arXiv 2305.09828, section 4).

    Without it the miniature does not find "chair" in its video within the minutes it has.
    """
    import torch

    with torch.no_grad():
        for layer in model.model.language_model.layers:
            keys, queries = layer.self_attn.k_proj.weight, layer.self_attn.q_proj.weight
            groups = queries.shape[0] // keys.shape[0]
            heads = keys.view(-1, HEAD, keys.shape[1])
            queries.copy_(heads.repeat_interleave(groups, dim=0).reshape(queries.shape))

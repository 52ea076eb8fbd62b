"""The miniature: a Qwen2-VL of about 1.2 million parameters, small enough to learn to see on one core.

Its processor is Qwen2-VL's own, kept at 4 frames of 112x112 pixels, 32 video tokens; its tokenizer has a few hundred
tokens, so that embeddings stay small and prompts short.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from verl_vsi.data_adapters.synthetic_rooms import FRAMES, SIDE

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

PATCH, MERGE, TEMPORAL = 14, 2, 2
GRID = (FRAMES // TEMPORAL, SIDE // PATCH, SIDE // PATCH)
"""(t, h, w) patches of a video, as Qwen2-VL's ``video_grid_thw``."""
VIDEO_TOKENS = GRID[0] * GRID[1] * GRID[2] // MERGE**2


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2VLProcessor:
    """Image and video processors that leave 112x112 as it is, with the tokenizer and its chat template."""
    from transformers import Qwen2VLImageProcessor, Qwen2VLProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    pixels: dict[str, Any] = {"min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(**pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**pixels),
        chat_template=tokenizer.chat_template,
    )


def patches(videos: NDArray) -> torch.Tensor:
    """What the video processor makes of `videos`, some hundred times sooner.

    Args:
        videos: (N, FRAMES, SIDE, SIDE, 3) uint8.

    Returns:
        (N * patches, 3 * TEMPORAL * PATCH**2) float32, in Qwen2-VL's order: merged patches lie together.
    """
    import torch
    from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    pixels = torch.from_numpy(videos).float().div_(255)
    pixels = (pixels - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)
    t, h, w = GRID
    parts = pixels.reshape(-1, t, TEMPORAL, h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
    return parts.permute(0, 1, 3, 6, 4, 7, 9, 2, 5, 8).reshape(-1, 3 * TEMPORAL * PATCH * PATCH)


END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
VISION_START, VISION_END, IMAGE, VIDEO = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
SPECIAL = (END_OF_TEXT, START, END, VISION_START, VISION_END, "<|vision_pad|>", IMAGE, VIDEO)
"""Qwen2-VL's special tokens, by its own names and in its order."""

TAGS = ("<think>", "</think>", "<observe>", "</observe>", "<answer>", "</answer>")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2-VL's template without its system prompt, which would only make the miniature's prompts longer."""


def build_tokenizer(texts: Iterable[str], words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn the tokenizer.

    Words, digits and the tags of the modes are never split or joined with their neighbours; everything else is
    byte-level BPE, so a template of the questions becomes a handful of tokens. Any other text still round-trips, byte
    by byte.

    Args:
        texts: sentences the model will read or write, as they are.
        words: category names and word answers, e.g. ``chair`` and ``left``; each stays whole.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    longest_first = sorted({*words, *TAGS}, key=lambda word: (-len(word), word))
    whole = "|".join(map(re.escape, longest_first))
    bpe = Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(rf"{whole}|[0-9]|\.|\n"), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pieces, bytes_])  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=4096, min_frequency=2, initial_alphabet=alphabet, max_token_length=200)
    )
    bpe.add_special_tokens(list(SPECIAL))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(SPECIAL[1:]),
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


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
    """A fresh float32 model, whose attention looks for what resembles the query from the start.

    Args:
        tokenizer: whose ids it speaks.
        seed: of its weights.
    """
    import torch
    from transformers import Qwen2VLForConditionalGeneration

    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(build_config(tokenizer))
    _start_queries_as_keys(model)
    generation: Any = model.generation_config
    generation.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    generation.pad_token_id = tokenizer.pad_token_id
    return model


def _start_queries_as_keys(model: Any) -> None:
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

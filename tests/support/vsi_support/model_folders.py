"""Hugging Face folders of each model family: config, tokenizer, processor and chat template, and weights on demand.

The architectures are the real ones, at a tiny size; nothing is downloaded.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
)
_TEMPLATE = (
    "{% for message in messages %}SYSTEM<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'video' or 'video' in content %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif content['type'] == 'image' or 'image' in content %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "qwen2_vl": _TEMPLATE.replace("SYSTEM", _SYSTEM),
    "qwen2_5_vl": _TEMPLATE.replace("SYSTEM", _SYSTEM),
    "qwen3_vl": _TEMPLATE.replace("SYSTEM", ""),
    "qwen3_5": _TEMPLATE.replace("SYSTEM", ""),
}
"""Chat templates of the Instruct models, as far as a user's turn with videos and images goes."""

FAMILIES = tuple(TEMPLATES)
_BOUNDS = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}


@cache
def _tokenizer() -> Any:
    import transformers as tf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
    )


def write_model_folder(family: str, folder: Path, *, weights: bool = False) -> Path:
    """Write a model's folder.

    Args:
        family: `model_type` of its config.
        folder: is made.
        weights: whether random weights lie in it too.
    """
    config = tiny_config(family)
    processor = _processor(family)
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    if weights:
        random_model(config).save_pretrained(folder)
    return folder


def _processor(family: str) -> Any:
    import transformers

    tf: Any = transformers  # its lazy module hides classes from type checkers
    tokenizer, template = _tokenizer(), TEMPLATES[family]
    tokenizer.chat_template = template
    if family in ("qwen2_vl", "qwen2_5_vl"):
        image, video = (cls(size=dict(_BOUNDS)) for cls in (tf.Qwen2VLImageProcessor, tf.Qwen2VLVideoProcessor))
        make = tf.Qwen2VLProcessor if family == "qwen2_vl" else tf.Qwen2_5_VLProcessor
    else:
        patches: dict[str, Any] = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
        image = tf.Qwen2VLImageProcessor(size=dict(_BOUNDS), **patches)
        # its bounds are of a whole video
        video = tf.Qwen3VLVideoProcessor(size={"shortest_edge": 2 * 32 * 32, "longest_edge": 2**34}, **patches)
        make = tf.Qwen3VLProcessor
    return make(image_processor=image, video_processor=video, tokenizer=tokenizer, chat_template=template)


_HIDDEN, _LAYERS, _HEAD = 64, 2, 32
_TEXT: dict[str, Any] = {
    "hidden_size": _HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
}
_ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
_INTERLEAVED = {**_ROPE, "mrope_interleaved": True}


def tiny_config(family: str) -> Any:
    """The config of a tiny model."""
    import transformers as tf

    tokenizer = _tokenizer()
    names = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    names |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
    text = {**_TEXT, "vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    text |= {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.eos_token_id}
    ids["tie_word_embeddings"] = False
    match family:
        case "qwen2_vl":
            vision = {"depth": 2, "embed_dim": 32, "hidden_size": _HIDDEN, "num_heads": 2, "mlp_ratio": 2}
            config: Any = tf.Qwen2VLConfig(text_config={**text, "rope_parameters": _ROPE}, vision_config=vision, **ids)
        case "qwen2_5_vl":
            vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": _HIDDEN, "num_heads": 2}
            vision |= {"intermediate_size": 48, "fullatt_block_indexes": [1], "window_size": 56}
            vision |= {"tokens_per_second": 2}
            config = tf.Qwen2_5_VLConfig(text_config={**text, "rope_parameters": _ROPE}, vision_config=vision, **ids)
        case "qwen3_vl":
            vision = {"depth": 3, "hidden_size": 32, "out_hidden_size": _HIDDEN, "num_heads": 2, "patch_size": 16}
            vision |= {"intermediate_size": 48, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
            text |= {"rope_parameters": _INTERLEAVED, "head_dim": _HEAD}
            config = tf.Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
        case "qwen3_5":
            vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": _HIDDEN, "num_heads": 2, "patch_size": 16}
            vision |= {"intermediate_size": 48, "num_position_embeddings": 64}
            # a quarter of a head is rotated, as in the published models: vLLM reads no other share
            rope = {**_INTERLEAVED, "partial_rotary_factor": 0.25, "mrope_section": [2, 1, 1]}
            text |= {"rope_parameters": rope, "head_dim": _HEAD}
            text |= {"layer_types": ["linear_attention", "full_attention"]}
            text |= {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
            text |= {"linear_key_head_dim": 16, "linear_value_head_dim": 16}
            config = tf.Qwen3_5Config(text_config=text, vision_config=vision, **ids)
        case _:
            raise ValueError(f"no tiny model of {family}")
    config.architectures = [_architecture(config)]
    return config


def _architecture(config: Any) -> str:
    names = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL", "qwen3_5": "Qwen3_5"}
    return f"{names[config.model_type]}ForConditionalGeneration"


def random_model(config: Any) -> Any:
    """A model of this config, its weights larger than at initialisation, so that other positions show in its output."""
    import torch
    import transformers as tf

    torch.manual_seed(0)
    model = getattr(tf, _architecture(config))(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(4 if "proj" in name or "qkv" in name else 2)
    return model

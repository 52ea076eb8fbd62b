"""Videos, rows and a tiny Qwen2-VL processor, written on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

WriteVideo = Callable[..., Path]

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a "
    "helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'video' or 'video' in content %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen2-VL-Instruct's chat template, videos only."""


@pytest.fixture(scope="session")
def write_video() -> WriteVideo:
    """Write a clip of noise that drifts, so that every frame differs: ``write_video(path, frames, ...) -> path``."""

    def write(
        path: Path,
        frames: int = 24,
        size: tuple[int, int] = (96, 64),
        fps: int = 8,
        codec: str = "mpeg4",
        faststart: bool = False,
        seed: int = 0,
        format: str | None = None,
    ) -> Path:
        noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8 + frames, 3), dtype=np.uint8)
        picture = noise.repeat(8, axis=0).repeat(8, axis=1)
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"movflags": "+faststart"} if faststart else {}
        with av.open(str(path), "w", options=options, format=format) as container:
            stream: Any = container.add_stream(codec, rate=fps)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for i in range(frames):
                image = np.ascontiguousarray(picture[:, i * 8 : i * 8 + size[0]])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def write_rows() -> Callable[[Path, list[dict[str, Any]]], Path]:
    """Write verl-shaped rows: ``write_rows(path, [{"question":, "answer":, "video":, ...}]) -> path``."""

    def write(path: Path, rows: list[dict[str, Any]]) -> Path:
        pq.write_table(pa.Table.from_pylist([_row(i, **r) for i, r in enumerate(rows)], schema=_SCHEMA), path)
        return path

    return write


def _row(
    index: int,
    question: str = "How many chair(s)in the room?",
    answer: str = "3",
    video: str = "a.mp4",
    task: str = "object_counting",
    kind: str = "number",
    options: list[str] | None = None,
) -> dict[str, Any]:
    extra = {"index": index, "scene_id": Path(video).stem, "dataset": "rooms", "task": task, "kind": kind}
    extra |= {"question": question, "options": options or [], "split": "train", "trace": "{}"}
    return {
        "data_source": f"vsi100k/{task}",
        "prompt": [{"role": "user", "content": f"<video>{question}"}],
        "videos": [video],
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": extra,
    }


_SCHEMA = pa.schema(
    {
        "data_source": pa.string(),
        "prompt": pa.list_(pa.struct({"role": pa.string(), "content": pa.string()})),
        "videos": pa.list_(pa.string()),
        "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
        "extra_info": pa.struct(
            {"index": pa.int64(), "options": pa.list_(pa.string())}
            | dict.fromkeys(("scene_id", "dataset", "task", "kind", "question", "split", "trace"), pa.string())
        ),
    }
)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with config, tokenizer and processor of a tiny Qwen2-VL (no weights)."""
    pytest.importorskip("verl")  # its plug-in makes torchvision load beside a CPU build of torch
    tf: Any = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special
    )
    tokenizer.chat_template = TEMPLATE
    bounds = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280}
    processor = tf.Qwen2VLProcessor(
        image_processor=tf.Qwen2VLImageProcessor(size=dict(bounds)),
        video_processor=tf.Qwen2VLVideoProcessor(size=dict(bounds)),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )
    ids = {s: tokenizer.convert_tokens_to_ids(s) for s in special}
    config = tf.Qwen2VLConfig(
        text_config={"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 1},
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 1},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    folder = tmp_path_factory.mktemp("model")
    config.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def processor(model_folder: Path) -> Any:
    """The tiny model's processor as verl loads it (with `get_rope_index` bound)."""
    from verl.utils import hf_processor

    loaded = hf_processor(str(model_folder))
    assert loaded is not None
    return loaded


@pytest.fixture
def video(tmp_path: Path, write_video: WriteVideo) -> Path:
    """A clip in a data root of its own: ``ROOT/scannet/a.mp4``."""
    return write_video(tmp_path / "scannet" / "a.mp4")

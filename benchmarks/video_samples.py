"""Synthetic clips, rows, a processor, and stock verl's path to frames: what benchmarks of videos work on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
from omegaconf import DictConfig, OmegaConf

from verl_vsi import run_mark

run_mark.mark("benchmarks")

import verl  # noqa: E402, F401  (loads the plug-in, which makes torchvision load beside a CPU build of torch)

PACKAGES = ("verl", "torch", "av", "qwen-vl-utils", "transformers")
"""Whose versions matter to these benchmarks."""
SIZE, RATE = (640, 480), 24
FRAMES = {"sampler": "qwen", "nframes": 16, "fps": None, "min_pixels": 12544, "max_pixels": 100352, "decoder": "pyav"}
"""The recipes' frames (recipes/recipe/_vsi.yaml)."""
QUESTION = "What is the distance between the shower and the kitchen counter of room {} (in meters)?"
PROMPT = "Please provide the short answer with one or two words or a number."

TEMPLATE = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% for c in m['content'] %}{% if c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)


def write_clips(folder: Path, distinct: int, frames: int, names: int, size: tuple[int, int] = SIZE) -> list[str]:
    """Write H.264 clips at 24 fps; files differ by their last bytes.

    Args:
        folder: they lie in it.
        distinct: so many contents.
        frames: of each clip.
        names: so many files.
        size: width and height.

    Returns:
        the files, below the folder's parent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = [_clip(folder / f".{i}.mp4", frames, i, size) for i in range(distinct)]
    for i in range(names):
        box = (16).to_bytes(4, "big") + b"free" + i.to_bytes(8, "big")  # an MP4 box that readers skip
        (folder / f"{i:04}.mp4").write_bytes(contents[i % distinct] + box)
    return [f"{folder.name}/{i:04}.mp4" for i in range(names)]


def _clip(path: Path, frames: int, seed: int, size: tuple[int, int]) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (30, 40 + frames, 3), dtype=np.uint8)
    wide = noise.repeat(16, axis=0).repeat(16, axis=1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for i in range(frames):
            image = np.ascontiguousarray(wide[: size[1], i * 4 : i * 4 + size[0]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


def make_rows(videos: Iterable[Any], text: str = "") -> list[dict[str, Any]]:
    """verl rows.

    Args:
        videos: of each row, as its dataset names it.
        text: appended to each question (stock verl has no mode prompt of its own).
    """
    return [
        {
            "data_source": "vsi100k/object_abs_distance",
            "prompt": [{"role": "user", "content": f"<video>{QUESTION.format(i)}{text}"}],
            "videos": [video],
            "reward_model": {"style": "rule", "ground_truth": "6.1"},
            "extra_info": {"index": i, "options": [PROMPT][:0]},  # an empty list of strings, for parquet
        }
        for i, video in enumerate(videos)
    ]


def make_config(root: Path, **data: Any) -> DictConfig:
    """A trainer's config with the recipes' frames.

    Args:
        root: the data root.
        data: more settings of verl's ``data``.
    """
    mode = {"name": "vanilla", "train_prompt": PROMPT}
    vsi = {"root": str(root), "mode": mode, "frames": FRAMES}
    node = {"vsi": "${vsi}", "max_prompt_length": 4096, "cache_dir": str(root / "cache"), **data}
    return OmegaConf.create({"vsi": vsi, "data": node})


def make_processor(pixels: int | None = None, words: int = 0) -> Any:
    """Qwen2-VL's processor over a byte tokenizer (more tokens a text than the real one, for both sides).

    Args:
        pixels: of each frame and image; any number of them where it is not given.
        words: size that the vocabulary is filled up to.
    """
    import transformers as tf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    raw = Tokenizer(
        models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = tf.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", additional_special_tokens=special
    )
    tokenizer.add_tokens([f"<word {i}>" for i in range(words - len(tokenizer))])
    bounds = {"shortest_edge": pixels or 56 * 56, "longest_edge": pixels or 28 * 28 * 16384}
    return tf.Qwen2VLProcessor(
        image_processor=tf.Qwen2VLImageProcessor(size=dict(bounds)),
        video_processor=Qwen2VLVideoProcessor(size=dict(bounds)),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )


def stock_element(root: Path, video: str) -> dict[str, Any]:
    """The video as a stock row names it, with the same frames and pixels.

    Args:
        root: the data root.
        video: below it.
    """
    return {"video": str(root / video), **{k: FRAMES[k] for k in ("nframes", "min_pixels", "max_pixels")}}


def read_by_pyav() -> None:
    """Give qwen_vl_utils a reader that is sure to load: PyAV, which decodes as much as ours does.

    qwen_vl_utils' own readers are torchcodec (needs the build that fits torch), decord (abandoned) and torchvision
    (which has dropped its reader). Everything after the reader is qwen_vl_utils' own code.
    """
    import torch
    from qwen_vl_utils import vision_process

    def read(ele: dict[str, Any]) -> tuple[Any, dict[str, Any], float]:
        with av.open(str(ele["video"])) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            total, rate = stream.frames, float(stream.average_rate or RATE)
            indices = torch.linspace(0, total - 1, vision_process.smart_nframes(ele, total, rate)).round().long()
            chosen = set(indices.tolist())
            images = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(stream)) if i in chosen]
        meta = {"fps": rate, "frames_indices": indices.tolist(), "total_num_frames": total, "video_backend": "pyav"}
        return torch.tensor(np.stack(images)).permute(0, 3, 1, 2), meta, rate

    vision_process.VIDEO_READER_BACKENDS["pyav"] = read  # pyright: ignore[reportArgumentType]
    vision_process.get_video_reader_backend = lambda: "pyav"  # pyright: ignore[reportAttributeAccessIssue]

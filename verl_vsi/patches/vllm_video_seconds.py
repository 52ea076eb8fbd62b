"""vLLM 0.27.1 does not tell Qwen2.5-VL's processor when a video's frames were taken, so it takes them for 24 a second.

The model's positions count seconds: sixteen frames of a minute of video became two thirds of a second. The metadata
come in with each video (verl sends them) and are dropped by the parser, because only Qwen3-VL asks for them; and the
seconds are rounded to the model's bfloat16 on the way back. Here they go through, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "vllm.model_executor.models.qwen2_5_vl"
_UNKNOWN = {"fps": 24.0}
"""As transformers takes a video without metadata."""


def install() -> None:
    """Hand metadata to the processor."""
    on_import(MODULE, _wrap)


def _wrap(qwen2_5_vl: Any) -> None:
    info, processor = qwen2_5_vl.Qwen2_5_VLProcessingInfo, qwen2_5_vl.Qwen2_5_VLMultiModalProcessor
    upstream_parser, upstream_call = info.get_data_parser, processor._call_hf_processor
    if "get_data_parser" in vars(info):  # as vLLM's Qwen3-VL has, to ask for metadata
        return

    @wraps(upstream_parser)
    def get_data_parser(self: Any) -> Any:
        parser = upstream_parser(self)
        read = parser._get_video_with_metadata

        def with_metadata(video: Any) -> tuple[Any, dict[str, Any]]:
            frames, metadata = read(video)
            return frames, metadata or _UNKNOWN

        parser.video_needs_metadata, parser._get_video_with_metadata = True, with_metadata
        return parser

    @wraps(upstream_call)
    def _call_hf_processor(
        self: Any, prompt: str, mm_data: Mapping[str, Any], mm_kwargs: Mapping[str, Any], tok_kwargs: Mapping[str, Any]
    ) -> Any:
        if not mm_data.get("videos"):
            return upstream_call(self, prompt, mm_data, mm_kwargs, tok_kwargs)
        frames, metadata = zip(*mm_data["videos"], strict=True)
        videos = {"videos": list(frames), "video_metadata": list(map(_video_metadata, frames, metadata))}
        options = {"do_sample_frames": False, **mm_kwargs}
        outputs = upstream_call(self, prompt, {**mm_data, **videos}, options, tok_kwargs)
        outputs["second_per_grid_ts"] = _seconds(self.info.get_hf_processor(), videos["video_metadata"])
        return outputs

    info.get_data_parser = get_data_parser
    processor._call_hf_processor = _call_hf_processor


def _video_metadata(frames: Any, metadata: Mapping[str, Any]) -> Any:
    from transformers.video_utils import VideoMetadata

    known = {key: value for key, value in metadata.items() if key in VideoMetadata.__dataclass_fields__}
    if known.get("fps") and known.get("duration"):
        # a request may not say fewer frames than it sends, and of a short video frames come several times
        known["total_num_frames"] = round(known["fps"] * known["duration"])
    return VideoMetadata(**{"total_num_frames": len(frames), **known})


def _seconds(processor: Any, metadata: Sequence[Any]) -> Any:
    """(videos,) float32: the processor's own formula."""
    import torch

    pair = processor.video_processor.temporal_patch_size
    return torch.tensor([pair / each.sampled_fps for each in metadata], dtype=torch.float32)

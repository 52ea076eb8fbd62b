"""Count what a run really does, in every process of it: for measurements, with shared passes and with verl's own alike.

Every process that imports verl loads this through verl's own `VERL_USE_EXTERNAL_MODULES=counts_plugin` (with this
folder on PYTHONPATH), and appends one JSON line an event to a file of its own in the folder that `VSI_COUNTS` names;
`rollout_counts.py` adds them up. Nothing else about the run changes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from verl_vsi.on_import import on_import

FOLDER = "VSI_COUNTS"
"""Environment variable."""

STORE = "verl_vsi.data_adapters.frames.store"
DATASET = "verl_vsi.data_adapters.datasets.rl"
PROCESSOR = "transformers.models.qwen2_vl.processing_qwen2_vl"
VIDEO_PROCESSOR = "transformers.models.qwen2_vl.video_processing_qwen2_vl"
QUEUE = "transfer_queue.utils.zmq_utils"
SERVER = "vllm.v1.metrics.loggers"


def register() -> None:
    """Wait for what is counted."""
    on_import(STORE, lambda module: _count_calls(module.FrameStore, "_decode", "decode", _video))
    on_import(DATASET, lambda module: _count_class_calls(module.VsiDataset, "_process_multi_modal_info", "video_load"))
    on_import(PROCESSOR, lambda module: _count_calls(module.Qwen2VLProcessor, "__call__", "processor_call"))
    on_import(VIDEO_PROCESSOR, lambda module: _count_calls(module.Qwen2VLVideoProcessor, "_preprocess", "pixels_made"))
    on_import(QUEUE, _count_bytes)
    on_import(SERVER, _count_caches)


def note(what: str, **details: Any) -> None:
    """Append one event of this process."""
    folder = Path(os.environ[FOLDER])
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"what": what, "who": process_name(), "pid": os.getpid(), "at": time.time(), **details})
    with (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def process_name() -> str:
    """What Ray calls this process, such as `vLLMHttpServer`; another program's name otherwise."""
    title = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    actor = title.removeprefix("ray::").split(".")[0].split("(")[0].strip()
    return actor if title.startswith("ray::") else Path(title).name


def _video(_: Any, video: Path, *rest: Any) -> dict[str, str]:
    return {"video": str(video)}


def _count_calls(owner: Any, name: str, what: str, about: Callable[..., dict[str, Any]] | None = None) -> None:
    upstream = getattr(owner, name)

    @wraps(upstream)
    def counted(*args: Any, **kwargs: Any) -> Any:
        note(what, **(about(*args) if about else {}))
        return upstream(*args, **kwargs)

    setattr(owner, name, counted)


def _count_class_calls(owner: Any, name: str, what: str) -> None:
    upstream: Callable[..., Any] = vars(owner)[name].__func__

    @wraps(upstream)
    def counted(cls: Any, *args: Any, **kwargs: Any) -> Any:
        note(what)
        return upstream(cls, *args, **kwargs)

    setattr(owner, name, classmethod(counted))


def _count_bytes(zmq_utils: Any) -> None:
    """What this process puts into TransferQueue and gets out of it, as messages on the wire."""
    message = zmq_utils.ZMQMessage
    send, receive = message.serialize, message.deserialize.__func__

    def size(frames: Any) -> int:
        return sum(zmq_utils.frame_nbytes(frame) or 0 for frame in frames)

    def serialize(self: Any) -> Any:
        frames = send(self)
        note("queue", kind=self.request_type.value, bytes=size(frames), sent=1)
        return frames

    def deserialize(cls: Any, frames: Any) -> Any:
        received = receive(cls, frames)
        note("queue", kind=received.request_type.value, bytes=size(frames), sent=0)
        return received

    message.serialize = serialize
    message.deserialize = classmethod(deserialize)


def _count_caches(loggers: Any) -> None:
    """vLLM's own counters of its prefix cache (tokens) and its multimodal cache (videos)."""
    upstream = loggers.StatLoggerManager.record

    @wraps(upstream)
    def record(self: Any, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, **rest: Any) -> None:
        prefixes = getattr(scheduler_stats, "prefix_cache_stats", None)
        for what, stats in (("prefix_cache", prefixes), ("video_cache", mm_cache_stats)):
            if stats is not None and stats.requests:
                note(what, requests=stats.requests, queries=stats.queries, hits=stats.hits)
        upstream(self, scheduler_stats, iteration_stats, mm_cache_stats=mm_cache_stats, **rest)

    loggers.StatLoggerManager.record = record


register()

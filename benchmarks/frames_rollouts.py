"""Frames for one prompt with 14 rollouts: stock verl decodes 14 times, ours maps one array.

    python benchmarks/frames_rollouts.py [--rollouts 14] [--frames 240]

Both call `process_multi_modal_info` of their dataset class, as verl's agent loop does. ``cold`` includes our only
decode; ``warm`` is any later prompt about the same video (VSI-100k asks 97 questions a video, for each epoch).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import video_samples as samples
from benchmark_results import report


def seconds(dataset_class: Any, messages: list[dict[str, Any]], config: Any, rollouts: int) -> float:
    """One prompt: all its rollouts at once, as coroutines of one agent loop worker.

    Args:
        dataset_class: verl's or ours.
        messages: of the prompt.
        config: the trainer's ``data``.
        rollouts: how many.
    """

    async def prompt() -> None:
        ask = dataset_class.process_multi_modal_info
        await asyncio.gather(*(ask(messages, image_patch_size=14, config=config) for _ in range(rollouts)))

    start = time.perf_counter()
    asyncio.run(prompt())
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=14)
    parser.add_argument("--frames", type=int, default=240)
    args = parser.parse_args()

    from verl.utils.dataset.rl_dataset import RLHFDataset

    from verl_vsi.data_adapters.datasets.rl import VsiDataset

    samples.read_by_pyav()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (video,) = samples.write_clips(root / "clips", distinct=1, frames=args.frames, names=1)
        config = samples.make_config(root).data
        stock_messages = [{"role": "user", "content": [{"type": "video", **samples.stock_element(root, video)}]}]
        our_messages = [{"role": "user", "content": [{"type": "video", "video": video}]}]
        seconds(RLHFDataset, stock_messages, config, 1)  # imports
        stock = min(seconds(RLHFDataset, stock_messages, config, args.rollouts) for _ in range(2))
        cold = seconds(VsiDataset, our_messages, config, args.rollouts)
        warm = min(seconds(VsiDataset, our_messages, config, args.rollouts) for _ in range(5))
    report(
        "frames_rollouts",
        {
            "what": "frames for one prompt, seconds",
            "rollouts": args.rollouts,
            "clip": f"{args.frames} frames of 640x480, H.264; 16 are taken, at most 128*28*28 pixels",
            "stock_seconds": round(stock, 3),
            "ours_cold_seconds": round(cold, 3),
            "ours_warm_seconds": round(warm, 5),
            "ratio_cold": round(stock / cold, 1),
            "ratio_warm": round(stock / warm),
        },
        samples.PACKAGES,
    )


if __name__ == "__main__":
    main()

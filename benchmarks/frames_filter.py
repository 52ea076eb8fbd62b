"""The prompt-length filter on VSI-100k's number of rows: ours in full, stock verl's on a sample, extrapolated.

    python benchmarks/frames_filter.py [--rows 117000] [--videos 1200] [--sample 24]

Both run `maybe_filter_out_long_prompts` of their dataset class, in one process. Ours starts from videos that were never
opened: it probes each container once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import video_samples as samples
from benchmark_results import report


def timed(dataset_class: Any, file: Path, config: Any, processor: Any) -> tuple[float, int]:
    """Run the filter.

    Args:
        dataset_class: verl's or ours.
        file: of rows.
        config: the trainer's ``data``.
        processor: Qwen2-VL's.

    Returns:
        seconds in the filter, and the number of rows that it kept.
    """
    upstream, seconds = dataset_class.maybe_filter_out_long_prompts, []

    def timed_filter(self: Any, dataframe: Any = None) -> Any:
        start = time.perf_counter()
        rows = upstream(self, dataframe)
        seconds.append(time.perf_counter() - start)
        return rows

    dataset_class.maybe_filter_out_long_prompts = timed_filter
    try:
        data = dataset_class([str(file)], processor.tokenizer, config, processor)
    finally:
        dataset_class.maybe_filter_out_long_prompts = upstream
    return seconds[0], len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=117_000)
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--frames", type=int, default=240, help="frames of a clip (10 s; ScanNet's are longer)")
    args = parser.parse_args()

    from verl.utils.dataset.rl_dataset import RLHFDataset

    from verl_vsi.data_adapters.datasets.rl import VsiDataset

    samples.read_by_pyav()
    processor = samples.make_processor()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        videos = samples.write_clips(root / "clips", distinct=8, frames=args.frames, names=args.videos)
        # null: in this process; stock's worker would add its start to a small sample
        config = samples.make_config(root, filter_overlong_prompts_workers=None).data
        rows = samples.make_rows(videos[i % len(videos)] for i in range(args.rows))
        pq.write_table(pa.Table.from_pylist(rows), root / "ours.parquet")
        sample = [samples.stock_element(root, videos[i]) for i in range(args.sample)]
        pq.write_table(pa.Table.from_pylist(samples.make_rows(sample, f"\n{samples.PROMPT}")), root / "stock.parquet")

        stock, stock_rows = timed(RLHFDataset, root / "stock.parquet", config, processor)
        ours, our_rows = timed(VsiDataset, root / "ours.parquet", config, processor)
    if (stock_rows, our_rows) != (args.sample, args.rows):  # stock verl prints an error and drops the row
        raise SystemExit(f"rows were dropped: stock kept {stock_rows} of {args.sample}, ours {our_rows}")
    extrapolated = stock / args.sample * args.rows
    report(
        "frames_filter",
        {
            "what": "prompt-length filter, seconds",
            "rows": args.rows,
            "videos": args.videos,
            "clip": f"{args.frames} frames of 640x480, H.264",
            "stock_sample": args.sample,
            "stock_sample_seconds": round(stock, 2),
            "stock_extrapolated_seconds": round(extrapolated),
            "ours_seconds": round(ours, 1),
            "ratio": round(extrapolated / ours),
        },
        samples.PACKAGES,
    )


if __name__ == "__main__":
    main()

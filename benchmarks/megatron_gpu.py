"""Qwen2-VL on Megatron against transformers on one GPU: bf16, published shapes, random weights, no download.

    python benchmarks/megatron_gpu.py --size 2b                  # one GPU, TransformerEngine, megatron-core
    python benchmarks/megatron_gpu.py --size 7b --bridge         # weights through Megatron-Bridge as well

Says, for padded and for packed rows with videos of unequal length: how far Megatron's log-probabilities are from
transformers', beside how far transformers in bf16 is from transformers in float32 (nothing can be nearer than that);
the time of a forward and backward pass; the peak memory. With `--bridge`, that the exported weights are the imported
ones bit by bit. The result is written as JSON, with the device's name.

NOT YET RUN: it was written where no GPU could be had. A short run of verl itself is the other half:

    VSI_ROOT=... python -m verl.trainer.main_ppo +recipe=vsgrpo_2b backend=megatron hardware=one_gpu \\
        trainer.total_training_steps=2
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from benchmark_results import RESULTS, versions, write_result
from megatron_setup import SIZES, bridged, from_core, keep_frequencies, start_megatron
from rich.console import Console
from rich.progress import track
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.padded_batches import PaddedBatch, padded_batch
from vsi_support.random_qwen2_vl import VIDEO, random_model

# 16 frames of 640x480 within 128*28*28 pixels: 8 frame pairs of 18 x 26 patches; then shorter ones and another format
VIDEOS = [(8, 18, 26), (4, 18, 26), (8, 26, 14), (2, 20, 20)]
NEAR = 3.0
"""Megatron in bf16 may be this much farther from float32 than transformers in bf16 is."""

console = Console()


def main(
    size: Annotated[str, typer.Option(help="2b or 7b")] = "2b",
    bridge: Annotated[bool, typer.Option(help="import and export the weights through Megatron-Bridge")] = False,
    steps: Annotated[int, typer.Option(help="timed forward and backward passes")] = 5,
    out: Annotated[Path, typer.Option(help="where the result goes")] = RESULTS / "megatron_gpu.json",
) -> None:
    """Compare Qwen2-VL on Megatron with transformers on one GPU."""
    if not torch.cuda.is_available():
        console.print("No GPU: this script compares Megatron's GPU path. On a CPU: pytest tests/verl_vsi/megatron")
        raise typer.Exit(1)
    shape = SIZES[size]
    start_megatron()
    batch = padded_batch([[20, (VIDEO, grid), 60 + 40 * number] for number, grid in enumerate(VIDEOS)])
    hf: Any = random_model(shape, sharp=False)
    with tempfile.TemporaryDirectory() as folder:
        hf.save_pretrained(folder)
        exact = log_probabilities(hf.cuda(), batch)
        hf.bfloat16()
        keep_frequencies(hf)
        floor = distance(log_probabilities(hf, batch), exact, batch)
        del hf
        torch.cuda.empty_cache()
        model, round_trip = bridged(folder) if bridge else (from_core(folder), None)
    results = {
        name: compare(model, batch, exact, packed, steps) for name, packed in (("padded", False), ("packed", True))
    }
    report = {
        "device": torch.cuda.get_device_name(),
        "versions": versions(("torch", "transformers", "megatron-core", "transformer-engine")),
        "shape": asdict(shape),
        "rows": [int(row.sum()) for row in batch.mask],
        "transformers bf16 from float32": floor,
        "megatron bf16 from float32": results,
        "bridge round trip is bit-exact": round_trip,
        "passed": all(result["mean"] < NEAR * floor["mean"] for result in results.values()) and round_trip is not False,
    }
    write_result(out, report)
    console.print_json(data=report)
    raise typer.Exit(0 if report["passed"] else 1)


def log_probabilities(hf: Any, batch: PaddedBatch) -> Tensor:
    """transformers' log-probability of each next token, (B, S - 1), a row at a time.

    Args:
        hf: the model.
        batch: of B rows, S tokens.
    """
    rows = []
    with torch.no_grad():
        logits = hf(
            input_ids=batch.input_ids.cuda(),
            attention_mask=batch.mask.long().cuda(),
            mm_token_type_ids=batch.types.cuda(),
            **{name: value.cuda() for name, value in batch.vision.items()},
        ).logits
        for row, ids in zip(logits, batch.input_ids.cuda(), strict=True):
            rows.append(next_token(row, ids))
    return torch.stack(rows)


def next_token(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each next token, (S - 1,).

    Args:
        logits: (S, vocabulary).
        ids: (S,).
    """
    return logits[:-1].float().log_softmax(-1).gather(-1, ids[1:, None]).squeeze(-1).cpu()


def distance(ours: Tensor, exact: Tensor, batch: PaddedBatch) -> dict[str, float]:
    """Mean and largest difference of log-probabilities, over next tokens that are no padding.

    Args:
        ours: (B, S - 1).
        exact: (B, S - 1).
        batch: of B rows, S tokens.
    """
    apart = (ours - exact).abs()[batch.mask[:, 1:]]
    return {"mean": float(apart.mean()), "largest": float(apart.max())}


def compare(model: Any, batch: PaddedBatch, exact: Tensor, packed: bool, steps: int) -> dict[str, float]:
    """Distance, time and memory of Megatron's model.

    Args:
        model: Megatron's.
        batch: rows of unequal length.
        exact: (B, S - 1), transformers' log-probabilities in float32.
        packed: rows packed, not padded.
        steps: timed forward and backward passes.
    """
    params = packed_params(batch) if packed else None
    inputs = {name: value.cuda() for name, value in batch.vision.items()}

    def logits() -> Tensor:
        return model(batch.input_ids.cuda(), attention_mask=batch.mask.cuda(), packed_seq_params=params, **inputs)

    with torch.no_grad():
        ours = torch.zeros_like(exact)
        for number, (row, ids) in enumerate(zip(rows_of(logits(), batch, packed), batch.input_ids, strict=True)):
            ids = ids[batch.mask[number]].cuda()
            ours[number, : len(ids) - 1] = next_token(row, ids)
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in track(range(steps + 1), "packed" if packed else "padded", console=console):
        torch.cuda.synchronize()
        start = time.perf_counter()
        logits().float().mean().backward()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
    return distance(ours, exact, batch) | {
        "seconds, forward and backward": sorted(seconds[1:])[steps // 2],
        "peak memory, GiB": torch.cuda.max_memory_allocated() / 2**30,
    }


def packed_params(batch: PaddedBatch) -> Any:
    """Cumulative lengths, as verl makes them for one rank."""
    from megatron.core.packed_seq_params import PackedSeqParams

    lengths = batch.mask.sum(1)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]).to("cuda", torch.int32)
    longest = int(lengths.max())
    return PackedSeqParams(
        qkv_format="thd",
        cu_seqlens_q=starts,
        cu_seqlens_kv=starts,
        cu_seqlens_q_padded=starts,
        cu_seqlens_kv_padded=starts,
        max_seqlen_q=longest,
        max_seqlen_kv=longest,
    )


def rows_of(logits: Tensor, batch: PaddedBatch, packed: bool) -> list[Tensor]:
    """Each row's logits without padding, (S of the row, vocabulary).

    Args:
        logits: (B, S, vocabulary), or (1, tokens of all rows, vocabulary) where packed.
        batch: of B rows, S tokens.
        packed: rows packed, not padded.
    """
    if packed:
        return list(logits[0].split(batch.mask.sum(1).tolist()))
    return [row[keep.cuda()] for row, keep in zip(logits, batch.mask, strict=True)]


if __name__ == "__main__":
    typer.run(main)

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

import json
import sys
import tempfile
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.distributed as dist
import typer
from rich.console import Console
from rich.progress import track
from torch import Tensor

from verl_vsi.data_adapters.files import write_text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.padded_batches import PaddedBatch, padded_batch
from vsi_support.random_qwen2_vl import VIDEO, Sizes, random_model

# config.json of Qwen/Qwen2-VL-2B-Instruct and -7B-Instruct; the tower is the same (arXiv:2409.12191, table 1)
TOWER = {"vision_layers": 32, "vision_width": 1280, "vision_heads": 16, "vision_ratio": 4}
SIZES = {
    "2b": Sizes(1536, 8960, 28, 12, 2, tied=True, vocabulary=151936, **TOWER),
    "7b": Sizes(3584, 18944, 28, 28, 4, tied=False, vocabulary=152064, **TOWER),
}
# 16 frames of 640x480 within 128*28*28 pixels: 8 frame pairs of 18 x 26 patches; then shorter ones and another format
VIDEOS = [(8, 18, 26), (4, 18, 26), (8, 26, 14), (2, 20, 20)]
NEAR = 3.0
"""Megatron in bf16 may be this much farther from float32 than transformers in bf16 is."""

console = Console()


def main(
    size: Annotated[str, typer.Option(help="2b or 7b")] = "2b",
    bridge: Annotated[bool, typer.Option(help="import and export the weights through Megatron-Bridge")] = False,
    steps: Annotated[int, typer.Option(help="timed forward and backward passes")] = 5,
    out: Annotated[Path, typer.Option(help="where the result goes")] = Path("benchmarks/results/megatron_gpu.json"),
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
        "versions": {name: version(name) for name in ("torch", "transformers", "megatron-core", "transformer-engine")},
        "shape": asdict(shape),
        "rows": [int(row.sum()) for row in batch.mask],
        "transformers bf16 from float32": floor,
        "megatron bf16 from float32": results,
        "bridge round trip is bit-exact": round_trip,
        "passed": all(result["mean"] < NEAR * floor["mean"] for result in results.values()) and round_trip is not False,
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    console.print_json(data=report)
    raise typer.Exit(0 if report["passed"] else 1)


def start_megatron() -> None:
    """One process, one GPU."""
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    model_parallel_cuda_manual_seed(0)


def keep_frequencies(hf: Any) -> None:
    """Rotary frequencies in float32 again, as from_pretrained(dtype=bfloat16) leaves them."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import VisionRotaryEmbedding

    tower = hf.model.visual
    tower.rotary_pos_emb = VisionRotaryEmbedding(tower.rotary_pos_emb.dim).cuda()
    text = hf.model.language_model
    text.rotary_emb = type(text.rotary_emb)(text.config).cuda()


def from_core(folder: str) -> Any:
    """Megatron's model with TransformerEngine's layers, without Megatron-Bridge."""
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
    from safetensors.torch import load_file
    from transformers import AutoConfig
    from vsi_support.megatron_core_model import core_model, load

    config = AutoConfig.from_pretrained(folder)
    model = core_model(config, get_gpt_layer_with_transformer_engine_spec(), bf16=True, params_dtype=torch.bfloat16)
    weights = {key: value for file in Path(folder).glob("*.safetensors") for key, value in load_file(file).items()}
    load(model, weights, config)
    return model.cuda().bfloat16()


def bridged(folder: str) -> tuple[Any, bool]:
    """Megatron's model as verl makes it, and whether its weights come out as they went in."""
    from safetensors.torch import load_file

    from verl_vsi.megatron import register

    register()
    from megatron.bridge import AutoBridge
    from megatron.core.transformer.enums import AttnBackend

    bridge = AutoBridge.from_hf_pretrained(folder)
    provider = bridge.to_megatron_provider(load_weights=False)
    overrides = {"variable_seq_lengths": True, "attention_backend": AttnBackend.flash}
    provider.apply_overrides_and_finalize(dtype=torch.bfloat16, overrides=overrides)
    (model,) = provider.provide_distributed_model(wrap_with_ddp=False, ddp_config=None, fp16=False, bf16=True)
    bridge.load_hf_weights([model], folder)
    exported = dict(bridge.export_hf_weights([model], cpu=True))
    weights = {key: value for file in Path(folder).glob("*.safetensors") for key, value in load_file(file).items()}
    same = all(torch.equal(exported[name], value.bfloat16()) for name, value in weights.items())
    return model, same and exported.keys() == weights.keys()


def log_probabilities(hf: Any, batch: PaddedBatch) -> Tensor:
    """transformers' log-probability of each next token, (B, S - 1), a row at a time."""
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
    """(S, vocabulary), (S,) -> (S - 1,)."""
    return logits[:-1].float().log_softmax(-1).gather(-1, ids[1:, None]).squeeze(-1).cpu()


def distance(ours: Tensor, exact: Tensor, batch: PaddedBatch) -> dict[str, float]:
    """Mean and largest difference of log-probabilities, over next tokens that are no padding."""
    apart = (ours - exact).abs()[batch.mask[:, 1:]]
    return {"mean": float(apart.mean()), "largest": float(apart.max())}


def compare(model: Any, batch: PaddedBatch, exact: Tensor, packed: bool, steps: int) -> dict[str, float]:
    """Distance, time and memory of Megatron's model on padded or packed rows."""
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
        began = time.perf_counter()
        logits().float().mean().backward()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
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
    """Each row's logits without padding."""
    if packed:
        return list(logits[0].split(batch.mask.sum(1).tolist()))
    return [row[keep.cuda()] for row, keep in zip(logits, batch.mask, strict=True)]


if __name__ == "__main__":
    typer.run(main)

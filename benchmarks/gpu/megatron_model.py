"""Qwen2-VL on Megatron against transformers: log-probabilities, time and memory, for padded and for packed rows.

Videos have unequal lengths. Nothing can be nearer to transformers' float32 than transformers in the card's own type is,
so that distance stands beside Megatron's. A GPU takes TransformerEngine's layers where it is installed and
megatron-core's own where not, which know no packed rows; `bridge` also sends the weights through Megatron-Bridge.

A short run of verl itself is the other half:

    VSI_ROOT=... python -m verl.trainer.main_ppo +recipe=vsgrpo_2b backend=megatron hardware=one_gpu \\
        trainer.total_training_steps=2
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gpu.setting import Case, Setting, clock, peak
from torch import Tensor
from vsi_support.padded_batches import PaddedBatch, padded_batch
from vsi_support.random_qwen2_vl import VIDEO

TITLE = "Qwen2-VL on Megatron: distance of log-probabilities from transformers in float32 (mean), seconds, gigabytes"

# 16 frames of 640x480 within 128*28*28 pixels: 8 frame pairs of 18 x 26 patches; then shorter ones and another format
VIDEOS = [(8, 18, 26), (4, 18, 26), (8, 26, 14), (2, 20, 20)]
TINY_VIDEOS = [(2, 4, 6), (1, 4, 4)]


def cases(setting: Setting) -> list[Case]:
    """Padded rows; packed rows and Megatron-Bridge where they can be."""
    packed = [False, True] if setting.device == "cuda" and find_spec("transformer_engine") else [False]
    ways = ["core", "bridge"] if setting.device == "cuda" and find_spec("megatron.bridge") else ["core"]
    return [{"size": size, "weights": way, "packed": p} for size in setting.sizes for way in ways for p in packed]


def measure(setting: Setting, case: Case) -> Case:
    """Distances, time and memory of Megatron's model.

    Args:
        setting: device and sizes.
        case: of `cases`.

    Raises:
        ModuleNotFoundError: there is no megatron-core.
    """
    size, device = case["size"], setting.device
    videos = TINY_VIDEOS if setting.tiny else VIDEOS
    batch = padded_batch([[20, (VIDEO, grid), 60 + 40 * number] for number, grid in enumerate(videos)])
    exact, stock = setting.only(("transformers", size), lambda: _transformers(setting, size, batch))
    with _megatron(device):
        model, round_trip = (
            _bridged(setting.model(size)) if case["weights"] == "bridge" else (_core(setting, size), None)
        )
        params = _packed_params(batch) if case["packed"] else None
        inputs = {name: value.to(device) for name, value in batch.vision.items()}
        ids, mask = batch.input_ids.to(device), batch.mask.to(device)

        def logits() -> Tensor:
            return model(ids, attention_mask=mask, packed_seq_params=params, **inputs)

        def train() -> None:
            logits().float().mean().backward()
            model.zero_grad(set_to_none=True)

        with torch.no_grad():
            ours = torch.zeros_like(exact)
            for number, row in enumerate(_rows(logits(), batch, case["packed"])):
                own = batch.input_ids[number][batch.mask[number]]
                ours[number, : len(own) - 1] = _next_token(row, own)
        train()
        return {
            "transformers": _distance(stock, exact, batch),
            "megatron": _distance(ours, exact, batch),
            "seconds": min(clock(train, device) for _ in range(3)),
            "peak_bytes": peak(train, device),
            "round trip is exact": round_trip,
        }


@contextmanager
def _megatron(device: str) -> Iterator[None]:
    """Megatron's process groups in this process alone."""
    from megatron.core import parallel_state
    from vsi_support.megatron_core_model import without_gpu

    with without_gpu() if device == "cpu" else nullcontext():
        parallel_state.initialize_model_parallel()
        if device == "cuda":
            from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

            model_parallel_cuda_manual_seed(0)
        try:
            yield
        finally:
            parallel_state.destroy_model_parallel()


def _transformers(setting: Setting, size: str, batch: PaddedBatch) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, S - 1) in float32, and in the card's type."""
    from transformers import AutoModelForImageTextToText

    both = []
    for dtype in (torch.float32, torch.bfloat16):
        model: Any = AutoModelForImageTextToText.from_pretrained(setting.model(size), dtype=dtype)
        model = model.to(setting.device)
        with torch.no_grad():
            logits = model(
                input_ids=batch.input_ids.to(setting.device),
                attention_mask=batch.mask.long().to(setting.device),
                mm_token_type_ids=batch.types.to(setting.device),
                **{name: value.to(setting.device) for name, value in batch.vision.items()},
            ).logits
        both.append(torch.stack([_next_token(row, ids) for row, ids in zip(logits, batch.input_ids, strict=True)]))
        del model, logits
    return both[0], both[1]


def _next_token(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each next token (S - 1,), of logits (S, vocabulary) and ids (S,)."""
    return logits[:-1].float().log_softmax(-1).gather(-1, ids[1:, None].to(logits.device)).squeeze(-1).cpu()


def _distance(ours: Tensor, exact: Tensor, batch: PaddedBatch) -> float:
    """Mean difference of log-probabilities (B, S - 1), over next tokens that are no padding."""
    return float((ours - exact).abs()[batch.mask[:, 1:]].mean())


def _core(setting: Setting, size: str) -> Any:
    """Megatron's model without Megatron-Bridge."""
    from megatron.core.models.gpt import gpt_layer_specs as specs
    from transformers import AutoConfig
    from vsi_support.megatron_core_model import core_model, load

    config = AutoConfig.from_pretrained(setting.model(size))
    cuda = setting.device == "cuda"
    if cuda and find_spec("transformer_engine"):
        spec = specs.get_gpt_layer_with_transformer_engine_spec()
    else:
        spec = specs.get_gpt_layer_local_spec(normalization="RMSNorm")
    settings = {"bf16": True, "params_dtype": torch.bfloat16} if cuda else {"use_cpu_initialization": True}
    model = core_model(config, spec, masked_softmax_fusion=False, **settings)
    load(model, _weights(setting.model(size)), config)
    return model.to(setting.device, setting.torch_dtype)


def _weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def _bridged(folder: Path) -> tuple[Any, bool]:
    """Megatron's model as verl makes it, and whether its weights come out as they went in."""
    from verl_vsi.megatron import register

    register()
    from megatron.bridge import AutoBridge
    from megatron.core.transformer.enums import AttnBackend

    bridge = AutoBridge.from_hf_pretrained(str(folder))
    provider = bridge.to_megatron_provider(load_weights=False)
    overrides = {"variable_seq_lengths": True, "attention_backend": AttnBackend.flash}
    provider.apply_overrides_and_finalize(dtype=torch.bfloat16, overrides=overrides)
    (model,) = provider.provide_distributed_model(wrap_with_ddp=False, ddp_config=None, fp16=False, bf16=True)
    bridge.load_hf_weights([model], str(folder))
    exported, weights = dict(bridge.export_hf_weights([model], cpu=True)), _weights(folder)
    same = all(torch.equal(exported[name], value.bfloat16()) for name, value in weights.items())
    return model, same and exported.keys() == weights.keys()


def _packed_params(batch: PaddedBatch) -> Any:
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


def _rows(logits: Tensor, batch: PaddedBatch, packed: bool) -> list[Tensor]:
    """Each row's logits without padding, (S of the row, vocabulary).

    Args:
        logits: (B, S, vocabulary), or (1, tokens of all rows, vocabulary) where packed.
        batch: of B rows, S tokens.
        packed: rows packed, not padded.
    """
    if packed:
        return list(logits[0].split(batch.mask.sum(1).tolist()))
    return [row[keep.to(row.device)] for row, keep in zip(logits, batch.mask, strict=True)]


def summary(rows: list[Case]) -> list[Case]:
    """As measured, in gigabytes."""
    keys = ("transformers", "megatron", "seconds", "round trip is exact")
    return [{key: row[key] for key in keys} | {"GB": row["peak_bytes"] / 1e9} for row in rows]

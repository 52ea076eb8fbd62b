"""Log-probabilities and gradients of shared passes against verl's, beside verl's own bfloat16 against its float32."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from gpu.setting import FAMILY, Case, Setting
from gpu.updates import TEXT, stock_losses
from stored_videos import stored_batch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from vsi_support.engine_batches import SampleQuestion, ppo_loss
from vsi_support.engines import answers

TITLE = "distances from verl in float32 (log-probabilities: mean; gradients of adapters: 1 - cosine), kernel launches"

N = 4
"""Rollouts: verl in float32 keeps the logits of all their positions."""


def cases(setting: Setting) -> list[Case]:
    """Answers from a number to long reasoning."""
    lengths = (3,) if setting.tiny else (10, 100, 300, 1000)
    return [{"size": size, "answer": length} for size in setting.sizes for length in lengths]


@dataclass(frozen=True)
class _Outcome:
    log_probs: Tensor
    """(answer tokens,)"""
    gradient: Tensor
    """Of all adapters, flat."""
    launches: int
    waits: int
    """Times that the host waits for the device."""


def measure(setting: Setting, case: Case) -> Case:
    """Distances of verl's bfloat16 and of ours.

    Args:
        setting: device and sizes.
        case: of `cases`.
    """
    engines = setting.only(("equality", case["size"]), lambda: _engines(setting, case["size"]))
    grid = (2, 4, 4) if setting.tiny else (8, 16, 32)
    question = SampleQuestion([case["answer"]] * N, text=TEXT, grids=(grid,))
    outcomes: dict[str, _Outcome] = {}
    for name, engine in engines.items():
        batch = stored_batch([question], setting.folder, FAMILY, named=name == "shared")
        with nullcontext() if name == "shared" else stock_losses():
            outcomes[name] = _run(engine, batch)
    exact, stock, shared = (outcomes[name] for name in ("exact", "stock", "shared"))
    return {
        "verl": _apart(stock, exact),
        "shared": _apart(shared, exact),
        "between": _apart(shared, stock),
        "verl, gradient": _angle(stock, exact),
        "shared, gradient": _angle(shared, exact),
        "between, gradient": _angle(shared, stock),
        "verl, launches": stock.launches,
        "shared, launches": shared.launches,
        "verl, waits": stock.waits,
        "shared, waits": shared.waits,
    }


def _engines(setting: Setting, size: str) -> dict[str, Any]:
    """verl in float32, verl, ours: with the same adapters, none of them zero."""
    adapters = {"lora_rank": 4 if setting.tiny else 64, "lora_alpha": 128, "exclude_modules": ".*visual.*"}
    engines = {
        "exact": setting.engine("stock", size, dtype="fp32", **adapters),
        "stock": setting.engine("stock", size, **adapters),
        "shared": setting.engine("shared", size, **adapters),
    }
    for engine in engines.values():
        random = torch.Generator().manual_seed(0)
        for parameter in engine.module.parameters():
            if parameter.requires_grad:
                drawn = 0.02 * torch.randn(parameter.shape, generator=random)
                parameter.data.to_local().copy_(drawn.to(setting.torch_dtype))
    return engines


def _run(engine: Any, batch: Any) -> _Outcome:
    engine.module.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as profiler:
        loss, output = engine.forward_step(batch, ppo_loss(), False)
        loss.backward()
    calls = {event.key: event.count for event in profiler.key_averages()}
    gradients = [p.grad.to_local().float().flatten() for p in engine.module.parameters() if p.requires_grad]
    return _Outcome(
        answers(output["model_output"]["log_probs"], batch).float(),
        torch.cat(gradients),
        sum(count for name, count in calls.items() if name.startswith(("cudaLaunchKernel", "cuLaunchKernel"))),
        sum(count for name, count in calls.items() if "Synchronize" in name),
    )


def _apart(one: _Outcome, other: _Outcome) -> float:
    return float((one.log_probs - other.log_probs).abs().mean())


def _angle(one: _Outcome, other: _Outcome) -> float:
    return float(1 - torch.cosine_similarity(one.gradient.double(), other.gradient.double(), dim=0))


def summary(rows: list[Case]) -> list[Case]:
    """As measured."""
    return [{key: value for key, value in row.items() if key not in ("size", "answer")} for row in rows]

"""Whole updates: one question with short and long videos, and a batch of 64 questions, verl's engine and ours.

Nothing is shortened: all weights are trained, the vision tower's among them, with recomputed layers, up to 16,384
tokens a micro-batch as in the recipes, and the optimizer's step at the end. `frozen` trains all but the tower, whose
features are then remembered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from gpu.setting import FAMILY, Case, Setting, clock, peak
from passes_costs import KINDS, floor, tokens
from stored_videos import stored_batch
from torch import Tensor
from vsi_support.engine_batches import SampleQuestion, ppo_loss

from verl_vsi.sharing.vision import FeatureCache

TITLE = "a whole update: seconds and gigabytes (peak above the start), times less than verl"

TEXT = 200
"""Tokens of a question."""
TOKEN_LIMIT = 16384
"""The recipes' `ppo_max_token_len_per_gpu`."""


def cases(setting: Setting) -> list[Case]:
    """One question with every number of frames; then a batch; engine by engine, as each needs the whole card."""
    frames, ns, lengths, questions = ((4,), (2,), (3,), 2) if setting.tiny else ((16, 64, 128), (8, 14), (10, 300), 64)
    every: list[Case] = []
    for size in setting.sizes:
        for kind in KINDS:
            case = {"size": size, "kind": kind}
            one = [{"frames": f, "n": n, "answer": a, "questions": 1} for f in frames for n in ns for a in lengths]
            batch = {"frames": frames[0], "n": ns[-1], "answer": lengths[-1], "questions": questions}
            caches = ["cold", "warm"] if kind == "frozen" else ["none"]
            every += [case | more | {"cache": caches[-1]} for more in one]
            every += [case | batch | {"cache": cache} for cache in caches]
    return every


def measure(setting: Setting, case: Case) -> Case:
    """Seconds after a warm-up, and the peak of memory.

    Args:
        setting: device and sizes.
        case: of `cases`.
    """
    kind, size = case["kind"], case["size"]
    engine = setting.only(("updates", kind, size), lambda: setting.engine(kind, size))
    grid = (case["frames"] // 2, *((4, 4) if setting.tiny else (16, 32)))
    lengths = [case["answer"]] * case["n"]
    questions = [SampleQuestion(lengths, text=TEXT, grids=(grid,), seed=seed) for seed in range(case["questions"])]
    limit = {"use_dynamic_bsz": True, "max_token_len_per_gpu": TOKEN_LIMIT}
    batch = stored_batch(questions, setting.folder, FAMILY, named=kind != "stock", **limit)

    def run() -> None:
        if case["cache"] == "cold":
            engine.feature_cache = FeatureCache(engine.options.feature_cache_bytes)
        update(engine, batch)

    with stock_losses() if kind == "stock" else nullcontext():
        run()
        seconds = min(clock(run, setting.device) for _ in range(2))
        peak_bytes = peak(run, setting.device)
    patches, prompt = grid[0] * grid[1] * grid[2], int(batch["prompts"].offsets()[1])
    counts = {"prompt": prompt, "n": case["n"], "length": case["answer"]}
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes,
        "tokens": case["questions"] * tokens(kind, **counts),
        "flops": case["questions"] * floor(setting.shape(size), kind, "update", **counts, patches=patches),
    }


def update(engine: Any, batch: Any) -> None:
    """Gradients of a whole batch, and the optimizer's step.

    Args:
        engine: verl's or ours.
        batch: one mini-batch.
    """
    with engine.train_mode():
        engine.optimizer_zero_grad()
        engine.forward_backward_batch(batch.copy(), ppo_loss(), forward_only=False)
        engine.optimizer_step()


@contextmanager
def stock_losses() -> Iterator[None]:
    """Give verl, where flash-attn is missing, a fast log-probability in place of its loop over tokens.

    On a GPU that loop launches thousands of kernels: without this, ours would look better than with flash-attn.
    """
    from verl.utils import torch_functional
    from verl.workers.engine.fsdp import transformer_impl

    if torch_functional.FLAH_ATTN_CROSS_ENTROPY_LOSS_AVAILABLE:
        yield
        return
    with patch.object(transformer_impl, "logprobs_from_logits", log_probs):
        yield


def log_probs(logits: Tensor, labels: Tensor, inplace_backward: bool = True) -> Tensor:
    """Log-probabilities of tokens, as flash-attn's cross entropy gives them.

    Args:
        logits: (N, vocabulary).
        labels: (N,).
        inplace_backward: as verl passes it; the gradient always takes the logits' place.
    """
    return _LogProbs.apply(logits, labels)  # pyright: ignore[reportReturnType]


class _LogProbs(torch.autograd.Function):
    """In float32, a chunk at a time; the gradient is written over the logits, as flash-attn does."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        sums = torch.cat([chunk.float().logsumexp(-1) for chunk in logits.split(1024)])
        ctx.save_for_backward(logits, labels, sums)
        return logits.gather(-1, labels[:, None]).squeeze(-1).float() - sums

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        logits, labels, sums = ctx.saved_tensors
        for chunk, label, total, grad in zip(*(t.split(1024) for t in (logits, labels, sums, grads[0])), strict=True):
            share = (chunk.float() - total[:, None]).exp_().mul_(-grad[:, None])
            chunk.copy_(share.scatter_add_(-1, label[:, None], grad[:, None].float()))
        return logits, None


def summary(rows: list[Case]) -> list[Case]:
    """Ours beside verl's in the same case."""
    keys = ("size", "questions", "frames", "n", "answer")
    stock = {tuple(row[key] for key in keys): row for row in rows if row["kind"] == "stock"}
    lines: list[Case] = []
    for row in rows:
        line = {"seconds": row["seconds"], "GB": row["peak_bytes"] / 1e9}
        beside = stock.get(tuple(row[key] for key in keys), {})
        if beside:
            less = {"faster": "seconds", "less memory": "peak_bytes", "fewer FLOPs": "flops", "fewer tokens": "tokens"}
            line |= {name: beside[figure] / row[figure] for name, figure in less.items()}
        lines.append(line)
    return lines

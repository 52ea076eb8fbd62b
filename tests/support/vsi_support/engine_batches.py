"""Random batches of the form in which verl's trainer hands them to an engine, and verl's loss over them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vsi_support.random_models import QWEN2_VL, Family
from vsi_support.random_qwen2_vl import EOS, IMAGE, VIDEO, VISION_END, VISION_START, WORDS

_NESTED = (
    "input_ids",
    "prompts",
    "responses",
    "loss_mask",
    "response_mask",
    "advantages",
    "old_log_probs",
    "ref_log_prob",
)


Grid = tuple[int, int, int]
"""Patches in time, height and width."""


@dataclass(frozen=True)
class SampleQuestion:
    """One prompt and its n answers."""

    answers: Sequence[int]
    """Tokens of each answer."""
    text: int = 12
    """Tokens of text, the same for the same seed."""
    text_seed: int = 0
    grids: Sequence[Grid] = ((2, 4, 4),)
    """Patches of each video: time, height, width."""
    kind: str = "video"
    seed: int = 0
    """Of the pixels."""
    uid: str = ""
    """Filled in where it is empty."""


Piece = list[int] | Grid
"""Of a prompt: text, or the grid of what is shown."""

_FRAMES_TEXT = 2
"""Tokens that say when a pair of frames was seen."""


def _pieces(question: SampleQuestion, family: Family) -> list[Piece]:
    """[start, tokens, end] for each video, image or pair of frames, then text."""
    words = torch.Generator().manual_seed(question.text_seed)
    grids = list(question.grids)
    seen: list[int] = []
    if family.frame_by_frame and question.kind == "video":
        grids = [(1, h, w) for t, h, w in question.grids for _ in range(t)]
        seen = torch.randint(0, WORDS, (_FRAMES_TEXT,), generator=words).tolist()
    pieces: list[Piece] = []
    for grid in grids:
        pieces += [[*seen, VISION_START], grid, [VISION_END]]
    return [*pieces, torch.randint(0, WORDS, (question.text,), generator=words).tolist()]


def _positions(pieces: Sequence[Piece], answer: int) -> torch.Tensor:
    """(4, L): text positions, then rotary positions as Qwen2-VL counts them: after a grid, from its longest side."""
    parts, at = [], 0
    for piece in (*pieces, [0] * answer):
        if isinstance(piece, list):
            parts.append(torch.arange(at, at + len(piece)).expand(3, -1))
            at += len(piece)
        else:
            t, h, w = piece
            parts.append(torch.cartesian_prod(torch.arange(t), torch.arange(h // 2), torch.arange(w // 2)).T + at)
            at += max(t, h // 2, w // 2)
    rotary = torch.cat(parts, dim=1)
    return torch.cat((torch.arange(rotary.shape[1])[None], rotary))


def engine_batch(
    questions: Sequence[SampleQuestion],
    *,
    family: Family = QWEN2_VL,
    order: Sequence[int] | None = None,
    padding: int = 0,
    **settings: Any,
) -> Any:
    """A batch as it reaches the engine for an update.

    Old and reference log-probabilities are random: near the model's where the model is near uniform.

    Args:
        questions: with their answers.
        family: of the model that it is for.
        order: of the rows; question by question by default.
        padding: rows that verl adds where rollouts are missing.
        settings: what verl's trainer says about the batch, where it is not the default here.
    """
    from verl.utils import tensordict_utils as tu

    rows: list[dict[str, Any]] = []
    for number, question in enumerate(questions):
        rows += _rows(question, question.uid or f"uid{number}", family)
    rows = [rows[i] for i in (order if order is not None else range(len(rows)))]
    rows += [_padding(rows[0])] * padding
    tensors: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0]}
    for key in _NESTED:
        tensors[key] = torch.nested.as_nested_tensor(tensors[key], layout=torch.jagged)
    tensors["position_ids"] = tu.nested_tensor_from_tensor_list(tensors["position_ids"])
    batch = tu.get_tensordict(tensors)
    tokens = sum(row["response_mask"].numel() for row in rows)
    defaults = {
        "temperature": 1.0,
        "use_remove_padding": False,
        "use_fused_kernels": False,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": len(rows),
        "global_batch_size": len(rows),
        "batch_num_tokens": tokens,
        "dp_size": 1,
        "calculate_entropy": True,
    }
    tu.assign_non_tensor(batch, **{**defaults, **settings})
    return batch


def _padding(like: dict[str, Any]) -> dict[str, Any]:
    """What verl fills a batch up with where rollouts are missing: a row of text that counts for nothing."""
    from verl.trainer.ppo.padding_utils import construct_minimal_padding_template

    row, _ = construct_minimal_padding_template(like, {}, EOS)
    numbers = {key: torch.zeros(1) for key in ("advantages", "old_log_probs", "ref_log_prob")}
    return {key: {**row, **numbers, "uid": "pad"}[key] for key in like}


def _rows(question: SampleQuestion, uid: str, family: Family) -> list[dict[str, Any]]:
    noise = torch.Generator().manual_seed(1000 + question.seed)
    token = {"video": VIDEO, "image": IMAGE}[question.kind]
    pieces = _pieces(question, family)
    prompt: list[int] = []
    for piece in pieces:
        prompt += piece if isinstance(piece, list) else [token] * (math.prod(piece) // 4)
    names = {"video": ("pixel_values_videos", "video_grid_thw"), "image": ("pixel_values", "image_grid_thw")}
    inputs: dict[str, Any] = {}
    if question.grids:
        patches = sum(t * h * w for t, h, w in question.grids)
        pixels = torch.randn(patches, family.channels, generator=noise)
        inputs = dict(zip(names[question.kind], (pixels, torch.tensor(question.grids)), strict=True))
    rows = []
    for number, length in enumerate(question.answers):
        draw = torch.Generator().manual_seed(7919 * (question.seed + 1) + number)
        answer = torch.randint(0, WORDS, (length,), generator=draw)
        rows.append(
            {
                "uid": uid,
                "prompts": torch.tensor(prompt),
                "responses": answer,
                "input_ids": torch.cat((torch.tensor(prompt), answer)),
                "position_ids": _positions(pieces, length),
                "loss_mask": torch.ones(length, dtype=torch.long),
                "response_mask": torch.ones(length, dtype=torch.long),
                "advantages": torch.randn(1, generator=draw).expand(length).clone(),
                "old_log_probs": -3 + 2 * torch.rand(length, generator=draw),
                "ref_log_prob": -3 + 2 * torch.rand(length, generator=draw),
                "multi_modal_inputs": dict(inputs),
            }
        )
    return rows


def ppo_loss(entropy: float = 0.01) -> Any:
    """verl's own loss, with KL and entropy terms, without clipping (a clipped token has no gradient to compare)."""
    from functools import partial

    from verl.workers.config import FSDPActorConfig
    from verl.workers.utils.losses import ppo_loss as loss

    config = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        use_kl_loss=True,
        kl_loss_coef=0.1,
        entropy_coeff=entropy,
        clip_ratio=100.0,
        clip_ratio_low=100.0,
        clip_ratio_high=100.0,
        clip_ratio_c=1e6,
        use_dynamic_bsz=False,
        ppo_micro_batch_size_per_gpu=1,
    )
    return partial(loss, config=config)

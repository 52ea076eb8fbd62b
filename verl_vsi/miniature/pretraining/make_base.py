"""Make the base: the pretrained miniature that stands in for Qwen2-VL-Instruct, in one call and some minutes.

It learns what things are called (`align_stage`), how many there are, where and how large (`probe_stage`), and to say so
(`answer_stage`), on rooms of its own seed. Nothing is taken away from it afterwards; what it can do by then is measured
(`exam`) and recorded.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from verl_vsi.data_adapters.files import sha256, write_text

if TYPE_CHECKING:
    import torch

    from verl_vsi.data_adapters.synthetic_rooms import Room
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM

RECORD = "base.json"
"""Beside the weights: how they were made, from what, in how long, and what they score."""
ROOMS_SEED, EXAM_SEED = 7001, 7002
"""Families of rooms that pretraining sees, and that its scores are measured on. Train and held-out rooms of the
demonstration come from other seeds; rooms of different seeds are different."""
TOKENIZER_ROOMS = 60
"""Rooms whose questions the tokenizer is learned from."""


@dataclass(frozen=True)
class Schedule:
    """How long each part of pretraining is.

    Args:
        rooms: rooms to learn from.
        align: steps of the align stage.
        look_up: steps of the probe stage.
        speak: steps of the answer stage.
        exam_rooms: rooms that the scores are measured on.
        exam: questions a task that they are measured on.
    """

    rooms: int = 5000
    align: int = 1100
    look_up: int = 2000
    speak: int = 1500
    exam_rooms: int = 250
    exam: int = 100


def make_base(out: Path, seed: int = 0, schedule: Schedule | None = None, workers: int = 2) -> dict[str, Any]:
    """Pretrain a base into the Hugging Face folder `out` and return its record, which is also written there.

    Each stage's weights are kept in `out`.stages until the base is made: interrupted, the same call goes on from there.

    Args:
        out: the folder; files of an earlier base are replaced.
        seed: of the weights and of every draw; the rooms stay `ROOMS_SEED`'s.
        schedule: None: `Schedule()`, some six minutes on two idle cores.
        workers: processes that draw rooms.
    """
    from verl_vsi import cpu

    cpu.prepare()  # before torchvision is imported, which the modules of the stages do
    checkpoints = out.with_name(f"{out.name}.stages")
    columns = (*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        record = _make(out, seed, schedule or Schedule(), workers, checkpoints / f"seed{seed}", progress)
    shutil.rmtree(checkpoints)
    return record


def _make(
    out: Path, seed: int, schedule: Schedule, workers: int, checkpoint_folder: Path, progress: Progress
) -> dict[str, Any]:
    from verl_vsi.miniature.pretraining.align_stage import run_align_stage
    from verl_vsi.miniature.pretraining.answer_stage import run_answer_stage
    from verl_vsi.miniature.pretraining.exam import run_exam
    from verl_vsi.miniature.pretraining.probe_stage import run_probe_stage
    from verl_vsi.miniature.pretraining.room_batch import draw_room_batch
    from verl_vsi.miniature.pretraining.training_loop import StageCheckpoints

    start = time.monotonic()
    room_batch = draw_room_batch(ROOMS_SEED, schedule.rooms, progress, workers)
    drawing = round(time.monotonic() - start, 1)
    vlm = fresh_vlm(room_batch.rooms[:TOKENIZER_ROOMS], seed)
    checkpoints = StageCheckpoints(checkpoint_folder)
    # by their names in the record, and in the schedule
    for name, run_stage in {"align": run_align_stage, "look_up": run_probe_stage, "speak": run_answer_stage}.items():
        steps = getattr(schedule, name)
        checkpoints.run(name, steps, vlm.model, partial(run_stage, vlm, room_batch, steps, seed, progress))
    _round_to_bfloat16(vlm.model)
    _save(vlm, out)
    exam_rooms = draw_room_batch(EXAM_SEED, schedule.exam_rooms, progress, workers)
    record = {
        "what": "the pretrained miniature Qwen2-VL that stands in for Qwen2-VL-Instruct",
        "command": "verl-vsi miniature base",
        "seed": seed,
        "rooms_seed": ROOMS_SEED,
        "exam_seed": EXAM_SEED,
        "schedule": asdict(schedule),
        "seconds": {"rooms": drawing} | {name: stage["seconds"] for name, stage in checkpoints.stages.items()},
        "losses": {name: stage["loss"] for name, stage in checkpoints.stages.items()},
        "parameters": vlm.model.num_parameters(),
        "scores": run_exam(vlm, exam_rooms, schedule.exam, progress),
        "sha256": {name: sha256(out / name) for name in ("model.safetensors", "tokenizer.json")},
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    write_text(out / RECORD, json.dumps(record, indent=2) + "\n")
    return record


def fresh_vlm(rooms: Sequence[Room], seed: int) -> TinyVLM:
    """A tokenizer learned from the rooms' questions, and an untrained model for it.

    Args:
        rooms: that the tokenizer's sentences are about.
        seed: of the weights.
    """
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
    from verl_vsi.miniature.pretraining.tiny_model import build_model, build_tokenizer
    from verl_vsi.miniature.pretraining.training_questions import WHOLE_WORDS, tokenizer_corpus

    tokenizer = build_tokenizer(tokenizer_corpus(rooms), WHOLE_WORDS)
    return TinyVLM(build_model(tokenizer, seed), tokenizer)


def _round_to_bfloat16(model: torch.nn.Module) -> None:
    """Weights stay float32, with bfloat16's values: the folder packs to half its size, and scores do not change."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()


def _save(vlm: TinyVLM, out: Path) -> None:
    from verl_vsi.miniature.pretraining.tiny_model import build_processor

    out.mkdir(parents=True, exist_ok=True)
    vlm.model.save_pretrained(out)
    build_processor(vlm.tokenizer).save_pretrained(out)

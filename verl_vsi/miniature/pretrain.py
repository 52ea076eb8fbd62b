"""Make the base: the pretrained miniature that stands in for Qwen2-VL-Instruct, in one call and some minutes.

It learns what things are called (`align`), where and how large they are (`lookup`), and how one answers (`talk`), on
rooms of its own seed. Nothing is taken away from it afterwards; what it can do by then is measured and recorded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

from verl_vsi.data_adapters.files import write_text

if TYPE_CHECKING:
    import torch

    from verl_vsi.data_adapters.rooms import Room
    from verl_vsi.miniature.pupil import Pupil

RECORD = "base.json"
"""Beside the weights: how they were made, from what, in how long, and what they score."""
ROOMS_SEED, EXAM_SEED = 7001, 7002
"""Families of rooms that pretraining sees, and that its scores are measured on. Train and held-out rooms of a story
come from other seeds; rooms of different seeds are different."""


@dataclass(frozen=True)
class Schedule:
    """How long each part of pretraining is.

    Args:
        rooms: rooms to learn from.
        align, look_up, talk: steps of each stage.
        exam_rooms, exam: rooms and questions a task that the scores are measured on.
    """

    rooms: int = 5000
    align: int = 1100
    look_up: int = 1500
    talk: int = 200
    exam_rooms: int = 250
    exam: int = 100


def make_base(out: Path, seed: int = 0, schedule: Schedule | None = None, workers: int = 2) -> dict[str, Any]:
    """Pretrain a base into the Hugging Face folder `out` and return its record, which is also written there.

    Args:
        out: the folder; files of an earlier base are replaced.
        seed: of the weights and of every draw; the rooms stay `ROOMS_SEED`'s.
        schedule: None: `Schedule()`, about seven minutes on two cores.
        workers: processes that draw rooms.
    """
    from verl_vsi import cpu

    cpu.prepare()
    plan = schedule or Schedule()
    columns = (*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        return _make(out, seed, plan, workers, progress)


def _make(out: Path, seed: int, plan: Schedule, workers: int, progress: Progress) -> dict[str, Any]:
    from verl_vsi.miniature.album import draw_album
    from verl_vsi.miniature.align import align
    from verl_vsi.miniature.lookup import look_up
    from verl_vsi.miniature.scores import examine
    from verl_vsi.miniature.talk import talk

    clock = Clock()
    album = clock("rooms", lambda: draw_album(ROOMS_SEED, plan.rooms, progress, workers))
    pupil = _newborn(album.rooms[:TEXT_ROOMS], seed)
    losses = {
        "align": clock("align", lambda: align(pupil, album, plan.align, seed, progress)),
        "look_up": clock("look_up", lambda: look_up(pupil, album, plan.look_up, seed, progress)),
        "talk": clock("talk", lambda: talk(pupil, album, plan.talk, seed, progress)),
    }
    _round(pupil.model)
    exam = draw_album(EXAM_SEED, plan.exam_rooms, progress, workers)
    scores = clock("exam", lambda: examine(pupil, exam, plan.exam, progress))
    _save(pupil, out)
    record = {
        "what": "pretrained miniature Qwen2-VL, the base of the story; stands in for Qwen2-VL-Instruct",
        "command": "verl-vsi miniature base",
        "seed": seed,
        "rooms_seed": ROOMS_SEED,
        "exam_seed": EXAM_SEED,
        "schedule": asdict(plan),
        "seconds": clock.seconds,
        "losses": {name: round(loss, 4) for name, loss in losses.items()},
        "parameters": pupil.model.num_parameters(),
        "scores": scores,
        "sha256": {name: sha256(out / name) for name in ("model.safetensors", "tokenizer.json")},
        "versions": {name: version(name) for name in ("torch", "transformers", "verl-vsi")},
    }
    write_text(out / RECORD, json.dumps(record, indent=2) + "\n")
    return record


TEXT_ROOMS = 60
"""Rooms whose questions the tokenizer is learned from."""


class Clock:
    """Runs things and keeps how many seconds each took."""

    def __init__(self) -> None:
        """Nothing has run."""
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        """Do `work` and note its time under `name`."""
        start = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - start, 1)
        return result


def _newborn(rooms: Sequence[Room], seed: int) -> Pupil:
    """A tokenizer learned from the rooms' questions, and a fresh model for it."""
    from verl_vsi.miniature.lessons import WORDS, corpus
    from verl_vsi.miniature.model import build_model
    from verl_vsi.miniature.pupil import Pupil
    from verl_vsi.miniature.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(corpus(rooms), WORDS)
    return Pupil(build_model(tokenizer, seed), tokenizer)


def _round(model: torch.nn.Module) -> None:
    """Round weights to bfloat16, kept as float32: the folder packs to half its size, and scores do not change."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()


def _save(pupil: Pupil, out: Path) -> None:
    from verl_vsi.miniature.processor import build_processor

    out.mkdir(parents=True, exist_ok=True)
    pupil.model.save_pretrained(out)
    build_processor(pupil.tokenizer).save_pretrained(out)


def sha256(path: Path) -> str:
    """Checksum of a file, as the record keeps it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

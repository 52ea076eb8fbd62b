"""Make the base: the pretrained miniature that stands in for Qwen2-VL-Instruct, in one call and some minutes.

It learns what things are called (`align`), where and how large they are (`lookup`), and to say so (`speak`), on rooms
of its own seed. Nothing is taken away from it afterwards; what it can do by then is measured and recorded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
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

    from verl_vsi.data_adapters.synthetic_rooms import Room
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM

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
        align, look_up, speak: steps of each stage.
        exam_rooms, exam: rooms and questions a task that the scores are measured on.
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

    cpu.prepare()
    columns = (*Progress.get_default_columns()[:3], MofNCompleteColumn(), TimeElapsedColumn())
    stages = Stages(out.with_name(f"{out.name}.stages") / f"seed{seed}")
    with Progress(*columns) as progress:
        record = _make(out, seed, schedule or Schedule(), workers, stages, progress)
    shutil.rmtree(stages.folder.parent)
    return record


def _make(out: Path, seed: int, plan: Schedule, workers: int, stages: Stages, progress: Progress) -> dict[str, Any]:
    from verl_vsi.miniature.pretraining.align_stage import align
    from verl_vsi.miniature.pretraining.answer_stage import speak
    from verl_vsi.miniature.pretraining.exam import examine
    from verl_vsi.miniature.pretraining.probe_stage import look_up
    from verl_vsi.miniature.pretraining.room_batch import draw_room_batch

    start = time.monotonic()
    album = draw_room_batch(ROOMS_SEED, plan.rooms, progress, workers)
    drawing = round(time.monotonic() - start, 1)
    pupil = _newborn(album.rooms[:TEXT_ROOMS], seed)
    lessons = {"align": align, "look_up": look_up, "speak": speak}
    for name, teach in lessons.items():
        steps = getattr(plan, name)
        stages.run(name, steps, pupil.model, lambda t=teach, n=steps: t(pupil, album, n, seed, progress))
    _round(pupil.model)
    _save(pupil, out)
    record = {
        "what": "the pretrained miniature Qwen2-VL that stands in for Qwen2-VL-Instruct",
        "command": "verl-vsi miniature base",
        "seed": seed,
        "rooms_seed": ROOMS_SEED,
        "exam_seed": EXAM_SEED,
        "schedule": asdict(plan),
        "seconds": {"rooms": drawing} | {name: done["seconds"] for name, done in stages.done.items()},
        "losses": {name: done["loss"] for name, done in stages.done.items()},
        "parameters": pupil.model.num_parameters(),
        "scores": examine(pupil, draw_room_batch(EXAM_SEED, plan.exam_rooms, progress, workers), plan.exam, progress),
        "sha256": {name: sha256(out / name) for name in ("model.safetensors", "tokenizer.json")},
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    write_text(out / RECORD, json.dumps(record, indent=2) + "\n")
    return record


class Stages:
    """Runs the stages of a pretraining one after the other; those that `folder` already holds are read from there."""

    def __init__(self, folder: Path) -> None:
        """Nothing has run."""
        self.folder, self.past = folder, ""
        self.done: dict[str, dict[str, float]] = {}

    def run(self, name: str, steps: int, model: Any, teach: Callable[[], float]) -> None:
        """Do a stage, or put the weights that it once left after the same stages into `model`."""
        from safetensors.torch import load_file, save_file

        self.past += f"{name}{steps}-"
        weights = self.folder / f"{self.past}weights.safetensors"
        if weights.with_suffix(".json").exists():
            model.load_state_dict(load_file(weights))
            self.done[name] = json.loads(weights.with_suffix(".json").read_text())
            return
        start = time.monotonic()
        loss = teach()
        self.done[name] = {"seconds": round(time.monotonic() - start, 1), "loss": round(loss, 4)}
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), weights)
        write_text(weights.with_suffix(".json"), json.dumps(self.done[name]))


TEXT_ROOMS = 60
"""Rooms whose questions the tokenizer is learned from."""


def _newborn(rooms: Sequence[Room], seed: int) -> TinyVLM:
    """A tokenizer learned from the rooms' questions, and a fresh model for it."""
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
    from verl_vsi.miniature.pretraining.tiny_model import build_model, build_tokenizer
    from verl_vsi.miniature.pretraining.training_questions import WORDS, corpus

    tokenizer = build_tokenizer(corpus(rooms), WORDS)
    return TinyVLM(build_model(tokenizer, seed), tokenizer)


def _round(model: torch.nn.Module) -> None:
    """Round weights to bfloat16, kept as float32: the folder packs to half its size, and scores do not change."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()


def _save(pupil: TinyVLM, out: Path) -> None:
    from verl_vsi.miniature.pretraining.tiny_model import build_processor

    out.mkdir(parents=True, exist_ok=True)
    pupil.model.save_pretrained(out)
    build_processor(pupil.tokenizer).save_pretrained(out)


def sha256(path: Path) -> str:
    """Checksum of a file, as the record keeps it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""The paper's experiment in miniature, told with the commands that a user types at scale.

Render rooms, build rows, decode frames once, take the base; then, as in the paper (arXiv 2504.00883, Table 2), SFT and
vsGRPO each start from the base, and all three are scored on rooms that none of them has seen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.miniature.phases import Phase

BASE_SEED, TRAIN_SEED, HELDOUT_SEED = 7, 1, 2
"""Families of rooms: the base's pretraining, training, held out. Rooms of different families are different."""

FRAMES = ("--nframes", "4", "--sampler", "linspace", "--min-pixels", "12544", "--max-pixels", "12544")
"""As in recipes/recipe/vsgrpo_miniature.yaml."""


PER_ROOM = ("--per-scene", "1", "--per-scene", "object_rel_distance=3")
"""Questions a room and task; few rooms hold the five single objects that a relative distance asks for."""


@dataclass(frozen=True)
class Story:
    """What is told, and where.

    Args:
        folder: everything lands here.
        seed: of training and of the questions; the rooms stay the same.
        train_rooms: rooms to train on, six questions each.
        heldout_rooms: rooms to score on, one question a task each.
        sft_steps: steps of SFT.
        vsgrpo_steps: steps of vsGRPO; None: the recipe's own, for both.
    """

    folder: Path
    seed: int = 0
    train_rooms: int = 1500
    heldout_rooms: int = 300
    sft_steps: int | None = None
    vsgrpo_steps: int | None = None

    @property
    def root(self) -> Path:
        """The data root."""
        return self.folder / "data"

    def rows(self, split: str) -> Path:
        """File of rows of a split."""
        return self.root / "rows" / f"{split}.parquet"

    def result(self, model: str, condition: str = "normal") -> Path:
        """Result file of one evaluation."""
        return self.folder / "eval" / model / f"{condition}.json"


def base_folder() -> Path:
    """The base that ships with the package, an ordinary Hugging Face folder."""
    return Path(__file__).with_name("base")


def data_phases(story: Story) -> list[Phase]:
    """Rooms, rows, frames."""
    splits = {"train": (story.train_rooms, TRAIN_SEED), "heldout": (story.heldout_rooms, HELDOUT_SEED)}
    rooms = [_rooms(story, split, count, seed) for split, (count, seed) in splits.items()]
    rows = [_rows(story, split) for split in splits]
    val = _rows(story, "val", scenes="heldout", extra=("--total", "20"))
    decode = ("frames", "build", *(str(story.rows(s)) for s in splits), "--root", str(story.root), *FRAMES)
    return [*rooms, *rows, val, Phase("frames", _cli(*decode), story.root / "frames")]


def training_phases(story: Story) -> list[Phase]:
    """SFT and vsGRPO, each from the base, through verl's own trainers."""
    return [
        _training(story, "sft", ("torchrun", "--standalone", "--nproc_per_node=1", "-m"), story.sft_steps),
        _training(story, "vsgrpo", (sys.executable, "-m"), story.vsgrpo_steps),
    ]


def evaluation_phase(story: Story, model: str, conditions: tuple[str, ...] = ("normal",)) -> Phase:
    """Score `model` (base, sft or vsgrpo) on the held-out rooms."""
    folder = base_folder() if model == "base" else story.folder / model
    command = ["eval", str(folder), "--rows", str(story.rows("heldout")), "--root", str(story.root)]
    command += ["--out", str(story.result(model).parent), "--name", model, "--preset", "paper", "--prompts", "train"]
    command += [*FRAMES, "--tasks", "vsi100k", "--max-model-len", "512"]
    command += [word for condition in conditions for word in ("--condition", condition)]
    return Phase(
        f"score {model}" + "".join(f" {c}" for c in conditions if c != "normal"),
        _cli(*command),
        story.result(model, conditions[-1]),
        retries=1,
    )


def _rooms(story: Story, split: str, count: int, seed: int) -> Phase:
    command = ("data", "rooms", str(story.root), "--split", split, "--count", str(count), "--seed", str(seed))
    return Phase(f"rooms {split}", _cli(*command), story.root / "rooms" / f"{split}.scenes.jsonl")


def _rows(story: Story, split: str, scenes: str = "", extra: tuple[str, ...] = PER_ROOM) -> Phase:
    lines = story.root / "rooms" / f"{scenes or split}.scenes.jsonl"
    command = ("data", "build", str(story.rows(split)), "--scenes", str(lines), "--split", split)
    return Phase(f"rows {split}", _cli(*command, "--seed", str(story.seed), *extra), story.rows(split))


def _training(story: Story, kind: str, launcher: tuple[str, ...], steps: int | None) -> Phase:
    module = {"sft": "verl.trainer.sft_trainer", "vsgrpo": "verl.trainer.main_ppo"}[kind]
    overrides = [
        f"+recipe={kind}_miniature",
        f"vsi.root={story.root}",
        f"vsi.data.val={story.rows('val')}",
        f"vsi.seed={story.seed}",
        f"trainer.default_local_dir={story.folder / kind}",
        *([f"trainer.total_training_steps={steps}"] if steps else []),
    ]
    words = tuple(str(Path(sys.executable).with_name(w)) if w == "torchrun" else w for w in launcher)
    return Phase(
        kind, (*words, module, *overrides), story.folder / kind / "latest_checkpointed_iteration.txt", retries=1
    )


def _cli(*words: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("verl-vsi")), *words)

"""The paper's experiment in miniature: what is run, as the commands that a user types at scale.

Render rooms, build rows, decode frames once, take the base; then, as in the paper (arXiv 2504.00883, Table 2), SFT and
vsGRPO each start from the base, and all three are scored on rooms that none of them has seen. `run_demo` runs it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.miniature.pipeline import Stage

TRAIN_SEED, HELDOUT_SEED = 1, 2
"""Families of rooms. Rooms of different families are different, and pretraining has its own: `make_base.ROOMS_SEED`."""

FRAMES = ("--nframes", "4", "--sampler", "linspace", "--min-pixels", "12544", "--max-pixels", "12544")
"""As in recipes/recipe/vsgrpo_miniature.yaml."""

QUESTIONS_PER_ROOM = ("--per-scene", "1", "--per-scene", "object_rel_distance=3")
"""Of each task; few rooms hold the five single objects that a relative distance asks for."""


@dataclass(frozen=True)
class Demo:
    """One demonstration: its size and its files.

    Args:
        folder: everything lands here.
        seed: of training and of the questions; the rooms stay the same.
        train_rooms: rooms to train on, six questions each.
        heldout_rooms: rooms to score on, one question a task each.
        sft_steps: steps of SFT; None: the recipe's own.
        vsgrpo_steps: steps of vsGRPO; None: the recipe's own.
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

    def scenes(self, split: str) -> Path:
        """File of scenes of a split: `train` or `heldout`."""
        return self.root / "rooms" / f"{split}.scenes.jsonl"

    def rows(self, split: str) -> Path:
        """File of rows of a split: `train`, `heldout`, or `val`, some rows of held-out rooms for verl's validation."""
        return self.root / "rows" / f"{split}.parquet"

    def result(self, model: str, condition: str = "normal") -> Path:
        """Result file of one evaluation.

        Args:
            model: base, sft or vsgrpo.
            condition: of the videos: normal, shuffled or blind.
        """
        return self.folder / "eval" / model / f"{condition}.json"


def base_folder() -> Path:
    """The base that ships with the package, an ordinary Hugging Face folder."""
    return Path(__file__).with_name("base")


def data_stages(demo: Demo) -> list[Stage]:
    """Rooms, rows, frames."""
    rooms = [_rooms(demo, "train", demo.train_rooms, TRAIN_SEED)]
    rooms += [_rooms(demo, "heldout", demo.heldout_rooms, HELDOUT_SEED)]
    rows = [_rows(demo, split, split, QUESTIONS_PER_ROOM) for split in ("train", "heldout")]
    rows += [_rows(demo, "val", "heldout", ("--total", "20"))]
    files = (str(demo.rows(split)) for split in ("train", "heldout"))
    decode = ("frames", "build", *files, "--root", str(demo.root), *FRAMES)
    return [*rooms, *rows, Stage("frames", _cli(*decode), demo.root / "frames")]


def _rooms(demo: Demo, split: str, count: int, seed: int) -> Stage:
    command = ("data", "rooms", str(demo.root), "--split", split, "--count", str(count), "--seed", str(seed))
    return Stage(f"rooms {split}", _cli(*command), demo.scenes(split))


def _rows(demo: Demo, split: str, scenes: str, quotas: tuple[str, ...]) -> Stage:
    command = ("data", "build", str(demo.rows(split)), "--scenes", str(demo.scenes(scenes)), "--split", split)
    return Stage(f"rows {split}", _cli(*command, "--seed", str(demo.seed), *quotas), demo.rows(split))


def training_stages(demo: Demo) -> list[Stage]:
    """SFT and vsGRPO, each from the base, through verl's own trainers."""
    torchrun = (_beside_python("torchrun"), "--standalone", "--nproc_per_node=1", "-m", "verl.trainer.sft_trainer")
    main_ppo = (sys.executable, "-m", "verl.trainer.main_ppo")
    return [_training(demo, "sft", torchrun, demo.sft_steps), _training(demo, "vsgrpo", main_ppo, demo.vsgrpo_steps)]


def _training(demo: Demo, kind: str, trainer: tuple[str, ...], steps: int | None) -> Stage:
    overrides = [
        f"+recipe={kind}_miniature",
        f"vsi.root={demo.root}",
        f"vsi.data.val={demo.rows('val')}",
        f"vsi.seed={demo.seed}",
        f"trainer.default_local_dir={demo.folder / kind}",
        *([f"trainer.total_training_steps={steps}"] if steps else []),
    ]
    checkpoint = demo.folder / kind / "latest_checkpointed_iteration.txt"
    return Stage(kind, (*trainer, *overrides), checkpoint, retries=1)


def evaluation_stage(demo: Demo, model: str, conditions: tuple[str, ...] = ("normal",)) -> Stage:
    """Score a model on the held-out rooms.

    Args:
        demo: whose model and rows.
        model: base, sft or vsgrpo.
        conditions: of the videos: normal, shuffled or blind.
    """
    folder = base_folder() if model == "base" else demo.folder / model
    command = ["eval", str(folder), "--rows", str(demo.rows("heldout")), "--root", str(demo.root)]
    command += ["--out", str(demo.result(model).parent), "--name", model, "--preset", "paper", "--prompts", "train"]
    command += [*FRAMES, "--tasks", "vsi100k", "--max-model-len", "512"]
    command += [word for condition in conditions for word in ("--condition", condition)]
    name = " ".join(["score", model, *(condition for condition in conditions if condition != "normal")])
    return Stage(name, _cli(*command), demo.result(model, conditions[-1]), retries=1)


def _cli(*arguments: str) -> tuple[str, ...]:
    return (_beside_python("verl-vsi"), *arguments)


def _beside_python(script: str) -> str:
    """A command of this very environment, whatever PATH says."""
    return str(Path(sys.executable).with_name(script))

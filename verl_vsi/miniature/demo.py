"""The paper's experiment in miniature, told with the commands that a user types at scale.

Render rooms, build rows, decode frames once, take the base; then, as in the paper (arXiv 2504.00883, Table 2), SFT and
vsGRPO each start from the base, and all three are scored on rooms that none of them has seen.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from verl_vsi.data_adapters.files import write_text
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.report.contents import Contents, tables
from verl_vsi.evaluation.report.report_files import write_report
from verl_vsi.evaluation.report.table_formats import terminal_table
from verl_vsi.evaluation.report.training_logs import read_run
from verl_vsi.evaluation.score.baselines import baselines
from verl_vsi.evaluation.score.result import Result, read_result, versions
from verl_vsi.evaluation.score.scores import Estimate, Scores
from verl_vsi.evaluation.score.seeds import differences
from verl_vsi.evaluation.task_columns import VSI100K
from verl_vsi.miniature.pipeline import Phase, run_phases

# MERGED Tell the story: run its phases, then show what came out.


OPENING = """The paper's experiment in miniature: rendered rooms for ScanNet, a 1 M parameter Qwen2-VL for 2B and 7B,
this machine's CPU for GPUs. verl, Ray, FSDP2 and vLLM are the real ones. Logs: {logs}"""


def run_demo(story: Demo, console: Console) -> None:
    """Run what is not done yet, then print the table and write report.json and the pictures.

    Raises:
        PhaseError: a phase failed; what is done is kept.
    """
    console.print(OPENING.format(logs=story.folder / "logs"))
    phases = [*data_phases(story), evaluation_phase(story, "base"), *training_phases(story)]
    phases += [evaluation_phase(story, model) for model in ("sft", "vsgrpo")]
    seconds = run_phases(phases, story.folder, console)
    best = best_model(story)
    seconds |= run_phases([evaluation_phase(story, best, ("shuffled", "blind"))], story.folder, console)
    report = write_summary(story, best, seconds)
    _show(story, best, console)
    console.print(f"{sum(seconds.values()):.0f} s in all; {report}")


def _show(story: Demo, best: str, console: Console) -> None:
    found = list(results(story, best).values())
    runs = [read_run(story.folder / name, name) for name in ("sft", "vsgrpo")]
    contents = Contents(found, runs, differences=differences(found, ("base",)))
    for title, rows in tables(contents).items():
        console.print(terminal_table(rows, title))
    for path in write_report(story.folder / "report", contents):
        console.print(f"[dim]written: {path}[/dim]", soft_wrap=True)


# MERGED What the story ends with: report.json, a table, and what the comparison of its models says.


CONSTANT = "best_constant"
"""What ``chance`` in the report means: the answer of each task that scores best on the training rows, every time."""


def results(story: Demo, best: str) -> dict[str, Result]:
    """Results of the story by their key in the report."""
    paths = {model: story.result(model) for model in ("base", "sft", "vsgrpo")}
    paths |= {condition: story.result(best, condition) for condition in ("shuffled", "blind")}
    return {key: read_result(path) for key, path in paths.items()}


def best_model(story: Demo) -> str:
    """The trained model with the higher overall score."""
    return max(("sft", "vsgrpo"), key=lambda model: read_result(story.result(model)).scores["score"].overall.mean)


def write_summary(story: Demo, best: str, seconds: Mapping[str, float]) -> Path:
    """Write ``report.json``; returns its path.

    Keys: ``base``, ``sft``, ``vsgrpo``, ``shuffled`` (the best model on other rooms' videos), ``blind`` (without
    video), ``chance`` (the best constant), each with ``overall``, ``tasks`` and the paper's ``reward`` in 0 to 1;
    ``best``, ``seconds`` by phase and in all, ``versions``, ``seed``.
    """
    found = results(story, best)
    record: dict[str, Any] = {key: _scores(result.scores) for key, result in found.items()}
    record["chance"] = _scores(_constant(story))
    record["best"] = best
    record["seconds"] = {**seconds, "total": round(sum(seconds.values()), 1)}
    record["versions"] = versions()
    record["seed"] = story.seed
    path = story.folder / "report.json"
    write_text(path, json.dumps(record, indent=1))
    return path


def _constant(story: Demo) -> dict[str, Scores]:
    heldout, train = (read_set(story.rows(split)).items for split in ("heldout", "train"))
    return baselines(heldout, VSI100K, source=train, seed=story.seed)[CONSTANT]


def _scores(scores: Mapping[str, Scores]) -> dict[str, Any]:
    score = scores["score"]
    return {
        "overall": _estimate(score.overall),
        "tasks": {task: _estimate(estimate) for task, estimate in score.tasks.items()},
        "reward": _estimate(scores["reward"].overall),
    }


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in vars(estimate).items()}


BASE_SEED, TRAIN_SEED, HELDOUT_SEED = 7, 1, 2
"""Families of rooms: the base's pretraining, training, held out. Rooms of different families are different."""

FRAMES = ("--nframes", "4", "--sampler", "linspace", "--min-pixels", "12544", "--max-pixels", "12544")
"""As in recipes/recipe/vsgrpo_miniature.yaml."""


PER_ROOM = ("--per-scene", "1", "--per-scene", "object_rel_distance=3")
"""Questions a room and task; few rooms hold the five single objects that a relative distance asks for."""


@dataclass(frozen=True)
class Demo:
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


def data_phases(story: Demo) -> list[Phase]:
    """Rooms, rows, frames."""
    splits = {"train": (story.train_rooms, TRAIN_SEED), "heldout": (story.heldout_rooms, HELDOUT_SEED)}
    rooms = [_rooms(story, split, count, seed) for split, (count, seed) in splits.items()]
    rows = [_rows(story, split) for split in splits]
    val = _rows(story, "val", scenes="heldout", extra=("--total", "20"))
    decode = ("frames", "build", *(str(story.rows(s)) for s in splits), "--root", str(story.root), *FRAMES)
    return [*rooms, *rows, val, Phase("frames", _cli(*decode), story.root / "frames")]


def training_phases(story: Demo) -> list[Phase]:
    """SFT and vsGRPO, each from the base, through verl's own trainers."""
    return [
        _training(story, "sft", ("torchrun", "--standalone", "--nproc_per_node=1", "-m"), story.sft_steps),
        _training(story, "vsgrpo", (sys.executable, "-m"), story.vsgrpo_steps),
    ]


def evaluation_phase(story: Demo, model: str, conditions: tuple[str, ...] = ("normal",)) -> Phase:
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


def _rooms(story: Demo, split: str, count: int, seed: int) -> Phase:
    command = ("data", "rooms", str(story.root), "--split", split, "--count", str(count), "--seed", str(seed))
    return Phase(f"rooms {split}", _cli(*command), story.root / "rooms" / f"{split}.scenes.jsonl")


def _rows(story: Demo, split: str, scenes: str = "", extra: tuple[str, ...] = PER_ROOM) -> Phase:
    lines = story.root / "rooms" / f"{scenes or split}.scenes.jsonl"
    command = ("data", "build", str(story.rows(split)), "--scenes", str(lines), "--split", split)
    return Phase(f"rows {split}", _cli(*command, "--seed", str(story.seed), *extra), story.rows(split))


def _training(story: Demo, kind: str, launcher: tuple[str, ...], steps: int | None) -> Phase:
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

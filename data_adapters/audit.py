"""What a file of rows holds, and what it lacks on disk.

Overlap with the benchmark, duplicates, answers, and what guessing would score; then, scene by scene, the videos and
scans that are missing, and which official file holds them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.files import inside
from verl_vsi.data_adapters.frame_support import frames_in
from verl_vsi.data_adapters.leakage import BENCHMARK_SCENE, benchmark_scenes, ids_and_paths, leaks
from verl_vsi.data_adapters.row_checks import row_problem
from verl_vsi.data_adapters.rows import ContentDigest
from verl_vsi.data_adapters.scannet.scan_files import label_map, missing_files, missing_pictures
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy

WORD_CHOICES = {schema.REL_DISTANCE: 4, schema.DIRECTION_EASY: 2}
"""Answers to choose from in tasks with word answers."""


@dataclass(frozen=True)
class TaskAudit:
    """One task's answers.

    Args:
        rows: how many questions.
        answers: answer -> how often.
        chance: score of a random guess; None for numbers.
        most_frequent: the answer given most often.
        most_frequent_score: what always giving it scores: exact match, or mean relative accuracy for numbers.
        unsupported: choice of frames -> share of the questions that these frames do not support, of those that say.
    """

    rows: int
    answers: Mapping[str, int]
    chance: float | None
    most_frequent: str
    most_frequent_score: float
    unsupported: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """The whole file.

    Args:
        rows: how many.
        scenes: scene name -> rows.
        benchmark: scenes that VSI-Bench asks about and that ids or paths of the rows name, in any spelling.
        val_scans: ScanNet val scans that they name.
        duplicates: (scene, question) asked more than once -> how often.
        contradictions: duplicates whose answers differ.
        tasks: task -> its answers.
        repeated_indices: rows whose `extra_info.index` another row has, too.
        problems: why rows can't be trained on -> their numbers in the file, from 0; the other counts leave them out.
        sha256: of the content, as the fingerprint has it of a file that nobody has edited.
    """

    rows: int
    scenes: Mapping[str, int]
    benchmark: tuple[str, ...]
    val_scans: tuple[str, ...]
    duplicates: Mapping[tuple[str, str], int]
    contradictions: tuple[tuple[str, str], ...]
    tasks: Mapping[str, TaskAudit]
    repeated_indices: int
    problems: Mapping[str, tuple[int, ...]]
    sha256: str

    @property
    def leaks(self) -> bool:
        """Whether training on the file would leak."""
        return bool(self.benchmark or self.val_scans)


@dataclass
class _Tally:
    answers: Counter[str] = field(default_factory=Counter)
    chances: list[float] = field(default_factory=list)
    numeric: bool = False
    supported: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))


class _Counts:
    """What `audit` has counted so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.scenes: Counter[str] = Counter()
        self.leaking: dict[str, str] = {}
        self.indices: set[str] = set()
        self.problems: dict[str, list[int]] = defaultdict(list)
        self.answers_to: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.tallies: dict[str, _Tally] = defaultdict(_Tally)
        self.digest = ContentDigest()

    def add(self, row: Mapping[str, Any], extraction: str) -> None:
        info = row["extra_info"] if isinstance(row["extra_info"], Mapping) else {}
        scene, task = str(info.get("scene_id") or ""), str(info.get("task"))
        self.digest.add(row)
        self.leaking |= leaks(ids_and_paths({name: value for name, value in row.items() if name != "prompt"}))
        self.indices.add(str(info.get("index")))
        self.scenes[scene] += 1
        problem = row_problem(row, extraction)
        if problem:
            self.problems[problem].append(self.rows)
        else:
            answer = row["reward_model"]["ground_truth"]
            self.answers_to[scene, str(info.get("question"))][answer] += 1
            _count(self.tallies[task], info, answer)
        self.rows += 1


def audit(rows: Iterable[Mapping[str, Any]], extraction: str = "robust") -> Audit:
    """Look through rows, once, in bounded memory.

    Args:
        rows: as `verl_vsi.data_adapters.rows.iter_rows` gives them, of anybody's file.
        extraction: the run's, by which every truth must score 1 against itself.
    """
    counts = _Counts()
    for row in rows:
        counts.add(row, extraction)
    repeated = {key: answers for key, answers in counts.answers_to.items() if answers.total() > 1}
    leaking, tallies = counts.leaking, counts.tallies
    return Audit(
        rows=counts.rows,
        scenes=counts.scenes,
        benchmark=tuple(sorted(name for name, reason in leaking.items() if reason == BENCHMARK_SCENE)),
        val_scans=tuple(sorted(name for name in leaking if name.startswith("scene"))),
        duplicates={key: answers.total() for key, answers in repeated.items()},
        contradictions=tuple(key for key, answers in repeated.items() if len(answers) > 1),
        tasks={task: _task(tallies[task]) for task in schema.TASKS if task in tallies},
        repeated_indices=counts.rows - len(counts.indices),
        problems={problem: tuple(numbers) for problem, numbers in counts.problems.items()},
        sha256=counts.digest.hexdigest(),
    )


def _count(tally: _Tally, info: Mapping[str, Any], answer: str) -> None:
    tally.answers[answer] += 1
    tally.numeric = info.get("kind") == "number"
    choices = len(info.get("options") or ()) or WORD_CHOICES.get(str(info.get("task")), 0)
    if choices and not tally.numeric:
        tally.chances.append(1 / choices)
    for choice, is_supported in frames_in(info).support.items():
        tally.supported[choice].append(is_supported)


def _task(tally: _Tally) -> TaskAudit:
    frequent = tally.answers.most_common(1)[0][0]
    rows = tally.answers.total()
    score = sum(n * _score(frequent, truth, tally.numeric) for truth, n in tally.answers.items()) / rows
    chance = sum(tally.chances) / rows if tally.chances else None
    unsupported = {choice: 1 - sum(flags) / len(flags) for choice, flags in tally.supported.items()}
    return TaskAudit(rows, tally.answers, chance, frequent, score, unsupported)


def _score(answer: str, truth: str, numeric: bool) -> float:
    return mean_relative_accuracy(float(answer), float(truth)) if numeric else exact_match(answer, truth)


OFFICIAL = {
    "scannetpp": "ScanNet++'s download (kaldir.vc.in.tum.de/scannetpp, after its terms), <scene>/iphone/rgb.mkv",
    "arkitscenes": "ARKitScenes' download_data.py raw --raw_dataset_assets lowres_wide, <scene>/lowres_wide",
}
"""Where a video of a scene outside the benchmark comes from."""


@dataclass(frozen=True)
class Missing:
    """A file that is not there.

    Args:
        scene: whose.
        what: the file, as it should be.
        source: which official file holds it, or what makes it.
    """

    scene: str
    what: str
    source: str


def missing_videos(rows: Iterable[Mapping[str, Any]], root: str | Path) -> Iterator[Missing]:
    """Videos that rows name and that are not under the root, or are empty; each once.

    Args:
        rows: as `verl_vsi.data_adapters.rows.iter_rows` gives them.
        root: the data root.

    Raises:
        ValueError: a row's path leaves the root.
    """
    checked: set[str] = set()
    for row in rows:
        info = row["extra_info"]
        for video in row["videos"]:
            if video in checked:
                continue
            checked.add(video)
            path = inside(Path(root), video)
            if not path.exists() or (path.is_file() and not path.stat().st_size):
                state = " (empty)" if path.exists() else ""
                yield Missing(info["scene_id"], f"{video}{state}", video_source(info["scene_id"], info["dataset"]))


def video_source(scene: str, dataset: str) -> str:
    """Where the video of a scene comes from.

    Args:
        scene: its name.
        dataset: ``scannet``, ``scannetpp``, ``arkitscenes`` or ``rooms``.
    """
    if scene in benchmark_scenes():
        return f"nyu-visionx/VSI-Bench, {benchmark_scenes()[scene]}.zip: verl-vsi data bench --zip"
    if dataset == "rooms":
        return "verl-vsi data rooms, with the split's seed and count"
    if dataset == "scannet":
        return f"ScanNet's {scene}.sens (download-scannet.py --id {scene} --type .sens): verl-vsi data videos"
    return OFFICIAL.get(dataset, f"the makers of '{dataset}'")


def missing_scans(scannet: str | Path, scenes: Iterable[str]) -> Iterator[Missing]:
    """Files that README asks for and the download of ScanNet lacks: for a build, and for the videos.

    Args:
        scannet: the folder that download-scannet.py wrote to.
        scenes: names of scans.
    """
    root = Path(scannet)
    base = root / "scans" if (root / "scans").is_dir() else root
    if not label_map(root).is_file():
        yield Missing("all scans", label_map(root).name, "ScanNet: download-scannet.py --label_map")
    for scene in sorted(scenes):
        names, stream = missing_files(base / scene), missing_pictures(base / scene)
        if names or stream:
            kind = "" if names else " --type .sens"
            yield Missing(scene, ", ".join([*names, *stream]), f"ScanNet: download-scannet.py --id {scene}{kind}")

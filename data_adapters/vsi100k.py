"""VSI-100k and other files of rows: scenes to questions by a rule set, to parquet, and what was left out beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.files import write_text
from verl_vsi.data_adapters.leakage import reject_leaks
from verl_vsi.data_adapters.questions import Ambiguity, Quotas, build_questions, rule_set
from verl_vsi.data_adapters.questions.absent import absent_questions
from verl_vsi.data_adapters.questions.support import FrameAware, true_of_frames
from verl_vsi.data_adapters.rows import NoRowsError, rows_of, write_rows
from verl_vsi.data_adapters.schema import Rejected, Scene, sort_out


@dataclass(frozen=True)
class BuildPlan:
    """How rows are made of scenes; the fingerprint repeats it.

    Args:
        rules: name of the rule set.
        seed: of every random choice.
        split: ``train``, ``val`` or ``test``.
        published: let scenes of the benchmark and ScanNet's val scans in, as in the paper's own set.
        quotas: None: the rule set's own.
        ambiguity: margins; zero as in the paper.
        tasks: only these; None: all.
        frames: what rows say of the frames that show what they ask for, and whether answers follow them.
        absent: further questions a scene about objects that it does not have.
    """

    rules: str = "paper"
    seed: int = 0
    split: str = "train"
    published: bool = False
    quotas: Quotas | None = None
    ambiguity: Ambiguity = field(default_factory=Ambiguity)
    tasks: Sequence[str] | None = None
    frames: FrameAware = field(default_factory=FrameAware)
    absent: int = 0


def build_rows(path: str | Path, scenes: Iterable[Scene | Rejected], plan: BuildPlan, source: str) -> RowsOutcome:
    """Make questions of scenes and write them.

    Args:
        path: the parquet file; what was left out goes to ``<path>.rejected.jsonl``.
        scenes: of any source.
        plan: the rules.
        source: where the scenes come from, for the fingerprint.

    Raises:
        ValueError: an unknown rule set or task, or no question was left.
    """
    usable, rejected = sort_out(reject_leaks(scenes, plan.published))
    about = {"builder": "data build", "source": source, "scenes": len(usable), **_settings(plan)}
    return write_outcome(path, chain(rejected, _rows(usable, plan)), about)


def _rows(scenes: list[Scene], plan: BuildPlan) -> Iterator[dict[str, Any] | Rejected]:
    questions = build_questions(
        scenes, plan.rules, seed=plan.seed, quotas=plan.quotas, ambiguity=plan.ambiguity, tasks=plan.tasks
    )
    if plan.absent:
        questions = chain(questions, absent_questions(scenes, plan.rules, plan.absent, plan.seed))
    held = ((true_of_frames(question, scene, plan.frames), scene) for question, scene in questions)
    return rows_of(held, data_source=rule_set(plan.rules).data_source, split=plan.split)


def _settings(plan: BuildPlan) -> dict[str, Any]:
    quotas = plan.quotas or rule_set(plan.rules).quotas
    return {
        "rules": plan.rules,
        "seed": plan.seed,
        "published": plan.published,
        "quotas": {"total": dict(quotas.total), "per_scene": dict(quotas.per_scene)},
        "ambiguity": asdict(plan.ambiguity),
        **({"absent": plan.absent} if plan.absent else {}),
        **({"frame_aware": plan.frames.answers.choice, "unseen": plan.frames.unseen} if plan.frames.answers else {}),
    }


@dataclass(frozen=True)
class RowsOutcome:
    """What came of a build or an import.

    Args:
        path: the parquet file.
        fingerprint: as in its metadata; ``rows`` says how many.
        reasons: why things were left out -> how many.
        rejected: the file that lists them; None: nothing was left out.
    """

    path: Path
    fingerprint: Mapping[str, Any]
    reasons: Mapping[str, int]
    rejected: Path | None


def rejected_file(path: str | Path) -> Path:
    """``train.rejected.jsonl`` beside ``train.parquet``."""
    return Path(path).with_suffix(".rejected.jsonl")


def write_outcome(
    path: str | Path, items: Iterable[dict[str, Any] | Rejected], about: Mapping[str, Any]
) -> RowsOutcome:
    """Write rows to `path` and what was rejected beside it.

    Args:
        path: the parquet file.
        items: rows, and a `Rejected` for each that could not be made; taken one at a time.
        about: what the fingerprint says beside the content's digest.

    Raises:
        NoRowsError: no row was left; the file of rejections is written all the same.
    """
    rejected: list[Rejected] = []
    try:
        fingerprint = write_rows(path, _without_rejected(items, rejected), about)
    except NoRowsError as error:
        counts = ", ".join(f"{n} x {reason}" for reason, n in Counter(r.reason for r in rejected).items())
        hint = f"all was left out: {counts}; see {rejected_file(path)}" if rejected else "there was nothing to ask"
        raise NoRowsError(f"{error}; {hint}") from None
    finally:
        listing = _write_rejected(rejected_file(path), rejected)
    return RowsOutcome(Path(path), fingerprint, Counter(r.reason for r in rejected), listing)


def _without_rejected(items: Iterable[dict[str, Any] | Rejected], rejected: list[Rejected]) -> Iterator[dict[str, Any]]:
    for item in items:
        if isinstance(item, Rejected):
            rejected.append(item)
        else:
            yield item


def _write_rejected(path: Path, rejected: list[Rejected]) -> Path | None:
    if not rejected:
        path.unlink(missing_ok=True)  # a former build's
        return None
    write_text(path, "".join(json.dumps(asdict(r)) + "\n" for r in rejected))
    return path

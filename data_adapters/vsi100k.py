"""Scenes to a file of rows: guard, questions, parquet, and what was left out beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters.leakage import guard
from verl_vsi.data_adapters.outcome import Outcome, write_outcome
from verl_vsi.data_adapters.questions import Ambiguity, Quotas, build_questions, rule_set
from verl_vsi.data_adapters.rows import rows_of
from verl_vsi.data_adapters.scenes import Scene
from verl_vsi.data_adapters.sources import Rejected, sort_out


@dataclass(frozen=True)
class Plan:
    """How rows are made of scenes; the fingerprint repeats it.

    Args:
        rules: name of the rule set.
        seed: of every random choice.
        split: ``train``, ``val`` or ``test``.
        published: let scenes of the benchmark and ScanNet's val scans in, as in the paper's own set.
        quotas: None: the rule set's own.
        ambiguity: margins; zero as in the paper.
        tasks: only these; None: all.
    """

    rules: str = "paper"
    seed: int = 0
    split: str = "train"
    published: bool = False
    quotas: Quotas | None = None
    ambiguity: Ambiguity = field(default_factory=Ambiguity)
    tasks: Sequence[str] | None = None


def build(path: str | Path, found: Iterable[Scene | Rejected], plan: Plan, source: str) -> Outcome:
    """Make questions of scenes and write them.

    Args:
        path: the parquet file; what was left out goes to ``<path>.rejected.jsonl``.
        found: scenes of any source.
        plan: the rules.
        source: where the scenes come from, for the fingerprint.

    Raises:
        ValueError: an unknown rule set or task, or no question was left.
    """
    scenes, rejected = sort_out(guard(found, plan.published))
    about = {"builder": "data build", "source": source, "scenes": len(scenes), **_settings(plan)}
    return write_outcome(path, chain(rejected, _rows(scenes, plan)), about)


def _rows(scenes: list[Scene], plan: Plan) -> Iterator[dict[str, Any]]:
    questions = build_questions(
        scenes, plan.rules, seed=plan.seed, quotas=plan.quotas, ambiguity=plan.ambiguity, tasks=plan.tasks
    )
    return rows_of(questions, data_source=rule_set(plan.rules).data_source, split=plan.split)


def _settings(plan: Plan) -> dict[str, Any]:
    quotas = plan.quotas or rule_set(plan.rules).quotas
    return {
        "rules": plan.rules,
        "seed": plan.seed,
        "published": plan.published,
        "quotas": {"total": dict(quotas.total), "per_scene": dict(quotas.per_scene)},
        "ambiguity": asdict(plan.ambiguity),
    }

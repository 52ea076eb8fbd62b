"""Rewards of many responses as means per task: what verl shows in validation, and leaves out in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping


def means(rows: Iterable[tuple[str, Mapping[str, object]]], prefix: str = "train-aux") -> dict[str, float]:
    """The mean of every part of the reward, per data source and over all.

    Args:
        rows: (data source, what `compute_score` returned), one a response.
        prefix: of the names, after verl's own `val-aux/<data_source>/<part>`.

    Returns:
        `<prefix>/<data source>/<part>/mean`, and `<prefix>/all/<part>/mean` over all responses. Text is left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for source, parts in rows:
        for part, value in parts.items():
            if isinstance(value, int | float):
                values[f"{prefix}/{source}/{part}/mean"].append(value)
                values[f"{prefix}/all/{part}/mean"].append(value)
    return {name: sum(several) / len(several) for name, several in sorted(values.items())}


def constant_terms(rows: Iterable[tuple[str, Mapping[str, object]]]) -> list[str]:
    """Reward terms that gave every response the same: they teach nothing (GRPO compares within a group)."""
    seen: dict[str, set[object]] = defaultdict(set)
    for _, parts in rows:
        for part, value in parts.items():
            if part.startswith("reward/"):
                seen[part].add(value)
    return sorted(part.removeprefix("reward/") for part, several in seen.items() if len(several) == 1)

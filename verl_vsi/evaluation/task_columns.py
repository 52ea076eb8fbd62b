"""Which tasks a score averages over: VSI-Bench's eight, the six of VSI-100k, or those present (arXiv 2412.14171)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from verl_vsi.data_adapters import schema as t
from verl_vsi.data_adapters.revsi import TYPES as REVSI_TYPES

DIRECTION = "object_rel_direction"
"""The three direction types as one column of the table."""

COLUMNS = (*t.NUMERIC, t.REL_DISTANCE, DIRECTION, t.ROUTE, t.APPEARANCE)
"""The eight tasks, in the order of the benchmark's table."""

SHORT = {
    t.COUNTING: "count",
    t.ABS_DISTANCE: "abs.dist",
    t.OBJECT_SIZE: "size",
    t.ROOM_SIZE: "room",
    t.REL_DISTANCE: "rel.dist",
    DIRECTION: "rel.dir",
    t.ROUTE: "route",
    t.APPEARANCE: "order",
}
"""Heads of table columns."""


class MissingTaskError(ValueError):
    """The questions do not hold the tasks that the average is taken over."""


@dataclass(frozen=True)
class TaskSet:
    """The question types that must be there for an average to mean what its name says.

    Args:
        name: as ``--tasks`` takes it.
        label: what a table says beside the average.
        types: question types; None: whichever are present.
    """

    name: str
    label: str
    types: tuple[str, ...] | None


VSIBENCH = TaskSet("vsibench", "macro average of VSI-Bench's eight tasks", t.TASKS)
REVSI = TaskSet("revsi", "macro average of ReVSI's seven tasks", tuple(REVSI_TYPES))
VSI100K = TaskSet("vsi100k", "macro average of VSI-100k's six tasks", (*t.NUMERIC, t.REL_DISTANCE, t.DIRECTION_EASY))
PRESENT = TaskSet("present", "macro average of the tasks present", None)
TASK_SETS = {s.name: s for s in (VSIBENCH, VSI100K, REVSI, PRESENT)}


def column_of(task: str) -> str:
    """The table column of a question type, VSI-Bench's or ReVSI's.

    Raises:
        ValueError: no such type.
    """
    task = REVSI_TYPES.get(task, task)
    if task in t.DIRECTIONS:
        return DIRECTION
    if task not in COLUMNS:
        raise ValueError(f"task '{task}' is none of VSI-Bench's; they are {', '.join(t.TASKS)}")
    return task


def declared_by(data_sources: Iterable[str]) -> TaskSet:
    """The task set that rows declare by their data source; `PRESENT` where they are mixed or foreign."""
    prefixes = {source.split("/", 1)[0] for source in data_sources}
    return TASK_SETS.get(prefixes.pop(), PRESENT) if len(prefixes) == 1 else PRESENT


def check_tasks(tasks: Iterable[str], task_set: TaskSet) -> None:
    """Refuse an average over tasks that are not there.

    Args:
        tasks: question types, as often as they come.
        task_set: what is averaged over.

    Raises:
        MissingTaskError: there is no question at all, or none of a type that `task_set` averages over.
    """
    present = set(tasks)
    if not present:
        raise MissingTaskError("there are no questions to average over")
    for task in present:
        column_of(task)
    missing = [task for task in task_set.types or () if task not in present]
    if missing:
        raise MissingTaskError(
            f"no question of {', '.join(missing)}: the {task_set.label} is not defined here. "
            f"Evaluate the whole set, or declare another average with --tasks ({', '.join(TASK_SETS)})"
        )

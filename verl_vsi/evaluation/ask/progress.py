"""How far an evaluation is, and its score so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verl_vsi.evaluation.ask.items import Item
from verl_vsi.evaluation.ask.journal import Reply
from verl_vsi.evaluation.ask.protocol import Protocol
from verl_vsi.evaluation.score.result import grade
from verl_vsi.evaluation.score.task_columns import column_of


class RunningScore:
    """The average over the tasks seen so far; an estimate, since questions come scene by scene.

    Args:
        items: questions by index.
        protocol: how answers are read.
        replies: those of earlier starts.
    """

    def __init__(self, items: Mapping[int, Item], protocol: Protocol, replies: Iterable[Reply] = ()) -> None:  # noqa: D107
        self._items, self._protocol = items, protocol
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        for reply in replies:
            self.add(reply)

    def add(self, reply: Reply) -> None:
        """Count a reply."""
        item = self._items[reply.index]
        entry = self._sums[column_of(item.task)]
        entry[0] += grade(item, reply.text, self._protocol).score
        entry[1] += 1

    @property
    def said(self) -> str:
        """For the bar."""
        means = [total / n for total, n in self._sums.values()]
        return f"score so far {100 * sum(means) / len(means):.1f}" if means else ""


def progress_bar(console: Console) -> Progress:
    """A bar with the running score in its `score` field."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[score]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )

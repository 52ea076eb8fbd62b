"""Pictures: bars a task and training curves, readable in print, in grey and by the colour-blind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from verl_vsi.data_adapters.files import atomic_path
from verl_vsi.evaluation.report.tables import Cell, TableRow, columns_of
from verl_vsi.evaluation.report.training_logs import REWARD, Series, TrainingLog, mean_series
from verl_vsi.evaluation.task_columns import SHORT

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette: apart for the colour-blind."""
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 3)), (0, (1, 2)))
MARKS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++", "oo")
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "text.parse_math": False,  # a run's name may hold dollars
}
SMOOTHED_FROM = 30
"""Points from which a curve is drawn as its running mean."""
WINDOW = 9

PAPERS_TERMS = ("accuracy", "format", "length")

Panel = tuple[str, str, Callable[[TrainingLog], Series | None]]
"""Title, unit, curve."""


def _metric(*names: str) -> Callable[[TrainingLog], Series | None]:
    """The first of verl's metrics that a run has."""
    return lambda run: next((s for name in names if (s := run.series(name)) is not None), None)


PANELS: tuple[Panel, ...] = (
    ("KL to the reference", "nats a token (k3)", _metric("actor/kl_loss")),
    ("response length", "tokens", _metric("response_length/mean")),
    ("held-out score", "%, average over tasks", lambda run: _percent(run.held_out())),
    ("SFT loss", "nats a token", _metric("train/loss")),
)


def panels(runs: Sequence[TrainingLog]) -> list[Panel]:
    """A panel for every reward term that some run logs, the paper's first, then `PANELS`."""
    terms = {term for run in runs for term in run.reward_terms()} or {"accuracy"}
    order = [term for term in PAPERS_TERMS if term in terms] + sorted(terms - {*PAPERS_TERMS})
    return [(f"{term} reward", "mean over responses", _reward(term)) for term in order] + [*PANELS]


def _reward(term: str) -> Callable[[TrainingLog], Series | None]:
    """A term's curve; verl's own score stands for accuracy in logs of other rewards."""
    return _metric(REWARD.format(term), *(["critic/score/mean"] if term == "accuracy" else []))


def draw_curves(runs: Sequence[TrainingLog], path: Path, entries: Sequence[str] = ()) -> list[str]:
    """Draw every panel that some run has a curve for, runs overlaid; those of one name in one colour, with their mean.

    Args:
        runs: what `training_logs.read_run` gave.
        path: the picture; .png or .pdf.
        entries: names of the rows of other pictures; a run of such a name has that row's colour.

    Returns:
        titles of the panels drawn.

    Raises:
        ValueError: no run has any of the curves.
    """
    groups: dict[str, list[TrainingLog]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    drawn = [panel for panel in (_panel(p, groups) for p in panels(runs)) if any(panel[2].values())]
    if not drawn:
        raise ValueError(f"{', '.join(groups)}: none of verl's metrics to draw is in the logs")
    places = {name: place for place, name in enumerate(dict.fromkeys([*entries, *groups]))}
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    with figure(path, (3.4 * columns, 2.5 * rows + 0.4), rows, columns) as (drawing, axes):
        for axis, (title, unit, curves) in zip(axes.flat, drawn, strict=False):
            axis.set(title=title, ylabel=unit, xlabel="training step")
            for name, series in curves.items():
                _curves(axis, series, name, places[name])
        for axis in axes.flat[len(drawn) :]:
            axis.remove()
        _legend(drawing, axes.flat[: len(drawn)])
    return [title for title, _, _ in drawn]


@contextmanager
def figure(path: Path, size: tuple[float, float], rows: int = 1, columns: int = 1) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, (rows, columns), written whole when the block ends well; no display is needed.

    Args:
        path: the picture; .png or .pdf.
        size: width and height in inches.
        rows: of axes.
        columns: of axes.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        drawing = Figure(figsize=size, layout="constrained")
        yield drawing, drawing.subplots(rows, columns, squeeze=False)
    with atomic_path(path) as temporary:
        drawing.savefig(temporary, dpi=200)


def _panel(panel: Panel, groups: Mapping[str, Sequence[TrainingLog]]) -> tuple[str, str, dict[str, list[Series]]]:
    """A panel's curves by name; an empty list where a name's runs have none, so that names keep their colours."""
    title, unit, curve = panel
    return title, unit, {name: [s for run in g if (s := curve(run)) is not None] for name, g in groups.items()}


def draw_tasks(
    rows: Sequence[TableRow], path: Path, unit: str = "score, %", colours: Sequence[int] | None = None
) -> None:
    """Bars a task and the average, with 95 % intervals where a row has them.

    Args:
        rows: at most seven are told apart.
        path: the picture.
        unit: what the bars say.
        colours: place in `COLOURS` of each row; None: as the rows stand.
    """
    columns = columns_of(rows)
    labels = ["average", *[SHORT[c] for c in columns]]
    width = 0.82 / len(rows)
    with figure(path, (1.0 * len(labels) + 1.6, 3.2)) as (drawing, axes):
        axis = axes.flat[0]
        for place, row in enumerate(rows):
            cells = [row.overall, *[row.task(c) for c in columns]]
            at = np.arange(len(labels)) + (place - (len(rows) - 1) / 2) * width
            _bars(axis, at, cells, width, row.name, (place if colours is None else colours[place], place))
        whiskers = "\n(whiskers: 95 % intervals)" if any(row.overall.low is not None for row in rows) else ""
        axis.set(ylabel=f"{unit}{whiskers}")
        axis.set_xticks(range(len(labels)), labels)
        axis.grid(visible=False, axis="x")
        axis.axvline(0.5, color="0.7", linewidth=0.8)
        axis.axhline(0, color="0.25", linewidth=0.8)
        _legend(drawing, axes.flat)


def _bars(axis: Any, at: Any, cells: Sequence[Cell], width: float, name: str, places: tuple[int, int]) -> None:
    """One row's bars; `places` of its colour and of its hatch."""
    means = [np.nan if c.mean is None else c.mean for c in cells]
    below = [0.0 if c.low is None or c.mean is None else c.mean - c.low for c in cells]
    above = [0.0 if c.high is None or c.mean is None else c.high - c.mean for c in cells]
    axis.bar(
        at,
        means,
        width,
        label=name,
        color=COLOURS[places[0] % 7],
        hatch=HATCHES[places[1] % 7],
        edgecolor="white",
        linewidth=0.4,
        yerr=[below, above] if any(below + above) else None,
        error_kw={"elinewidth": 0.9, "capsize": 1.5, "ecolor": "0.25"},
    )


def _curves(axis: Any, runs: Sequence[Series], name: str, place: int) -> None:
    """One curve; of several runs, each faint and their mean."""
    if len(runs) > 1:
        for series in runs:
            axis.plot(series.steps, _smooth(series), color=COLOURS[place % 7], alpha=0.35, linewidth=0.8)
        _curve(axis, mean_series(runs), f"{name}, mean of {len(runs)} runs", place)
    elif runs:
        (series,) = runs
        if len(series.steps) >= SMOOTHED_FROM:
            axis.plot(series.steps, series.values, color=COLOURS[place % 7], alpha=0.25, linewidth=0.8)
        _curve(axis, series, name, place)


def _curve(axis: Any, series: Series, name: str, place: int) -> None:
    few = {"marker": MARKS[place % 7], "markersize": 3.5} if len(series.steps) < SMOOTHED_FROM else {}
    style = {"color": COLOURS[place % 7], "linestyle": LINES[place % 7]}
    axis.plot(series.steps, _smooth(series), label=name, **style, **few)


def _smooth(series: Series) -> Any:
    """A long curve's running mean; a short curve as it is."""
    return running_mean(series.values, WINDOW) if len(series.steps) >= SMOOTHED_FROM else series.values


def running_mean(values: Any, window: int) -> Any:
    """Centred means, over fewer points at the ends.

    Args:
        values: (N,) what is smoothed.
        window: points a mean.

    Returns:
        (N,) means.
    """
    ones = np.ones(window)
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def _percent(series: Series | None) -> Series | None:
    return None if series is None else Series(series.steps, 100 * series.values)


def _legend(drawing: Any, axes: Any) -> None:
    """One legend for all panels, above them."""
    handles = {label: h for axis in axes for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawing.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=min(4, len(handles)), frameon=False
    )

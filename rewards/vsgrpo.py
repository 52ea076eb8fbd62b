"""The function that verl calls for every response.

    reward.custom_reward_function.path=pkg://verl_vsi.rewards.vsgrpo
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs={terms: {accuracy: 1.0, format: 1.0}, tag: think}

A bad response is data: any text gets a score. A bad row or a bad setting is a mistake, and is named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_args

from verl_vsi.rewards import terms as _built_in  # noqa: F401  (registers the built-in terms)
from verl_vsi.rewards.answers import EXTRACTIONS, Kind
from verl_vsi.rewards.answers.units import WANTED
from verl_vsi.rewards.formats import FORMATS
from verl_vsi.rewards.metrics import NUMERIC
from verl_vsi.rewards.registry import TERMS, Response
from verl_vsi.rewards.terms import score_answer

PAPER: dict[str, float] = {"accuracy": 1.0, "format": 1.0}
"""The paper's terms and weights; a plain sum, as in R1-V, on which it is built."""


@dataclass(frozen=True)
class Settings:
    """What a recipe says about the reward (`vsi.reward`, and the tag of `vsi.mode`).

    Args:
        terms: weight of each term; the score is the weighted sum. `format` counts only where there is a tag.
        numeric: `min_relative`, `inverse`, `mra` or `exact`.
        extraction: `official`, `harness` or `robust`.
        format: `strict` or `r1v`.
        tag: `think`, `observe`, or None for the vanilla mode.
        length_cap: characters at which the length term is full.
        modules: Python modules to import first: those that hold terms of one's own.

    Raises:
        ValueError: a name that nothing has, or a weight that is no number.
    """

    terms: Mapping[str, float]
    numeric: str = "min_relative"
    extraction: str = "robust"
    format: str = "strict"
    tag: str | None = None
    length_cap: int = 1000
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Import the user's modules, then hold every name against what is registered."""
        for module in self.modules:
            import_module(module)
        for name, known in (("numeric", NUMERIC), ("extraction", EXTRACTIONS), ("format", FORMATS)):
            _one_of(f"reward.{name}", getattr(self, name), known)
        for name, weight in self.terms.items():
            _one_of("reward.terms", name, TERMS)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
                raise ValueError(f"reward.terms.{name}: a weight is a finite number, got {weight!r}")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term that counts."""
        return {name: float(weight) for name, weight in self.terms.items() if self.tag or name != "format"}


def compute_score(
    data_source: str,
    solution_str: str | bytes | None,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    terms: Mapping[str, float] = PAPER,
    numeric: str = "min_relative",
    extraction: str = "robust",
    format: str = "strict",
    tag: str | None = None,
    length_cap: int = 1000,
    modules: Iterable[str] = (),
    reward_router_address: object = None,
    reward_model_tokenizer: object = None,
) -> dict[str, float | str]:
    """Score one response.

    Args:
        data_source: `vsi100k/<task>` or `vsibench/<task>`.
        solution_str: the response, decoded; None counts as empty.
        ground_truth: the truth as text.
        extra_info: the row's own; `task`, `kind` and `options` are used where present.
        terms, numeric, extraction, format, tag, length_cap, modules: see `Settings`.
        reward_router_address, reward_model_tokenizer: verl passes them where a reward model runs; unused.

    Returns:
        The same keys for every row of a run, as verl demands: `score` (the weighted sum), `acc` (the benchmark's own
        score of the answer, exact match or MRA, whatever the reward), `reward/<term>` (each term, unweighted),
        `parse_failure` and `format_failure` (1 or 0), `pred` (the answer as read, for the logs).

    Raises:
        ValueError: a setting or a row that makes no sense, named.
    """
    settings = Settings(terms, numeric, extraction, format, tag or None, length_cap, tuple(modules))
    return grade(respond(data_source, solution_str, ground_truth, extra_info or {}, settings), settings)


def respond(
    data_source: str, text: str | bytes | None, truth: str, extra_info: Mapping[str, Any], settings: Settings
) -> Response:
    """A row and a response as the terms see them."""
    task = str(extra_info.get("task") or data_source.rpartition("/")[2])
    kind = extra_info.get("kind") or _kind(task, str(truth))
    row = f"row {extra_info.get('index', '?')} of {data_source}"
    _one_of(f"{row}: kind", kind, get_args(Kind))
    if kind == "number":
        _finite(row, truth)
    options = extra_info.get("options")
    return Response(
        text=text.decode(errors="replace") if isinstance(text, bytes) else str(text or ""),
        truth=str(truth),
        task=task,
        kind=kind,
        options=() if options is None else tuple(options),
        tag=settings.tag,
        extraction=settings.extraction,
        numeric=settings.numeric,
        format=settings.format,
        length_cap=settings.length_cap,
    )


def grade(response: Response, settings: Settings) -> dict[str, float | str]:
    """The score of a response and its parts, as `compute_score` returns them."""
    parts = {name: float(TERMS[name](response)) for name in settings.weights}
    return {
        "score": sum(weight * parts[name] for name, weight in settings.weights.items()),
        "acc": score_answer(response, "mra"),
        **{f"reward/{name}": value for name, value in parts.items()},
        "parse_failure": float(response.answer is None),
        "format_failure": float(bool(response.tag) and not FORMATS[response.format](response.text, response.tag or "")),
        "pred": "" if response.answer is None else str(response.answer)[:80],
    }


def _kind(task: str, truth: str) -> Kind:
    if task in WANTED:
        return "number"
    return "choice" if len(truth) == 1 and truth.isupper() else "word"


def _finite(row: str, truth: str) -> None:
    try:
        finite = math.isfinite(float(truth))
    except ValueError:
        finite = False
    if not finite:
        raise ValueError(f"{row}: ground truth {truth!r} is not a number; rebuild the rows (verl-vsi data build)")


def _one_of(what: str, value: object, known: Iterable[object]) -> None:
    if value not in known:
        raise ValueError(f"{what}: '{value}' is unknown; one of {', '.join(sorted(map(str, known)))}")

"""The function that verl calls for every response.

    reward.custom_reward_function.path=pkg://verl_vsi.rewards.vsgrpo
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs={terms: {accuracy: 1.0, format: 1.0}, tag: think}

A bad response is data: any text gets a score. A bad row or a bad setting is a mistake, and is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from verl_vsi.rewards.answers import Kind
from verl_vsi.rewards.answers.units import TASK_UNITS
from verl_vsi.rewards.formats import FORMATS
from verl_vsi.rewards.metrics import is_finite
from verl_vsi.rewards.terms import TERMS, Response, RewardSettings, one_of, score_answer


def compute_score(
    data_source: str,
    solution_str: str | bytes | None,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward_router_address: object = None,
    reward_model_tokenizer: object = None,
    **settings: Any,
) -> dict[str, float | str]:
    """Score one response.

    Args:
        data_source: `vsi100k/<task>` or `vsibench/<task>`.
        solution_str: the response, decoded; None counts as empty.
        ground_truth: the truth as text.
        extra_info: the row's own; `task`, `kind`, `options` and `index` are used where present.
        reward_router_address, reward_model_tokenizer: verl passes them where a reward model runs; unused.
        settings: see `RewardSettings`.

    Returns:
        The same keys for every row of a run, as verl demands: `score` (the weighted sum), `acc` (the benchmark's own
        score of the answer, exact match or MRA, whatever the reward), `reward/<term>` (each term, unweighted),
        `parse_failure` and `format_failure` (1 or 0), `pred` (the answer as read, for the logs).

    Raises:
        ValueError: a setting or a row that makes no sense, named.

    Example:
        Five chairs where there are four, in the think mode's format: d is 1/4 of the truth, so accuracy is 1 - 1/4.

        >>> response = "<think>Three here, two there.</think><answer>5</answer>"
        >>> for name, value in compute_score("vsi100k/object_counting", response, "4", tag="think").items():
        ...     print(f"{name:16}{value}")
        score           1.75
        acc             0.6
        reward/accuracy 0.75
        reward/format   1.0
        parse_failure   0.0
        format_failure  0.0
        pred            5.0
    """
    return grade(respond(data_source, solution_str, ground_truth, extra_info or {}, RewardSettings(**settings)))


def respond(
    data_source: str, text: str | bytes | None, truth: str, extra_info: Mapping[str, Any], settings: RewardSettings
) -> Response:
    """A row and a response, as the terms see them.

    Args:
        data_source: see `compute_score`.
        text: the response, decoded; None counts as empty.
        truth: the ground truth as text.
        extra_info: the row's own.
        settings: what the recipe says.

    Raises:
        ValueError: the row makes no sense.
    """
    task = str(extra_info.get("task") or data_source.rpartition("/")[2])
    kind = extra_info.get("kind") or kind_of(task, str(truth))
    row = f"row {extra_info.get('index', '?')} of {data_source}:"
    one_of(f"{row} kind", kind, get_args(Kind))
    if kind == "number" and not is_finite(truth):
        raise ValueError(f"{row} its truth {truth!r} is not a number; rebuild the rows (verl-vsi data build)")
    options = extra_info.get("options")
    return Response(
        text=text.decode(errors="replace") if isinstance(text, bytes) else str(text or ""),
        truth=str(truth),
        task=task,
        kind=kind,
        settings=settings,
        options=() if options is None else tuple(options),
    )


def grade(response: Response) -> dict[str, float | str]:
    """The score of a response and its parts, as `compute_score` returns them."""
    settings = response.settings
    parts = {name: float(TERMS[name](response)) for name in settings.weights}
    failed = settings.tag and not FORMATS[settings.format](response.text, settings.tag)
    return {
        "score": sum((weight * parts[name] for name, weight in settings.weights.items()), 0.0),
        "acc": score_answer(response, "mra"),
        **{f"reward/{name}": value for name, value in parts.items()},
        "parse_failure": float(response.answer is None),
        "format_failure": float(bool(failed)),
        "pred": "" if response.answer is None else _printable(str(response.answer)[:80]),
    }


def _printable(text: str) -> str:
    """Logs are read in terminals and written as UTF-8: no control character and no lone surrogate gets there."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def kind_of(task: str, truth: str) -> Kind:
    """How a row is scored that does not say it: numeric tasks as numbers, a capital letter as a choice, else as a word.

    Args:
        task: VSI-Bench's task name, or another.
        truth: the ground truth.
    """
    if task in TASK_UNITS:
        return "number"
    return "choice" if len(truth) == 1 and truth.isupper() else "word"

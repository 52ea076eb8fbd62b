"""What one scores without looking: chance, the most frequent answer, the best constant; from the same questions.

VSI-Bench's own "chance (frequency)" row answers each question type with its most frequent answer, counted on the very
questions that are scored (2412.14171, section 4); so does `frequency` where no training rows are given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from verl_vsi.data_adapters.answer_choices import named_choices
from verl_vsi.evaluation.items import Item
from verl_vsi.evaluation.score.scores import Scores, summarise
from verl_vsi.evaluation.task_columns import TaskSet
from verl_vsi.rewards.metrics import exact_match, mean_relative_accuracy, min_relative

MEANING = {
    "chance": "expected score of an answer drawn from those that the other questions of the task have, "
    "or from the options where the question names them",
    "frequency": "the task's most frequent answer, every time",
    "best_constant": "the one answer (or place among the options) a task that scores best, every time",
}
CANDIDATES = 400
"""Most constants tried a task; more distinct answers are thinned evenly."""


def baselines(
    items: Sequence[Item], task_set: TaskSet, *, source: Sequence[Item] | None = None, seed: int = 0
) -> dict[str, dict[str, Scores]]:
    """Score and reward of each row of `MEANING` on `items`.

    Args:
        items: the questions.
        task_set: the tasks of the average.
        source: training questions to count answers in; None: `items` themselves.
        seed: of the bootstrap.

    Returns:
        name -> {"score", "reward"}, in 0 to 1.
    """
    groups, counted = _by_task(items), _by_task(source or items)
    result = {}
    for name, rule in _RULES.items():
        rows = [row for task, group in groups.items() for row in rule(group, counted.get(task, group))]
        tasks = [item.task for group in groups.values() for item in group]
        result[name] = {
            "score": summarise(tasks, [score for score, _ in rows], task_set, seed=seed),
            "reward": summarise(tasks, [reward for _, reward in rows], task_set, seed=seed),
        }
    return result


def value(item: Item, answer: str) -> tuple[float, float]:
    """(score, accuracy reward) of giving an answer, both 0 to 1.

    Args:
        item: the question.
        answer: as text; a number as Python reads it.
    """
    if item.kind == "number":
        number, truth = float(answer), float(item.truth)
        return mean_relative_accuracy(number, truth), min_relative(number, truth)
    same = exact_match(answer, item.truth)
    return same, same


def choices(item: Item) -> list[str]:
    """The answers that the question itself names: letters, the objects in its brackets, or left and right."""
    named = named_choices(item.question, item.options, item.kind, item.truth)
    return [option.split(".", 1)[0] for option in named] if item.options else named


def _by_task(items: Sequence[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.task].append(item)
    return dict(sorted(groups.items()))


Rows = list[tuple[float, float]]
"""(score, accuracy reward) of each question."""


def _chance(group: Sequence[Item], counted: Sequence[Item]) -> Rows:
    shares = Counter(item.truth for item in counted)
    return [_mean(item, Counter(choices(item)) or shares) for item in group]


def _mean(item: Item, shares: Mapping[str, int]) -> tuple[float, float]:
    values = [(n, value(item, answer)) for answer, n in shares.items()]
    total = sum(n for n, _ in values)
    return sum(n * v[0] for n, v in values) / total, sum(n * v[1] for n, v in values) / total


def _frequency(group: Sequence[Item], counted: Sequence[Item]) -> Rows:
    answer = Counter(item.truth for item in counted).most_common(1)[0][0]
    return [value(item, answer) for item in group]


def _best_constant(group: Sequence[Item], counted: Sequence[Item]) -> Rows:
    best = max(_constants(counted), key=lambda answer: sum(_constant_value(item, answer)[0] for item in counted))
    return [_constant_value(item, best) for item in group]


def _constants(counted: Sequence[Item]) -> list[str | int]:
    """Distinct answers, and places among the options for words that a question names."""
    answers = sorted({item.truth for item in counted})
    places = range(max((len(choices(item)) for item in counted if item.kind == "word"), default=0))
    return [*answers[:: len(answers) // CANDIDATES + 1], *places]


def _constant_value(item: Item, answer: str | int) -> tuple[float, float]:
    if isinstance(answer, str):
        return value(item, answer)
    names = choices(item)
    return value(item, names[answer]) if answer < len(names) else (0.0, 0.0)


_RULES: Mapping[str, Callable[[Sequence[Item], Sequence[Item]], Rows]] = {
    "chance": _chance,
    "frequency": _frequency,
    "best_constant": _best_constant,
}

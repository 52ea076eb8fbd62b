"""Scenes to questions by a rule set: ``paper`` (VSI-100k as the paper describes it) or ``vsibench``.

Every scene and task has a random stream of its own, so that a scene's questions do not depend on the other scenes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from verl_vsi.data_adapters.questions.paper import PAPER
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet
from verl_vsi.data_adapters.questions.vsibench import VSIBENCH
from verl_vsi.data_adapters.schema import Question, Scene

__all__ = ["RULE_SETS", "Ambiguity", "Quotas", "RuleSet", "build_questions", "rule_set"]

RULE_SETS: dict[str, RuleSet] = {rules.name: rules for rules in (PAPER, VSIBENCH)}


def rule_set(name: str) -> RuleSet:
    """The rule set of this name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    if name not in RULE_SETS:
        raise ValueError(f"there is no rule set '{name}'; there is {', '.join(RULE_SETS)}")
    return RULE_SETS[name]


def build_questions(
    scenes: Iterable[Scene],
    rules: str | RuleSet = "paper",
    *,
    seed: int = 0,
    quotas: Quotas | None = None,
    ambiguity: Ambiguity | None = None,
    tasks: Sequence[str] | None = None,
) -> Iterator[tuple[Question, Scene]]:
    """Make questions, scene by scene.

    The same scenes, seed and settings always give the same questions; what one scene gives with quotas per scene
    does not depend on the others.

    Args:
        scenes: read twice, so a list or tuple where there are totals to share out.
        rules: a rule set or its name.
        seed: of every random choice.
        quotas: in place of the rule set's own.
        ambiguity: margins; None: none, as in the paper.
        tasks: only these of the rule set's tasks.

    Raises:
        ValueError: an unknown rule set or task.
    """
    rules = rule_set(rules) if isinstance(rules, str) else rules
    names = tuple(rules.tasks) if tasks is None else tuple(tasks)
    unknown = [name for name in names if name not in rules.tasks]
    if unknown:
        raise ValueError(f"rule set '{rules.name}' has no task '{unknown[0]}'; it has {', '.join(rules.tasks)}")
    return _build(list(scenes), rules, names, seed, quotas or rules.quotas, ambiguity or Ambiguity())


def _build(
    scenes: list[Scene], rules: RuleSet, tasks: tuple[str, ...], seed: int, quotas: Quotas, ambiguity: Ambiguity
) -> Iterator[tuple[Question, Scene]]:
    shares = {t: quotas.shares(t, [rules.tasks[t].capacity(s) for s in scenes]) for t in tasks}
    for place, scene in enumerate(scenes):
        for task in tasks:
            if shares[task][place]:
                rng = Random(f"{seed}/{scene.dataset}/{scene.id}/{task}")
                for question in rules.tasks[task].make(scene, shares[task][place], rng, ambiguity):
                    yield question, scene

"""Scenes to questions by a rule set: quotas, seeds, and one random stream a scene and task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from verl_vsi.data_adapters.questions.paper import PAPER
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet
from verl_vsi.data_adapters.questions.vsibench import VSIBENCH
from verl_vsi.data_adapters.schema import Question, Scene

# MERGED The registry of rule sets.

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
    chosen = rule_set(rules) if isinstance(rules, str) else rules
    wanted = tuple(chosen.tasks) if tasks is None else tuple(tasks)
    unknown = [t for t in wanted if t not in chosen.tasks]
    if unknown:
        raise ValueError(f"rule set '{chosen.name}' has no task '{unknown[0]}'; it has {', '.join(chosen.tasks)}")
    return _build(list(scenes), chosen, wanted, seed, quotas or chosen.quotas, ambiguity or Ambiguity())


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

"""The registry of rule sets."""

from __future__ import annotations

from verl_vsi.data_adapters.questions.paper import PAPER
from verl_vsi.data_adapters.questions.rules import RuleSet
from verl_vsi.data_adapters.questions.vsibench import VSIBENCH

RULE_SETS: dict[str, RuleSet] = {rules.name: rules for rules in (PAPER, VSIBENCH)}


def rule_set(name: str) -> RuleSet:
    """The rule set of this name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    if name not in RULE_SETS:
        raise ValueError(f"there is no rule set '{name}'; there is {', '.join(RULE_SETS)}")
    return RULE_SETS[name]

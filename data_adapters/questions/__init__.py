"""Questions from scenes, by rule set: ``paper`` (VSI-100k as the paper describes it) or ``vsibench``."""

from verl_vsi.data_adapters.questions.registry import RULE_SETS, build_questions, rule_set
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet

__all__ = ["RULE_SETS", "Ambiguity", "Quotas", "RuleSet", "build_questions", "rule_set"]

"""Questions from scenes, by rule set: ``paper`` (VSI-100k as the paper describes it) or ``vsibench``."""

from verl_vsi.data_adapters.questions.build import build_questions
from verl_vsi.data_adapters.questions.rules import Ambiguity, Quotas, RuleSet
from verl_vsi.data_adapters.questions.sets import RULE_SETS, rule_set

__all__ = ["RULE_SETS", "Ambiguity", "Quotas", "RuleSet", "build_questions", "rule_set"]

"""Experiments as data: which runs, what they differ in, what is drawn.

Every run is `python -m verl.trainer.main_ppo +recipe=vsgrpo_miniature` with a few overrides more, so each can be
repeated by hand, and tried with another recipe at scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Panel(NamedTuple):
    """One panel of an experiment's picture."""

    measure: str
    """See `record.MEASURES` and `responses.CHECKS`."""
    title: str
    unit: str


SHARE = "share of responses"
REWARD = Panel("reward", "reward", "sum of the terms")
ACCURACY = Panel("accuracy", "accuracy reward", "mean of 0 to 1")
FORMAT = Panel("format", "format reward that is trained on", "mean of 0 to 1")
STRICT = Panel("strict", "strict format, scored afterwards", SHARE)
LENGTH = Panel("tokens", "response length", "tokens")
REPEATED = Panel("repeated", "a tag more than once", SHARE)
EMPTY = Panel("empty", "nothing in the thought", SHARE)
KL = Panel("kl", "KL to the reference", "nats a token (k3)")
HELD_OUT = Panel("held_out", "held-out score", "mean over tasks, 0 to 1")
ENTROPY = Panel("entropy", "entropy", "nats a token")


@dataclass(frozen=True)
class Variant:
    """Runs that differ in their seed alone.

    Args:
        label: what a legend calls it.
        overrides: what its command has beside the recipe.
        tag: of its mode; None for vanilla.
    """

    label: str
    overrides: tuple[str, ...]
    tag: str | None = None

    @property
    def slug(self) -> str:
        """The label as part of a folder's name."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.label).split())


@dataclass(frozen=True)
class Experiment:
    """One question that some runs answer.

    Args:
        name: of its files.
        question: in words, and where the paper speaks of it.
        variants: what is compared.
        panels: what is drawn.
        seeds: runs of each variant.
        steps: of training.
        model: what every run starts from; None: the base that ships with the package.
    """

    name: str
    question: str
    variants: tuple[Variant, ...]
    panels: tuple[Panel, ...]
    seeds: int
    steps: int
    model: Path | None = None


_LEARNING_RATE = "actor_rollout_ref.actor.optim.lr={}".format

MODES = Experiment(
    name="modes",
    question="Do the modes T, O and V train (arXiv 2504.00883, section 3 and Table 2)?",
    variants=(
        Variant("vanilla", ("mode=vanilla",)),
        Variant("think", ("mode=think",), "think"),
        Variant("observe", ("mode=observe",), "observe"),
    ),
    panels=(REWARD, ACCURACY, FORMAT, LENGTH, KL, HELD_OUT),
    seeds=1,
    steps=20,
)
"""At the recipe's own learning rate."""

HACKING = Experiment(
    name="hacking",
    question="What does a loose format with a length reward teach, and does the strict format pay for it (section 4)?",
    variants=(
        Variant("strict format", ("mode=observe", _LEARNING_RATE(6e-4)), "observe"),
        Variant(
            "loose format, length reward",
            (
                "mode=observe",
                "ablation=[loose_format,length_reward]",
                # 96 tokens, the miniature's budget, are some 500 characters
                "vsi.reward.length_cap=400",
                "vsi.reward.terms.length=2",
                _LEARNING_RATE(6e-4),
            ),
            "observe",
        ),
    ),
    panels=(LENGTH, FORMAT, STRICT, REPEATED, EMPTY, ACCURACY),
    seeds=1,
    steps=16,
)
"""Six times the recipe's learning rate, and a length reward as large as the other two: it shows within minutes."""

KL_ABLATION = Experiment(
    name="kl",
    question='Does KL off "easily lead to training collapse", and does beta = 1e-4 cure it (section 4)?',
    variants=(
        Variant("KL on", ("mode=think", _LEARNING_RATE(2e-3)), "think"),
        Variant("KL off", ("mode=think", "ablation=[no_kl]", _LEARNING_RATE(2e-3)), "think"),
    ),
    panels=(FORMAT, ACCURACY, REWARD, LENGTH, ENTROPY, KL),
    seeds=3,
    steps=16,
)
"""At a stress learning rate: twenty times the recipe's."""

ENGINES = Experiment(
    name="engines",
    question="Does verl's Megatron engine train as its FSDP2 engine does, from the same seeds?",
    variants=(Variant("FSDP2", ("backend=fsdp2",)), Variant("Megatron", ("backend=megatron",))),
    panels=(REWARD, KL, HELD_OUT),
    seeds=3,
    steps=60,
)
"""The recipe's own steps; needs the environment of `make megatron`."""

EXPERIMENTS = {experiment.name: experiment for experiment in (MODES, HACKING, KL_ABLATION, ENGINES)}
"""The experiments by name."""

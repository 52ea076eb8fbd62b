"""Questions about what a scene does not have: the true answer is 0, or "none".

Models trained by RL or SFT on spatial answers learn that there always is one: with the asked objects removed, SpaceR-7B
says 0 to 8 % of counts where its base says it to 56 % (ReVSI, arXiv 2604.24300). Rows that ask for what is not there
make looking pay. *Ours*; VSI-100k has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.questions import paper, vsibench
from verl_vsi.data_adapters.schema import Question, Scene

NONE = "none"
COUNT = {"paper": paper.WORDING.count, "vsibench": vsibench.WORDING.count}
"""Rule set -> its words for a count."""


def absent_questions(
    scenes: Sequence[Scene], rules: str, per_scene: int, seed: int = 0
) -> Iterator[tuple[Question, Scene]]:
    """Counts of absent objects, and with the paper's rules every second time the nearest object to one.

    Categories are drawn as often as scenes have them, so that a name alone does not tell.

    Args:
        scenes: whose categories are drawn from, and that are asked about.
        rules: name of the rule set.
        per_scene: questions a scene; fewer where all categories are there.
        seed: of every random choice.
    """
    having = Counter(category for scene in scenes for category in scene.counts)
    for scene in scenes:
        rng = Random(f"{seed}/{scene.dataset}/{scene.id}/absent")
        for number, category in enumerate(_drawn(having, scene, per_scene, rng)):
            yield _question(scene, rules, category, number, rng), scene


def _drawn(having: Counter[str], scene: Scene, count: int, rng: Random) -> list[str]:
    """Distinct categories that the scene lacks, each as likely as it is common."""
    missing = {category: scenes for category, scenes in sorted(having.items()) if not scene.counts.get(category)}
    keys = {category: rng.random() ** (1 / scenes) for category, scenes in missing.items()}  # Efraimidis, Spirakis 2006
    return sorted(keys, key=lambda category: -keys[category])[:count]


def _question(scene: Scene, rules: str, category: str, number: int, rng: Random) -> Question:
    present = [box.category for box in scene.singles]
    if rules == "paper" and number % 2 and len(present) >= paper.OTHERS:
        others = rng.sample(present, paper.OTHERS)
        text = f"Which of these objects ({', '.join(others)})is the closest to the {category}?"
        trace = {"rule": f"absent/{schema.REL_DISTANCE}", "objects": [category, *others], "value": NONE}
        return Question(schema.REL_DISTANCE, text, NONE, "word", scene.id, trace=trace)
    trace = {"rule": f"absent/{schema.COUNTING}", "objects": [category], "value": 0}
    return Question(schema.COUNTING, COUNT[rules].format(a=category), "0", "number", scene.id, trace=trace)

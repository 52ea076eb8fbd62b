"""Questions about what is not there: true in every scene, rewarded like others, and not told by the name alone."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from verl_vsi.data_adapters.frames.spec import FrameSpec
from verl_vsi.data_adapters.questions.absent import absent_questions
from verl_vsi.data_adapters.questions.support import FrameAware, true_of_frames
from verl_vsi.data_adapters.rows import iter_rows
from verl_vsi.data_adapters.schema import Question
from verl_vsi.data_adapters.synthetic_rooms import make_room
from verl_vsi.data_adapters.vsi100k import BuildPlan, build_rows
from verl_vsi.rewards.vsgrpo import compute_score

SCENES = [make_room(11, index).scene for index in range(40)]


@pytest.mark.parametrize("rules", ["paper", "vsibench"])
def test_the_scene_has_none_of_what_is_asked(rules: str) -> None:
    questions = list(absent_questions(SCENES, rules, 4))
    assert len(questions) == 4 * len(SCENES)
    for question, scene in questions:
        assert not scene.counts.get(question.trace["objects"][0])
        assert question.answer == ("0" if question.task == "object_counting" else "none")
        if question.task == "object_rel_distance":
            assert all(scene.counts[other] == 1 for other in question.trace["objects"][1:])
    assert {q.task for q, _ in questions} == ({"object_counting", "object_rel_distance"} if rules == "paper" else {
        "object_counting"
    })  # fmt: skip


def test_common_objects_are_asked_for_most_where_they_are_missing() -> None:
    """Each category's share among absent questions grows with the number of scenes that have it."""
    having = Counter(c for scene in SCENES for c in scene.counts)
    asked = Counter(q.trace["objects"][0] for q, _ in absent_questions(SCENES, "vsibench", 1))
    missing = {c: len(SCENES) - n for c, n in having.items()}
    rate = {c: asked[c] / missing[c] for c in having}
    common, rare = having.most_common(3), having.most_common()[-3:]
    assert math.fsum(rate[c] for c, _ in common) >= math.fsum(rate[c] for c, _ in rare) * 0.8


def test_rows_are_scored_and_stay_true_of_the_frames(tmp_path: Path) -> None:
    build_rows(tmp_path / "a.parquet", SCENES[:5], BuildPlan(absent=4), "rooms")
    rows = [r for r in iter_rows(tmp_path / "a.parquet") if '"absent/' in r["extra_info"]["trace"]]
    assert len(rows) == 20
    for row in rows:
        truth = row["reward_model"]["ground_truth"]
        score = compute_score(row["data_source"], truth, truth, row["extra_info"])
        wrong = compute_score(row["data_source"], "3" if truth == "0" else "table", truth, row["extra_info"])
        assert (score["reward/accuracy"], wrong["reward/accuracy"]) == (1.0, 0.0)
    question, scene = next(absent_questions(SCENES, "paper", 1))
    kept = true_of_frames(question, scene, FrameAware(FrameSpec("linspace", 1)))
    assert isinstance(kept, Question)
    assert (kept.answer, kept.trace["frames"]["linspace-n1"]["supported"]) == ("0", True)

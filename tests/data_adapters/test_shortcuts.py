"""A set made to leak is told from one made not to."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from verl_vsi.commands.data import app
from verl_vsi.data_adapters.rows import make_row, write_rows
from verl_vsi.data_adapters.schema import Kind, Question
from verl_vsi.data_adapters.shortcuts import shortcuts

pytest.importorskip("sklearn", reason="the extra `shortcuts`: pip install scikit-learn")

OBJECTS = ("bed", "tv", "sofa", "lamp", "desk", "door", "sink", "shelf")
ADVERBS = {"1": "alone", "2": "doubly", "4": "squarely", "8": "mightily"}


def row(task: str, text: str, answer: str, kind: Kind, scene: int, options: tuple[str, ...] = ()) -> dict[str, Any]:
    question = Question(task, text, answer, kind, f"room_{scene}", options)
    return make_row(question, dataset="rooms", video=f"rooms/{scene}.mp4", data_source="vsi100k", split="train")


def made(leaking: bool, count: int = 400) -> list[dict[str, Any]]:
    """Answers drawn at random; where they leak, the wording gives them away."""
    draw, rows = Random(0), []
    for number in range(count):
        name, answer = draw.choice(OBJECTS), draw.choice(list(ADVERBS))
        said = ADVERBS[answer] if leaking else draw.choice(list(ADVERBS.values()))
        rows.append(row("object_counting", f"How many {name}(s) stand {said} here?", answer, "number", number % 20))
        names = draw.sample(OBJECTS, 4)
        right = draw.randrange(4)
        hint = names[right] if leaking else draw.choice(names)
        text = f"Which of these objects ({', '.join(names)})is the closest, as the {hint} is?"
        rows.append(row("object_rel_distance", text, names[right], "word", number % 20))
        lettered = tuple(f"{letter}. {n}" for letter, n in zip("ABCD", names, strict=True))
        place = 0 if leaking else draw.randrange(4)
        rows.append(row("route_planning", f"Where to, {name}?", "ABCD"[place], "choice", number % 20, lettered))
    return rows


def test_a_set_made_to_leak_is_told_from_one_made_not_to() -> None:
    leaks, sound = shortcuts(made(True)), shortcuts(made(False))
    for task, score in (("object_counting", 0.95), ("object_rel_distance", 0.95), ("route_planning", 1.0)):
        assert (leaks[task].score or 0) >= score, task
    assert (sound["object_rel_distance"].score or 1) < 0.32  # one in four
    assert (sound["route_planning"].score or 1) < 0.32
    assert (sound["object_counting"].score or 1) < 0.45  # the best constant gets about a third


def test_what_one_scene_teaches_does_not_count_in_it() -> None:
    """Answers that only the scene gives away: a name of its own in every question."""
    rows = [
        row(
            "object_counting",
            f"How many things stand in {'abcdefghij'[scene]}?",
            str(2 ** (scene % 4)),
            "number",
            scene,
        )
        for scene in range(10)
        for _ in range(20)
    ]
    assert (shortcuts(rows)["object_counting"].score or 1) < 0.6


def test_one_scene_has_no_two_folds() -> None:
    assert shortcuts([row("object_counting", "How many?", "2", "number", 1)])["object_counting"].score is None


def test_the_audit_prints_the_share(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.parquet", made(True, 60), {})
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "rows.parquet"), "--shortcuts"], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "answerable without video, %" in done.output
    assert "mean of the tasks; scenes apart" in done.output

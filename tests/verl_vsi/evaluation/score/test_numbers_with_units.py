"""Numbers as test-set-training reads them; the cases follow its `reproduce/robust_num.py` (read, not copied)."""

from __future__ import annotations

import pytest

pytest.importorskip("text2digits")

from verl_vsi.evaluation.score.numbers_with_units import read_number

DISTANCE, SIZE, COUNT = "object_abs_distance", "object_size_estimation", "object_counting"


@pytest.mark.parametrize(
    ("response", "task", "number"),
    [
        ("0.6.", DISTANCE, 0.6),  # its final point ends the sentence
        ("1.5 meters.", DISTANCE, 1.5),
        ("150 cm", DISTANCE, 1.5),
        ("150 centimeters", DISTANCE, 1.5),
        ("1,500 mm", DISTANCE, 1.5),  # a thousands separator
        ("1.2 m", SIZE, 120.0),
        ("120 cm", SIZE, 120.0),
        ("1200 mm", SIZE, 120.0),
        ("1200 millimeters", SIZE, 120_000.0),  # the quirk: it says "meter"
        ("Two.", COUNT, 2.0),
        ("There are twenty five", COUNT, 25.0),
        ("2 or 3", COUNT, 2.0),  # the first
        ("14 m", "room_size_estimation", 14.0),  # square metres are not converted
        ("no idea", COUNT, None),
        ("", COUNT, None),
    ],
)
def test_the_first_number_is_read_in_the_questions_unit(response: str, task: str, number: float | None) -> None:
    assert read_number(response, task) == (None if number is None else pytest.approx(number))

"""Tables of literal responses and what the robust extraction reads."""

from __future__ import annotations

import pytest

from verl_vsi.rewards.answers import extract
from verl_vsi.rewards.metrics import min_relative

COUNT, METRES, CENTIMETRES, SQUARE_METRES = (
    "object_counting",
    "object_abs_distance",
    "object_size_estimation",
    "room_size_estimation",
)

NUMBERS = [
    # plain
    ("4", COUNT, 4.0),
    ("4.", COUNT, 4.0),  # a full stop ends the sentence
    (" 4\n", COUNT, 4.0),
    ("0", COUNT, 0.0),
    (".5", METRES, 0.5),
    ("007", COUNT, 7.0),
    # sentences
    ("There are 4 chairs.", COUNT, 4.0),
    ("about 3.5", METRES, 3.5),
    ("~3.5m", METRES, 3.5),
    ("a 3.5 m gap", METRES, 3.5),  # "a" is not one
    ("Table 1 is 2.5 m from lamp 3", METRES, 2.5),  # the number with the unit
    ("I see 2 tables and 3 lamps. The answer is 5.", COUNT, 5.0),  # the number after "answer is"
    ("2 sofas, 1 chair, in total: 3", COUNT, 3.0),
    ("The 2nd 3D scan shows 4 chairs", COUNT, 4.0),  # 2nd and 3D are names
    ("scene0025 has 4", COUNT, 4.0),
    # units, turned into the task's
    ("350 cm", METRES, 3.5),
    ("3500mm", METRES, 3.5),
    ("1.2 m", CENTIMETRES, 120.0),
    ("1.2 metres", CENTIMETRES, 120.0),
    ("10 ft", METRES, 3.048),
    ("10 feet", METRES, 3.048),
    ("10-foot", METRES, 3.048),
    ("40 inches", CENTIMETRES, 101.6),
    ("5'11\"", CENTIMETRES, 180.34),
    ("5’ 11”", CENTIMETRES, 180.34),  # curly quotes
    ("5 ft 11 in", CENTIMETRES, 180.34),
    ("1 m and 20 cm", CENTIMETRES, 120.0),
    ("20 m²", SQUARE_METRES, 20.0),
    ("20 m^2", SQUARE_METRES, 20.0),
    ("20 sq m", SQUARE_METRES, 20.0),
    ("twenty square metres", SQUARE_METRES, 20.0),
    ("200 square feet", SQUARE_METRES, 18.580608),
    ("3.5 in total", METRES, 3.5),  # a preposition
    ("'3.5'", METRES, 3.5),  # a quotation
    ('"3.5"', METRES, 3.5),
    ("3.5'", METRES, 1.0668),
    ("20 m", SQUARE_METRES, 20.0),  # a length for an area: the number as it is
    ("4 in the corner", COUNT, 4.0),  # a count has no unit
    # separators
    ("1,200", CENTIMETRES, 1200.0),
    ("1,234,567", CENTIMETRES, 1234567.0),
    ("1,200.5", CENTIMETRES, 1200.5),
    ("1.200,5", CENTIMETRES, 1200.5),
    ("3,5", METRES, 3.5),
    ("0,125", METRES, 0.125),
    ("1, 2", COUNT, 1.0),  # a list
    ("1,2,3", COUNT, 1.0),
    # words
    ("four", COUNT, 4.0),
    ("Twenty-one.", COUNT, 21.0),
    ("one hundred and twenty cm", CENTIMETRES, 120.0),
    ("three point five metres", METRES, 3.5),
    ("two and a half metres", METRES, 2.5),
    ("half a metre", METRES, 0.5),
    ("None", COUNT, 0.0),
    ("There are no chairs.", COUNT, 0.0),
    ("none", METRES, None),  # only a count can be none
    ("no idea", COUNT, None),
    ("someone", COUNT, None),  # not a number word
    # ranges are read as their middle
    ("2-3 m", METRES, 2.5),
    ("2 to 3", METRES, 2.5),
    ("between 2 and 3 metres", METRES, 2.5),
    ("50 cm to 1 m", METRES, 0.75),
    ("1-5", COUNT, None),  # too wide: its middle would be a hedge
    ("1 to 100 m", METRES, None),
    ("3.5 ± 0.2 m", METRES, 3.5),
    # fractions
    ("3½", METRES, 3.5),
    ("3 1/2 m", METRES, 3.5),
    ("7/2", METRES, 3.5),
    ("1/0", METRES, None),
    ("about 3 and a half meters", METRES, 3.5),
    ("three quarters of a metre", METRES, 0.75),
    ("a dozen", COUNT, 12.0),
    ("12 dm", METRES, 1.2),
    ("0.002 km", METRES, 2.0),
    # LaTeX and Markdown
    ("\\boxed{3.5}", METRES, 3.5),
    ("$3.5$", METRES, 3.5),
    ("\\frac{7}{2}", METRES, 3.5),
    ("\\(3.5 \\text{ m}\\)", METRES, 3.5),
    ("20 $m^2$", SQUARE_METRES, 20.0),
    ("20m^{2}", SQUARE_METRES, 20.0),
    ("**3.5**", METRES, 3.5),
    ("2 + 1 = 3", COUNT, 3.0),  # what comes out
    # negative and absurd
    ("-2", COUNT, -2.0),
    ("−2", COUNT, -2.0),  # a typographer's minus
    ("minus two", COUNT, -2.0),
    ("- 4 chairs", COUNT, 4.0),  # a list's dash
    ("2.5e1", CENTIMETRES, 25.0),
    ("1e999", CENTIMETRES, None),
    ("9" * 400, CENTIMETRES, None),
    ("inf", METRES, None),
    ("nan", METRES, None),
    # other scripts
    ("３．５", METRES, 3.5),
    ("٣", COUNT, 3.0),
    ("1\u00a0m", METRES, 1.0),
    # tags
    ("<think>2 or 3?</think><answer>4</answer>", COUNT, 4.0),
    ("<answer>4</answer><answer>5</answer>", COUNT, 5.0),  # the last one
    ("<ANSWER>4</ANSWER>", COUNT, 4.0),
    ("<answer>4", COUNT, 4.0),  # cut off
    ("<observe>3 chairs</observe> 4", COUNT, 4.0),
    ("<think>I count 3, no, 4", COUNT, None),  # thinking is no answer
    ("<think>Is it <answer>3</answer>? No.</think>", COUNT, None),  # nor is an answer within it
    ("<think>Is it <answer>3</answer>? No.</think><answer>4</answer>", COUNT, 4.0),
    ("<answer></answer>", COUNT, None),
    ("", COUNT, None),
    ("4" + " " * 2000, COUNT, 4.0),
    ("1 m 20", CENTIMETRES, 120.0),  # as it is said
    ("1m20", METRES, 1.2),
    ("5'11", CENTIMETRES, 180.34),
    ("5 ft 11", CENTIMETRES, 180.34),
    ("1 m 2", METRES, 1.0),  # 1.2 or 1.02
    ("1.5 m 20", METRES, 1.5),
    ("4m x 5m", SQUARE_METRES, 20.0),  # an area
    ("4 × 5 m", SQUARE_METRES, 20.0),
    ("4x5", SQUARE_METRES, 20.0),
    ("4 by 5 metres", SQUARE_METRES, 20.0),
    ("4 m x 5 m x 3 m", SQUARE_METRES, 20.0),  # and a height
    ("4 m x 5 m = 21 m²", SQUARE_METRES, 21.0),
    ("10' x 12'", SQUARE_METRES, 11.1483648),
    ("4 m x 5 m", METRES, 4.0),  # no area is asked for
    ("no chairs", COUNT, 0.0),
    ("I see no office chairs.", COUNT, 0.0),
    ("No chairs are visible.", COUNT, 0.0),
    ("no chairs, 3 tables", COUNT, 3.0),
    ("no idea", COUNT, None),
    ("no clues", COUNT, None),
    ("no chairs", METRES, None),
]

WORDS = [
    ("left", "left"),
    ("Left.", "left"),
    ("**Trash can**", "trash can"),
    ("the sink", "sink"),
    ("It is to the left.", "left"),
    ("The answer is: sink", "sink"),
    ("Answer: sink\n", "sink"),
    ('"sink"', "sink"),
    ("trash  can", "trash can"),
    ("<think>right?</think><answer> Left </answer>", "left"),
    ("the sink is closest", "sink"),
    ("The object closest to the bed is the sink.", "sink"),
    ("sink, because it is near", "sink"),
    ("sink (1.2 m away)", "sink"),
    ("Among these objects, the sink is the closest.", "sink"),
    ("most likely the sink", "sink"),
    ("A. sink", "sink"),  # a label that the question did not give
    ("B. sink", "sink"),
    ("\\text{sink}", "sink"),
    ("left side", "left"),
    ("left-hand side", "left"),
    ("left\n\nExplanation: I turn.", "left"),
    ("The bicycle is to the left of the shower", "left"),
    ("front left", "front-left"),
    ("to my front-left", "front-left"),
    ("left or right", "left or right"),  # hedging matches nothing
    ("left/right", "left/right"),
    ("left, right", "left, right"),
    ("sink (or pillow)", "sink (or pillow"),
    ("sink and bed", "sink and bed"),
    ("toilet", "toilet"),  # not "to"
    ("armchair", "armchair"),  # not "a"
    ("Turn left.", "left"),
    ("You should turn to the right", "right"),
    ("turn left, then right", "left, then right"),
    ("not the sink, but the bed", "bed"),
    ("It is not on the left but on the right", "right"),
    ("Not sure, but I think left", "left"),
    ("not the sink", "not the sink"),
    ("...", None),
    ("", None),
]

LETTERS = [
    ("A", "A"),
    ("b", "B"),
    ("B.", "B"),
    ("(B)", "B"),
    ("[B]", "B"),
    ("**B**", "B"),
    ("B. chair", "B"),
    ("B) chair", "B"),
    ("B: chair", "B"),
    ("The answer is B.", "B"),
    ("Answer: (B) chair", "B"),
    ("Option B", "B"),
    ("Is it A? Option A is too far, so the answer is B.", "B"),  # the last one named
    ("<think>A?</think><answer>B</answer>", "B"),
    ("chair", "B"),  # the option's words
    ("The chair.", "B"),
    ("A chair", "B"),  # an article
    ("\\boxed{B}", "B"),
    ("$\\boxed{\\text{B}}$", "B"),
    ("$B$", "B"),
    ("B, chair", "B"),
    ("B is correct", "B"),
    ("I choose B", "B"),
    ("I'd go with B", "B"),
    ("B!", "B"),
    ("the answer is b", "B"),
    ("It's B", "B"),
    ("B because it is near", "B"),
    ("B\n\nExplanation: it is near.", "B"),
    ("The chair is closest, because it is near", "B"),
    ("Not A, but B", "B"),
    ("It is not (A) but (B).", "B"),
    ("B rather than A", "B"),
    ("B and not A", "B"),
    ("Not A, but B or C", None),
    ("A or B", None),
    ("A/B", None),
    ("A, B", None),
    ("A and B", None),
    ("The answer is A or B", None),
    ("A. table or B. chair", None),
    ("not B", None),
    ("A lamp", None),
    ("I can't say", None),
    ("", None),
]


@pytest.mark.parametrize(("response", "task", "expected"), NUMBERS, ids=lambda v: repr(v)[:40])
def test_a_number_is_read_in_the_tasks_unit(response: str, task: str, expected: float | None) -> None:
    read = extract("robust", response, "number", task=task)
    assert read == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("response", "expected"), WORDS)
def test_a_word_is_read_bare(response: str, expected: str | None) -> None:
    assert extract("robust", response, "word") == expected


@pytest.mark.parametrize(("response", "expected"), LETTERS)
def test_a_letter_is_read_from_its_place(response: str, expected: str | None) -> None:
    assert extract("robust", response, "choice", options=("A. table", "B. chair")) == expected


def test_the_end_of_a_long_answer_counts() -> None:
    assert extract("robust", "7 " * 5000 + "so the answer is 4", "number", task=COUNT) == 4.0


OPTIONS = ("A. table", "B. chair", "C. sink", "D. bed")
LISTINGS = (["A", "B", "C", "D"], list(OPTIONS), [option[3:] for option in OPTIONS])


TURNS = ("A. Turn Left, Turn Right", "B. Turn Left", "C. Turn Back", "D. right")


@pytest.mark.parametrize(
    ("response", "expected"),
    [("turn left", "B"), ("Turn left, turn right.", "A"), ("You should turn back.", "C"), ("Turn right", "D")],
)
def test_a_turn_is_the_option_that_says_so(response: str, expected: str) -> None:
    assert extract("robust", response, "choice", options=TURNS) == expected


@pytest.mark.parametrize("joint", [" or ", "/", ", ", " and ", " | ", " / ", ",", ", or ", " and/or "])
def test_a_list_of_options_is_no_answer(joint: str) -> None:
    for names in LISTINGS:
        assert extract("robust", joint.join(names), "choice", options=OPTIONS) is None, names
        assert extract("robust", joint.join(names), "word") not in {option[3:] for option in OPTIONS}, names


@pytest.mark.parametrize("joint", [" to ", "-", " or ", ", ", " and ", "/", " m, ", " ± "])
def test_naming_many_numbers_pays_no_more_than_the_best_guess(joint: str) -> None:
    truths = [float(n) for n in range(1, 11)]
    best = max(sum(min_relative(guess / 10, truth) for truth in truths) for guess in range(10, 101))
    for numbers in (["1", "10"], [str(n) for n in range(1, 11)], ["2", "8"]):
        read = extract("robust", joint.join(numbers), "number", task=METRES)
        assert read is None or sum(min_relative(float(read), truth) for truth in truths) <= best

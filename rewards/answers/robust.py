"""Our extraction, for training: what a patient reader takes the answer to be.

It reads the last `<answer>` block; failing that, what follows the thinking; never the thinking itself. Of a long
answer it reads the last 1,000 characters.

    response                                  task                      read
    "<think>2 or 3</think><answer>4</answer>" object_counting           4.0
    "about 3.5 metres"                        object_abs_distance       3.5
    "a 3.5 m gap"                             object_abs_distance       3.5
    "350 cm"                                  object_abs_distance       3.5
    "3½", "7/2", "$3.5$"                      object_abs_distance       3.5
    "5 ft 11 in"                              object_size_estimation    180.34
    "200 sq ft", "10 ft x 20 ft"              room_size_estimation      18.58
    "1,200"                                   object_size_estimation    1200.0
    "3,5"                                     object_abs_distance       3.5
    "There are three."                        object_counting           3.0
    "None", "no chairs"                       object_counting           0.0
    "-2", "1e999", "1-5"                      object_counting           -2.0, None, None
    "**Sink**.", "the sink", "sink, because"  object_rel_distance       sink
    "It is to the left.", "Turn left."        object_rel_direction_easy left
    "not the sink, but the bed"               object_rel_distance       bed
    "(B)", "b", "The answer is B."            any lettered question     B
    "Not A, but B", "B rather than A"         any lettered question     B
"""

from __future__ import annotations

import re
import unicodedata

from verl_vsi.rewards.answers.choices import letter, word
from verl_vsi.rewards.answers.quantities import Quantity, quantities
from verl_vsi.rewards.answers.units import TASK_UNITS, convert, is_area

LONGEST = 1000
"""Characters of an answer that are read, from its end."""

_BLOCK = re.compile(r"<(/?)(answer|think|observe)>", re.IGNORECASE)
_SIGNS = str.maketrans("‐‑‒–—−‘’′“”″", "------'''\"\"\"")
_VULGAR = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅟])")
_LATEX = re.compile(r"\\d?frac *\{([^{}]*)\} *\{([^{}]*)\}")
_LATEX_MARKS = re.compile(
    r"\\(?:boxed|text\w*|math\w+|left|right|displaystyle)(?![a-z])|\\[()\[\],;:! ]|[{}$]|\\(?=\W)"
)
_CUE = re.compile(r".*(?:\b(?:answer|total|altogether|so|therefore|thus|hence)\b(?: is| of)?|=)[\s:=*]*", re.DOTALL)
_NONE = re.compile(
    r"""none|nothing|there\ (?:are|is)\ (?:none|no\b.*)
    |(?:(?:i\ (?:can\ )?(?:see|count)|(?:the|this)\ (?:room|video|scene)\ (?:has|contains|shows))\ )?
    no\ (?:[\w-]+\ ){0,2}?(?!ideas|clues|answers|means|details|frames|words)[a-z-]+s
    (?:\ (?:(?:are|were|can\ be|to\ be)\ )?(?:in|visible|here|at\ all|present|seen|shown|there)\b.*)?""",
    re.DOTALL | re.VERBOSE,
)


def extract(text: str, kind: str, *, task: str = "", options: tuple[str, ...] = ()) -> float | str | None:
    """The answer as a float in the task's unit, a bare lower-case word or an upper-case letter; None: there is none.

    Args:
        text: the whole response.
        kind: `number`, `word` or `choice`.
        task: VSI-Bench's task name, which decides the unit.
        options: `A. chair`, ... of a lettered question.
    """
    answer = tidy(answer_part(text))
    if kind == "number":
        return number(answer, TASK_UNITS.get(task, ""))
    return letter(answer, options) if kind == "choice" else word(answer)


def answer_part(text: str) -> str:
    """The last `<answer>` block, or what follows the last closed block; empty while a block is still open.

    An answer within a thinking that is closed behind it belongs to the thinking; one in a thinking that is never
    closed ends it.
    """
    start, inside = 0, ""
    answer: tuple[int, int] | None = None
    before: tuple[int, int] | None = None  # the answer as it stood when the thinking began
    for tag in _BLOCK.finditer(text):
        closing, name = bool(tag[1]), tag[2].lower()
        if name != "answer":
            before, answer = (before, before if inside == "think" else answer) if closing else (answer, answer)
            inside = "" if closing else "think"
        elif not closing:
            answer = (tag.end(), len(text))
            inside = inside or "answer"
        elif answer:
            answer = (answer[0], min(answer[1], tag.start()))
            inside = inside if inside == "think" else ""
        start = tag.end()
    if answer:
        return text[answer[0] : answer[1]]
    return "" if inside else text[start:]


def tidy(text: str) -> str:
    """The end of a text with one kind of digit, dash, quote, space and line end, and without LaTeX's marks."""
    text = _VULGAR.sub(" ", text.rstrip()[-LONGEST:].translate(_SIGNS))
    text = unicodedata.normalize("NFKC", text)[-LONGEST:].replace("\N{FRACTION SLASH}", "/")
    if "\\" in text or "$" in text:
        text = _LATEX_MARKS.sub(" ", _LATEX.sub(r"\1/\2", text))
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))


def number(answer: str, unit: str) -> float | None:
    """The first number after the last "answer is"; else the first in a unit that fits; else the first.

    Args:
        answer: as `tidy` leaves it.
        unit: of the truth, in which the number is returned; empty for a count.
    """
    text = answer.lower().replace("\n", " ")
    cue, area = _CUE.match(text), is_area(unit)
    candidates = (cue and quantities(text[cue.end() :], area)) or quantities(text, area)
    if not candidates:
        return 0.0 if not unit and _NONE.fullmatch(text.rstrip(". ")) else None
    best = next((quantity for quantity in candidates if _fits(quantity, unit)), candidates[0])
    return convert(best.value, best.unit, unit)


def _fits(quantity: Quantity, unit: str) -> bool:
    return bool(unit and quantity.unit) and is_area(quantity.unit or "") == is_area(unit)

"""Words and letters in running text: `sink, because it is nearest` is "sink", `I choose (B)` is "B".

One word or one letter is read, whatever the truth: of several that a response commits itself to, one counts at most,
and "A or B" is none.
"""

from __future__ import annotations

import re

_SIDES = r"(?:(?:front|back)[- ]?)?(?:left|right)\b"
_FRAME = re.compile(
    rf"""(?:(?:to\ (?!the\ (?:left|right))(?:the\ )?[^,.;:\n]{{1,60}}?(?=\ (?:is|would\ be)\ (?:the\ )?[^,.;:\n])
    |(?:the\ )?(?:[\w-]+\ ){{1,5}}?(?:is|would\ be|lies|stands)\ (?:to\ |on\ )?(?:(?:the|my|your|its)\ )?(?={_SIDES})
    |the|an?|final|correct|right(?=\ (?:answer|option|choice))|answer|choice|option|is|was|would|be|it'?s|it'd|it
    |to|on|at|in|your|my|lies|located|so|thus|hence|therefore|i'd|i'm|i|think|believe|say|guess|choose|pick|select
    |that'?s?|this|sure|towards?|you|should|must
    |(?:turn|go|head|face|look)(?=\ (?:to\ )?(?:the\ |my\ |your\ )?(?:back\b|{_SIDES}))
    |(?:most\ )?(?:likely|probably)|definitely|clearly|perhaps|maybe
    |(?:among|of|out\ of|between)\ (?:these|those|them|all)(?:\ (?:objects|options|items|four))?
    |(?:closest|nearest)(?=\ (?:is|was|object|one|item|to)\b|:)
    |(?:object|one|item)(?=\ (?:is|closest|nearest|that|to)\b|:))\b|[^\w]+)*""",
    re.VERBOSE,
)
"""What may stand before the answer."""

_DENIAL = re.compile(r"(?:it(?:'s|\ is)\ |to\ |on\ )?not\ [^,.;:\n]{1,60}?,?\ but\ (?:rather\ |instead\ )?")
"""What is said not to be the answer, before the answer."""

_LABEL = re.compile(r"\(?[a-h][).:]+\s+(?=\w)")
_END = re.compile(
    r"""\n|(?<=\w\w)[.!?;](?=\s|$)|:(?=\s)|\s[(\[-]\s?(?!or\b)
    |,?\ (?:because|since|as\ it|which|given|being|but|so\ that|in\ my\ opinion|i\ (?:think|believe|guess))\b
    |,\ (?:as|so|it|its|it's|the\ (?:closest|nearest)|with|not|at|i|due|for|there|while|if|when|from)\b
    |\ (?:is|was|are|seems|appears|would\ be|looks|lies|stands)\b""",
    re.VERBOSE,
)
"""Where an answer ends and its reasons begin."""

_SIDE = re.compile(
    r"(?:(front|back)[- ]?)?(left|right|back|front)(?:[- ]hand)?(?: side| direction| quadrant)?(?:wards?)?"
    r"(?:,? (?:of|from|to) (?!(?:\w+ )*(?:left|right)\b).*)?"
)


def word(answer: str) -> str | None:
    """The answer without what leads to it ("the answer is"), its reasons, marks around it, and case.

    Args:
        answer: as `robust.tidy` leaves it.
    """
    text = answer.lower().replace("*", "").replace("`", "")
    for pattern in (_LABEL, _FRAME, _DENIAL, _FRAME, _LABEL):
        if before := pattern.match(text):
            text = text[before.end() :]
    end = _END.search(text)
    bare = re.sub(r"[^\w]+$", "", text[: end.start()] if end else text)
    side = _SIDE.fullmatch(bare)
    return "-".join(filter(None, side.groups())) if side else bare or None


_ALONE = re.compile(r"[(\[]?([A-Za-z])[)\]]?[\s.:!?,;]*")
_LED = re.compile(r"[(\[]?([A-Z])(?:[)\].:!?;,]+(?!\w)|\s?-(?=\s)|\n)(.*)", re.DOTALL)
_LISTED = re.compile(r"(?:^|[\n,;/&|]|\b(?:or|and)\b|(?<=[A-Z][.)]))\s*[(\[]?([A-Z])(?![\w'])(?! (?!or\b|and\b)[a-z])")
_CUED = re.compile(
    r"\b(?:[Aa]nswer|[Oo]ption|[Cc]hoice|[Cc]hoose|[Pp]ick|[Ss]elect|[Gg]o with)\b(?: is| would be)?"
    r"[\s:=(\[*\"']*([A-Z])\b(?!')(?! or\b|/| and [A-Z]\b|, ?[A-Z]\b)"
)
_CUED_SMALL = re.compile(
    r"\b(?:answer|option|choice|choose|pick|select)\b(?: is| would be)?[\s:=(\[*\"']*([a-h])[)\]*.!]*$"
)
_PREFERRED = re.compile(
    r"""(?:[Nn]ot\ (?:option\ )?\(?[A-Z]\)?,?\ but\ (?:rather\ |instead\ )?(?:option\ )?\(?([A-Z])\b(?!'|\ or\b|\ and\b)
    |\b([A-Z])\)?,?\ (?:rather\ than|instead\ of|and\ not)\ (?:option\ )?\(?[A-Z]\b)""",
    re.VERBOSE,
)
_PRAISED = re.compile(
    r"(?:^|(?<=[\s(*]))([A-Z])[)*]? (?:is|seems|appears|looks)(?: to be)?(?: the)? (?!not|wrong|in|far|poss)"
)
_DENIED = re.compile(r"\b(?:not|never|neither|nor|except|unlikely|no|wrong|cannot)\b|n't\b", re.IGNORECASE)


def letter(answer: str, options: tuple[str, ...]) -> str | None:
    """The letter that the answer is, begins with (`B. chair`), names (`the answer is B`) or names alone (`it's B`).

    Args:
        answer: as `robust.tidy` leaves it.
        options: `A. chair`, ...; an answer in an option's words stands for its letter.
    """
    bare = answer.strip("*_`\"' \n").replace("*", "")
    if alone := _ALONE.fullmatch(bare):
        return alone[1].upper()
    if preferred := _PREFERRED.search(bare):
        return preferred[1] or preferred[2]
    several = len(set(_LISTED.findall(bare))) > 1
    led = _LED.fullmatch(bare)
    if led and not several:
        return led[1]
    for cue in (_CUED, _PRAISED):
        if cued := cue.findall(bare):
            return cued[-1]
    if several:
        return None
    small = _CUED_SMALL.search(bare)
    return small[1].upper() if small else _by_words(answer, options) or _only_letter(bare, options)


def _by_words(answer: str, options: tuple[str, ...]) -> str | None:
    """The option whose words the answer is."""
    words = _plain(word(answer))
    return next((option[0] for option in options if words and _plain(word(option[2:])) == words), None)


def _plain(text: str | None) -> str:
    return (text or "").replace("-", " ")


def _only_letter(text: str, options: tuple[str, ...]) -> str | None:
    """The one letter of an option that a text names, where it denies none; the A of `A lamp` is an article."""
    letters = "".join(option[0] for option in options) or "ABCDEF"
    named = re.findall(rf"(?<![\w'])[{letters}](?![\w'])(?<!A(?= (?!or\b|and\b|because\b|since\b)[a-z]))", text)
    return named[0] if len(set(named)) == 1 and not _DENIED.search(text) else None

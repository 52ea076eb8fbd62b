"""What a row says of the frames that show what it asks for; `questions.support` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verl_vsi.data_adapters.json_files import parse
from verl_vsi.data_adapters.visibility import numbers_of


@dataclass(frozen=True)
class RowFrames:
    """What a row says; empty where it does not.

    Args:
        support: choice of frames -> whether they support the question.
        objects: the categories that the question names.
        places: choice of frames -> places among them that show one of `objects`.
    """

    support: Mapping[str, bool] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def frames_in(info: Mapping[str, Any]) -> RowFrames:
    """What a row says of frames.

    Args:
        info: its ``extra_info``, of anybody's file.
    """
    try:
        trace = parse(info.get("trace") or "{}")
        frames = trace.get("frames") or {}
        return RowFrames(
            {str(choice): bool(found["supported"]) for choice, found in frames.items()},
            asked(trace),
            {str(choice): tuple(numbers_of(found["at"])) for choice, found in frames.items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return RowFrames()


def asked(trace: Mapping[str, Any]) -> tuple[str, ...]:
    """The categories that a built question names, by its trace."""
    names = trace.get("objects") or trace.get("order") or ()
    if "target" in trace:
        names = (trace["target"], *trace["metres"])
    return tuple(map(str, names))

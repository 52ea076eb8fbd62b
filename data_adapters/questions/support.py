"""Which questions the sampled frames support, and answers that are true of them.

A question's answer is of the whole scene; the model sees some frames. VSI-Bench's answers agree with 16 sampled frames
in two thirds of its questions only (ReVSI, arXiv 2604.24300). A question is supported where the frames show

- for a count, every object of the category;
- for an order of appearance, the four categories for the first time in that very order, each in a frame of its own;
- else, at least one object of every category that the question names. A room's size asks for no object.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.frame_support import asked
from verl_vsi.data_adapters.frames.spec import FrameSpec, sample_indices
from verl_vsi.data_adapters.schema import Question, Rejected, Scene
from verl_vsi.data_adapters.visibility import runs

BUDGETS = tuple(FrameSpec(sampler="linspace", nframes=count) for count in (8, 16, 32, 64))
"""Choices of frames that every row is held against."""

Unseen = Literal["drop", "keep"]
UNSEEN = ("drop", "keep")


@dataclass(frozen=True)
class FrameAware:
    """How rows are held against frames.

    Args:
        answers: answers are made true of these frames; None: they stay the scene's, and rows only say what is seen.
        unseen: what becomes of questions that `answers` do not support: ``drop`` leaves them out, ``keep`` keeps them
            with the scene's answer, a count of what is not seen with 0.
        own: a further choice of frames that rows are held against, e.g. a recipe's.
    """

    answers: FrameSpec | None = None
    unseen: Unseen = "drop"
    own: FrameSpec | None = None

    @property
    def choices(self) -> tuple[FrameSpec, ...]:
        """Every choice of frames that rows are held against, each once."""
        specs = [*BUDGETS, *[spec for spec in (self.own, self.answers) if spec is not None]]
        return tuple({spec.choice: spec for spec in specs}.values())


def true_of_frames(question: Question, scene: Scene, aware: FrameAware) -> Question | Rejected:
    """The question with what the frames show in its trace.

    ``frames``: choice -> ``seen`` objects a category, ``at`` which places among the frames they show (as runs), and
    whether the frames have ``supported`` the question.

    Args:
        question: as built of the scene.
        scene: what it is about.
        aware: choices of frames, and whether answers follow them.
    """
    if scene.visible is None:
        missing = "the scene's record does not say which frames show what; use data rooms, or --scannet with .sens"
        return question if aware.answers is None else Rejected(scene.id, "frames unknown", missing)
    frames = {spec.choice: _found(question, scene, spec) for spec in aware.choices}
    labelled = replace(question, trace={**question.trace, "frames": frames})
    if aware.answers is None:
        return labelled
    return _answered(labelled, scene, frames[aware.answers.choice], aware.unseen)


def _answered(question: Question, scene: Scene, found: Mapping[str, Any], unseen: Unseen) -> Question | Rejected:
    if question.task == schema.COUNTING:
        [(category, count)] = found["seen"].items()
        there = scene.counts.get(category, 0)
        # an object without a box is counted in the scene, and nobody knows where it is seen
        if len(scene.of(category)) == there and (count or not there or unseen == "keep"):
            return replace(question, answer=str(count))
    elif found["supported"] or unseen == "keep":
        return question
    return Rejected(scene.id, "not seen in the frames", f"{question.text} The frames show {found['seen']}")


def _found(question: Question, scene: Scene, spec: FrameSpec) -> dict[str, Any]:
    names = asked(question.trace)
    seen = {name: _seen(scene, spec)[name] for name in dict.fromkeys(names)}
    places = sorted(set().union(*(_places(scene, spec)[name] for name in names)))
    return {"seen": seen, "at": runs(places), "supported": _is_supported(question, scene, spec, seen)}


def _is_supported(question: Question, scene: Scene, spec: FrameSpec, seen: Mapping[str, int]) -> bool:
    if question.task == schema.COUNTING:
        return all(seen[name] == scene.counts.get(name, 0) for name in seen)
    if question.task == schema.APPEARANCE:
        first = [min(_places(scene, spec)[name], default=math.inf) for name in question.trace["order"]]
        return math.inf not in first and all(a < b for a, b in pairwise(first))
    return all(seen[name] for name in seen if scene.counts.get(name))  # what is not there can't be seen


@lru_cache(maxsize=256)
def _seen(scene: Scene, spec: FrameSpec) -> Counter[str]:
    """Category -> objects that the frames show."""
    assert scene.visible is not None
    flags = scene.visible.seen(frame_numbers(scene, spec))
    return Counter(box.category for box, flag in zip(scene.boxes, flags, strict=True) if flag)


@lru_cache(maxsize=256)
def _places(scene: Scene, spec: FrameSpec) -> dict[str, set[int]]:
    """Category -> places among the sampled frames that show one of it."""
    assert scene.visible is not None
    places: dict[str, set[int]] = defaultdict(set)
    for box, shown in zip(scene.boxes, scene.visible.shown, strict=True):
        places[box.category] |= {place for place, number in enumerate(frame_numbers(scene, spec)) if number in shown}
    return places


def frame_numbers(scene: Scene, spec: FrameSpec) -> Sequence[int]:
    """Numbers of the frames that a choice takes of a scene's video.

    Args:
        scene: one with `Scene.visible`.
        spec: the choice; where the ``qwen`` rule wants more frames than there are, all are taken.
    """
    assert scene.visible is not None
    return sampled_numbers(spec, scene.visible.frames, scene.visible.rate)


@lru_cache(maxsize=4096)
def sampled_numbers(spec: FrameSpec, frames: int, rate: float) -> Sequence[int]:
    """Numbers of the frames that a choice takes of a video.

    Args:
        spec: the choice.
        frames: of the video.
        rate: frames a second.
    """
    try:
        return sample_indices(spec, frames, rate)
    except ValueError:  # a video too short for it, which no run with that choice could read
        return tuple(range(frames))

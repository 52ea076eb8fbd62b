"""What a result says of itself: everything that its scores depend on, by name.

The same weights score differently in different hands, so a score without these is no number. In the file of a result,
and at the head of its journal, they are one flat JSON object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from verl_vsi.evaluation.conditions import Condition
from verl_vsi.evaluation.task_columns import TASK_SETS, TaskSet
from verl_vsi.rewards.answers import extraction_name

OLD_KEYS = {"table row": "table_row", "sent as": "sent_as"}
"""Keys of the first file format -> labels."""
MAY_BE_ABSENT = ("served", "table_row", "sent_as")
"""Labels that are left out of a file where they say nothing."""
NOT_ASKED = ("tasks", "averaging", "name", "versions")
"""Labels that no answer depends on, so that a journal may be scored again under others."""


@dataclass(frozen=True)
class Labels:
    """The labels of one result.

    Args:
        tasks: name of the task set of the average.
        averaging: what that average is, in words.
        name: what tables call it; empty: the model's.
        model: folder, hub name or the endpoint's model.
        served: which weights, and how they are served.
        condition: of `items.CONDITIONS`.
        set: name of the questions' file.
        data: the questions' fingerprint.
        table_row: the row of the paper's tables that this is; see `PublishedRow.key`.
        sent_as: how videos travelled.
        preset: whose protocol it started from.
        mode: vanilla, think or observe.
        prompts: whose prompts.
        extraction: how answers were read.
        frames: which frames, as the frame store names them.
        nframes: frames a video, or how many a second.
        min_pixels: fewest a frame.
        max_pixels: most a frame.
        decoding: sampling, and the budget of new tokens.
        seed: of draws, shuffling and intervals.
        versions: of the packages that a score may depend on.
    """

    tasks: str
    averaging: str
    model: str
    condition: Condition
    set: str
    data: Mapping[str, Any]
    preset: str
    mode: str
    prompts: str
    extraction: str
    frames: str
    nframes: int | str
    min_pixels: int
    max_pixels: int
    decoding: str
    seed: int = 0
    name: str = ""
    served: Mapping[str, str] = field(default_factory=dict)
    table_row: str = ""
    sent_as: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def task_set(self) -> TaskSet:
        """Which tasks the average is taken over."""
        return TASK_SETS[self.tasks]

    def to_json(self) -> dict[str, Any]:
        """As plain types, by label."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
        return {k: v for k, v in plain.items() if v or k not in MAY_BE_ABSENT}

    @classmethod
    def from_json(cls, node: Mapping[str, Any]) -> Labels:
        """Labels as `to_json` gave them, or as the first file format had them.

        Raises:
            TypeError: one is missing, or unknown.
        """
        return cls(**current_keys(node))

    def journal_head(self) -> dict[str, Any]:
        """The labels that a question's answer depends on, as plain types."""
        return {k: v for k, v in self.to_json().items() if k not in NOT_ASKED}


def current_keys(node: Mapping[str, Any]) -> dict[str, Any]:
    """Labels read from a file, older keys and the former name of an extraction replaced."""
    labels = {OLD_KEYS.get(key, key): value for key, value in node.items()}
    return labels | ({"extraction": extraction_name(labels["extraction"])} if "extraction" in labels else {})

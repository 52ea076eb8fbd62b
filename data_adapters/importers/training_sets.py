"""Training sets of others by name: what each calls VSI-Bench's tasks, what is no question about a video, the licence.

Columns are told apart by content, as in any file (`fields`). What is written here was read in code that uses the sets;
where it does not say which licence a set has, so does `licence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.schema import Rejected

ASK_THE_CARD = "not known here: read the set's page on the hub"
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_TYPE_COLUMNS = ("question_type", "problem_type", "data_type", "task_type", "type")

_COMMON = {
    "object_count": schema.COUNTING,
    "counting": schema.COUNTING,
    "absolute_distance": schema.ABS_DISTANCE,
    "object_absolute_distance": schema.ABS_DISTANCE,
    "object_size": schema.OBJECT_SIZE,
    "room_size": schema.ROOM_SIZE,
    "relative_distance": schema.REL_DISTANCE,
    "object_relative_distance": schema.REL_DISTANCE,
    "route_plan": schema.ROUTE,
    "appearance_order": schema.APPEARANCE,
}
"""Names of tasks that several sets use; a direction's level is read in the question."""


@dataclass(frozen=True)
class TrainingSet:
    """One published set.

    Args:
        source: on the Hugging Face hub.
        files: which of its files hold questions.
        licence: of the annotations.
        tasks: the set's name of a task -> VSI-Bench's.
        without_counterpart: names of tasks that VSI-Bench does not have.
        needs: columns of which a record must have one, so that another set's file is not taken for this one's.
    """

    source: str
    files: str
    licence: str = ASK_THE_CARD
    tasks: Mapping[str, str] = field(default_factory=dict)
    without_counterpart: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def adapted(self, record: Mapping[str, Any], where: str) -> dict[str, Any] | Rejected:
        """The record with VSI-Bench's task name, or why it is left out.

        Args:
            record: of the set's file.
            where: its place, for the reason.
        """
        if self.needs and not any(record.get(column) is not None for column in self.needs):
            return Rejected(where, "not a record of this set", f"it has none of {', '.join(self.needs)}")
        if not record.get("video") and _is_one_picture(record.get("image", record.get("images"))):
            return Rejected(where, "an image, not a video", str(record.get("image", record.get("images")))[:200])
        column = next((c for c in _TYPE_COLUMNS if _task_name(record.get(c)) in self._names), None)
        if column is None:
            return {**record}
        name = _task_name(record[column])
        if name in self.without_counterpart:
            return Rejected(where, "a task that VSI-Bench does not have", name)
        rest = {key: value for key, value in record.items() if key not in _TYPE_COLUMNS}
        return {**rest, "question_type": {**_COMMON, **self.tasks}.get(name, name)}

    @property
    def _names(self) -> set[str]:
        return {*_COMMON, *self.tasks, *self.without_counterpart, *schema.TASKS}


def _task_name(value: Any) -> str:
    """A text, or the first of a list, as SpaceR has it."""
    value = value[0] if isinstance(value, list) and value else value
    return value.strip().lower().replace(" ", "_").replace("-", "_") if isinstance(value, str) else ""


def _is_one_picture(value: Any) -> bool:
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return isinstance(value, str) and value.lower().endswith(_PICTURES)


TRAINING_SETS: Mapping[str, TrainingSet] = {
    "vsi-train-10k": TrainingSet("nyu-visionx/VSI-Train-10k", "vsi_train_10k.parquet or .jsonl"),
    "vsi-590k": TrainingSet(
        "nyu-visionx/VSI-590K",
        "vsi_590k.jsonl; boxes, counts and room sizes of VSI-590K-MetaInfo go to data build --meta-info",
        "Apache-2.0",
        {
            "absolute_count": schema.COUNTING,
            "absolute_size_object": schema.OBJECT_SIZE,
            "absolute_size_room": schema.ROOM_SIZE,
            "absolute_distance_object": schema.ABS_DISTANCE,
            "relative_distance_object": schema.REL_DISTANCE,
        },
        (
            "relative_count",
            "relative_size_object",
            "relative_distance_camera",
            "relative_direction_camera",
            "absolute_direction_object",
        ),
        needs=("conversations",),
    ),
    "spacer-151k": TrainingSet("RUBBISHLIKE/SpaceR-151k", "SR-91k.jsonl", needs=("problem",)),
    "spatialladder-26k": TrainingSet("hongxingli/SpatialLadder-26k", "spld_spatial_data.jsonl"),
    "vilasr": TrainingSet("AntResearchNLP/ViLaSR-data", "rl/vilasr_rl_data.jsonl"),
}
"""Name, as ``data import --format`` takes it, -> the set."""


def training_set(name: str) -> TrainingSet:
    """The set of a name.

    Raises:
        ValueError: there is none; lists those that there are.
    """
    if name not in TRAINING_SETS:
        raise ValueError(f"--format '{name}' is unknown; choose one of {', '.join(TRAINING_SETS)}, or leave it out")
    return TRAINING_SETS[name]

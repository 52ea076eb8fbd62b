"""ReVSI as it is published (``3dlg-hcvc/ReVSI``, arXiv 2604.24300): answers annotated anew, per number of frames.

Each of ``16_frame``, ``32_frame``, ``64_frame`` and ``all_frame`` is a folder with a parquet file of questions; its
videos, in the same folder of ``video.zip``, hold the very frames that are to be shown. Question types are its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verl_vsi.data_adapters import schema
from verl_vsi.data_adapters.importers.records import load_records
from verl_vsi.data_adapters.rows import make_row
from verl_vsi.data_adapters.schema import Question, Rejected

TYPES: dict[str, str] = {
    "object_counting_single": schema.COUNTING,
    "object_counting_multiple": schema.COUNTING,
    "object_abs_distance": schema.ABS_DISTANCE,
    "object_size_estimation": schema.OBJECT_SIZE,
    "room_size_estimation_single": schema.ROOM_SIZE,
    "room_size_estimation_multiple": schema.ROOM_SIZE,
    "object_rel_distance_closest": schema.REL_DISTANCE,
    "object_rel_distance_farthest": schema.REL_DISTANCE,
    "object_rel_direction_forward_easy": schema.DIRECTION_MEDIUM,
    "object_rel_direction_backward_easy": schema.DIRECTION_MEDIUM,
    "object_rel_direction_forward_hard": schema.DIRECTION_HARD,
    "object_rel_direction_backward_hard": schema.DIRECTION_HARD,
    "route_planning": schema.ROUTE,
}
"""ReVSI's question type -> VSI-Bench's that it is closest to. Types of one column are averaged with equal weights."""
BUDGETS = ("16_frame", "32_frame", "64_frame", "all_frame")
COLUMNS = ("id", "dataset", "scene_id", "question_type", "question", "ground_truth", "options")


def revsi_rows(path: str | Path) -> Iterator[dict[str, Any] | Rejected]:
    """Rows of a budget's questions, in its order; videos are ``revsi/<budget>/<scene>.mp4`` under the data root.

    Args:
        path: the parquet file, in the folder of its budget.

    Raises:
        ValueError: the folder is no budget's, or a column is missing.
    """
    budget = Path(path).absolute().parent.name
    if budget not in BUDGETS:
        raise ValueError(
            f"{path}: lies in '{budget}', and ReVSI's answers depend on the frames; keep it in {', '.join(BUDGETS)}"
        )
    for where, record in load_records(path):
        if isinstance(record, Rejected):
            yield record
            continue
        if missing := [column for column in COLUMNS if column not in record]:
            raise ValueError(f"{where}: column '{missing[0]}' is missing; it has {', '.join(record)}")
        yield _row(record, where, budget)


def _row(record: Mapping[str, Any], where: str, budget: str) -> dict[str, Any] | Rejected:
    task, scene = str(record["question_type"]), str(record["scene_id"])
    if task not in TYPES:
        return Rejected(where, "unknown task", f"'{task:.80}'; known are {', '.join(TYPES)}")
    try:
        question = Question(
            task=task,
            text=record["question"],
            answer=str(record["ground_truth"]),
            kind="number" if TYPES[task] in schema.NUMERIC else "choice",
            scene_id=scene,
            options=tuple(record["options"] or ()),
            trace={"rule": "revsi", "id": record["id"], "budget": budget},
        )
        video = f"revsi/{budget}/{scene}.mp4"
        return make_row(question, dataset=str(record["dataset"]), video=video, data_source="revsi", split="test")
    except (TypeError, ValueError) as error:
        return Rejected(where, "cannot be scored", str(error))

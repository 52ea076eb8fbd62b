"""Where a foreign record keeps question, answer, options, task, scene and video."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from verl_vsi.data_adapters.importers.options import Options, read_options
from verl_vsi.data_adapters.importers.records import Record

ColumnMap = Mapping[str, str]
"""Our field -> their column, where the user says so."""

FIELDS: dict[str, tuple[str, ...]] = {
    "question": ("question", "problem", "query", "instruction", "prompt"),
    "answer": ("answer", "solution", "ground_truth", "gt_answer", "gt", "label", "response", "output"),
    "options": ("options", "choices"),
    "task": ("question_type", "task", "task_type", "problem_type", "type", "category"),
    "scene": ("scene_id", "scene_name", "scene", "scan_id", "scan", "video_id"),
    "video": ("video", "videos", "video_path", "video_file", "path", "frames", "images", "image"),
    "dataset": ("dataset", "data_source", "source"),
}
"""Our fields and the columns they are known by, most telling first."""

CONVERSATIONS = ("conversations", "messages", "prompt")
"""Columns that hold a list of turns, as LLaVA's (``from``, ``value``) or OpenAI's (``role``, ``content``)."""


@dataclass(frozen=True)
class RecordFields:
    """Our fields of one record; None where it has no such field, or an empty one."""

    question: str | None
    answer: str | None
    options: Options
    task: str | None
    scene: str | None
    paths: tuple[str, ...]
    dataset: str | None


def read_fields(record: Record, mapping: ColumnMap) -> RecordFields:
    """Look up every field: the user's column first, then known names, then turns of a conversation.

    Args:
        record: one row of a file.
        mapping: the user's columns.

    Raises:
        ValueError: options that are no texts.
    """
    turns = _first_turns(record)
    return RecordFields(
        question=_text(_value(record, "question", mapping)) or turns.get("user"),
        answer=_text(_value(record, "answer", mapping)) or turns.get("assistant"),
        options=read_options(_value(record, "options", mapping)),
        task=_text(_value(record, "task", mapping)),
        scene=_text(_value(record, "scene", mapping)),
        paths=tuple(dict.fromkeys(_paths(_value(record, "video", mapping)))),
        dataset=_text(_value(record, "dataset", mapping)),
    )


def columns_and_row(record: Record) -> str:
    """Columns and one row, for the error of a file that was not recognised."""
    row = json.dumps(record, default=str, skipkeys=True)
    return (
        f"columns: {', '.join(record)}\none row: {row[:400]}{'…' if len(row) > 400 else ''}\n"
        "say which is which with --map question=COLUMN --map answer=COLUMN "
        f"(fields: {', '.join(FIELDS)})"
    )


def _value(record: Record, field: str, mapping: ColumnMap) -> Any:
    if field in mapping:
        return record.get(mapping[field])
    return next((record[name] for name in FIELDS[field] if record.get(name) is not None), None)


def _text(value: Any) -> str | None:
    """Text or a number as text; None for anything else, e.g. a list of turns."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _paths(value: Any) -> Iterator[str]:
    """A path, or those of a list, or of a ``{"video": path}``."""
    if isinstance(value, list):
        for member in value:
            yield from _paths(member)
    elif isinstance(value, dict):
        yield from _paths(next((value[k] for k in ("video", "path", "image") if value.get(k)), None))
    elif text := _text(value):
        yield text


def _first_turns(record: Record) -> dict[str, str]:
    """What user and assistant say first in a conversation."""
    turns = next((record[c] for c in CONVERSATIONS if isinstance(record.get(c), list)), [])
    texts: dict[str, str] = {}
    for turn in turns if all(isinstance(turn, dict) for turn in turns) else []:
        role = {"human": "user", "gpt": "assistant"}.get(speaker := str(turn.get("role") or turn.get("from")), speaker)
        texts.setdefault(role, _content(turn.get("content", turn.get("value"))))
    return {role: text for role, text in texts.items() if text}


def _content(content: Any) -> str:
    """The text of a turn, whose content may be a list of typed parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict)).strip()
    return "" if content is None else str(content).strip()

"""Whatever stops a run or a command has an entry on the page of symptoms: the code's messages are held against it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"`([^`\n]+)`", PAGE)
HOLE = "\0"
"""In a message, what the code fills in."""
SHORTEST = 12
"""Letters of a message that are its own; with fewer it is another's, and says what that one says."""
INTERNAL = {"CountMismatchError", "CrashError", "OutOfTimeError", "RequestError", "_RemoteTracebackError"}
"""Errors that the code itself catches."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    for folder in ("verl_vsi", "rewards", "data_adapters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def text_of(node: ast.expr) -> str:
    """A message with holes in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return text_of(node.left) + text_of(node.right) if isinstance(node, ast.BinOp) else HOLE


def messages() -> dict[str, str]:
    """What a `Problem` says -> where."""
    return {
        text_of(call.args[0]): f"{file}:{call.lineno}"
        for file, module in sources()
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Problem"
        if len(re.findall("[a-z]", text_of(call.args[0]))) >= SHORTEST
    }


def fits(fragment: str, message: str) -> bool:
    """Whether a fragment, with dots for what varies, is part of a message."""
    parts = [re.escape(part) for part in fragment.split("...") if part.strip()]
    return len(re.sub("[^a-z]", "", fragment)) > 5 and re.search(".*".join(parts), message, re.DOTALL) is not None


def error_classes() -> list[str]:
    return [
        node.name
        for _, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name not in INTERNAL
    ]


MESSAGES = messages()


def test_there_are_messages_to_look_for() -> None:
    assert len(MESSAGES) > 25
    assert not fits("a message that nothing has", next(iter(MESSAGES)))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.replace(HOLE, "...")[:60])
def test_what_stops_a_start_has_an_entry(message: str) -> None:
    shown = message.replace(HOLE, "...")
    assert any(fits(fragment, message) for fragment in QUOTED), f"{MESSAGES[message]}: {shown}"


@pytest.mark.parametrize("name", sorted(set(error_classes())))
def test_an_error_of_ours_has_an_entry(name: str) -> None:
    assert name in QUOTED

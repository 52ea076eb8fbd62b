"""What the commands print with: rich in a terminal, whole lines in a pipe, and one JSON object where asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.json import JSON
from rich.markup import escape
from rich.table import Table
from rich.text import Text

WIDE = 4000
"""Columns of what is no terminal."""


class CommandConsole(Console):
    """rich's console; into a pipe or a file it prints whole lines, where rich would wrap them at 80 columns."""

    _kept: dict[str, list[Any]] | None = None

    @property
    def size(self) -> ConsoleDimensions:  # pyright: ignore[reportIncompatibleMethodOverride] (no setter)
        """Of the terminal; where there is none and ``COLUMNS`` says nothing, wide enough for any line."""
        size = super().size
        return size if self.is_terminal or "COLUMNS" in os.environ else ConsoleDimensions(WIDE, size.height)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or keep for the JSON object: tables and text; not what rich draws of progress."""
        if self._kept is None:
            super().print(*objects, **options)
            return
        markup = options.get("markup") is not False
        for each in objects:
            if isinstance(each, Table):
                self._kept["tables"].append(_plain_table(each))
            elif isinstance(each, str | Text | JSON):
                self._kept["lines"] += _plain(each, markup=markup).splitlines()

    @contextmanager
    def printing(self, *, as_json: bool) -> Iterator[None]:
        """How the block prints: at once, or as one JSON object at its end, however it ends.

        The object has ``tables`` (title, columns, and rows of as many texts) and ``lines``.

        Args:
            as_json: whether as an object.
        """
        if not as_json:
            yield
            return
        self._kept, self.quiet = {"tables": [], "lines": []}, True
        try:
            yield
        finally:
            kept, self._kept, self.quiet = self._kept, None, False
            self.out(json.dumps(kept, ensure_ascii=False, indent=1), highlight=False)


def _plain_table(table: Table) -> dict[str, Any]:
    columns = [list(map(_plain, column.cells)) for column in table.columns]
    return {
        "title": _plain(table.title or ""),
        "columns": [_plain(column.header) for column in table.columns],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def _plain(content: Any, *, markup: bool = True) -> str:
    """Text without rich's markup."""
    content = content.text if isinstance(content, JSON) else content
    if isinstance(content, Text):
        return content.plain
    return Text.from_markup(str(content)).plain if markup else str(content)


console = CommandConsole()


def say(text: str, style: str = "") -> None:
    """Print a line as it is, brackets included.

    Args:
        text: the line.
        style: rich's, e.g. ``red`` or ``dim``.
    """
    console.print(f"[{style}]{escape(text)}[/]" if style else escape(text), soft_wrap=True)

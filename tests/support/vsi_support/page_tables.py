"""A generated table's place in a page of the docs, between two comments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


@dataclass(frozen=True)
class PageTable:
    """Where a table stands.

    Args:
        page: of the docs.
        name: in its comments.
    """

    page: str
    name: str

    @property
    def _path(self) -> Path:
        return DOCS / self.page

    @property
    def _marks(self) -> tuple[str, str]:
        return f"<!-- {self.name}: begin -->", f"<!-- {self.name}: end -->"

    def written(self) -> str:
        """The table that the page has."""
        begin, end = self._marks
        return self._path.read_text().partition(begin)[2].partition(end)[0].strip()

    def write(self, table: str) -> None:
        """Put a table into the page.

        Args:
            table: in Markdown.
        """
        begin, end = self._marks
        before, _, rest = self._path.read_text().partition(begin)
        self._path.write_text(f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}")

"""The package's modules, what they import, and their figures, read from the files themselves, links followed.

    python tests/support/vsi_support/house.py

prints how many modules there are, how long they and their functions are, and which stand out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[3] / "verl_vsi"
LINKS = ("data_adapters", "rewards")
LONG_MODULE, LONG_FUNCTION = 230, 40
"""Lines."""


@cache
def modules() -> dict[str, Path]:
    """Name below verl_vsi -> file."""
    files = {file for folder in (ROOT, *(ROOT / link for link in LINKS)) for file in folder.rglob("*.py")}
    return {_name(file): file for file in sorted(files)}


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports(name: str) -> frozenset[str]:
    """Dotted names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@cache
def ours(name: str) -> frozenset[str]:
    """Modules of ours that a module imports, names below verl_vsi; a name from a package's own file counts as that."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner.removeprefix("verl_vsi.") in modules() else node.module)
    return frozenset(other.removeprefix("verl_vsi.") for other in names if other.startswith("verl_vsi.")) - {name}


def circles() -> Iterator[list[str]]:
    """Circles of imports, each once: modules on one that depth-first search finds."""
    state: dict[str, int] = {}
    path: list[str] = []

    def visit(name: str) -> Iterator[list[str]]:
        state[name] = 1
        path.append(name)
        for other in sorted(ours(name)):
            if other not in modules():
                continue
            if state.get(other) == 1:
                yield [*path[path.index(other) :], other]
            elif other not in state:
                yield from visit(other)
        path.pop()
        state[name] = 2

    for name in modules():
        if name and name not in state:
            yield from visit(name)


def lines() -> dict[str, int]:
    """Module -> its lines; packages' own files, most of them one line, left out."""
    files = {name: file for name, file in modules().items() if file.name != "__init__.py"}
    return {name: len(file.read_text().splitlines()) for name, file in files.items()}


def functions() -> dict[str, int]:
    """Function -> its lines, docstring left out."""
    lengths = {}
    for name, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                start = body[0].lineno if body else node.lineno
                lengths[f"{name}:{node.name}"] = (node.end_lineno or start) - start + 1
    return lengths


def main() -> None:
    """Print the figures."""
    for what, lengths, long in (("modules", lines(), LONG_MODULE), ("functions", functions(), LONG_FUNCTION)):
        values = sorted(lengths.values())
        print(f"{len(values)} {what}, {sum(values)} lines: median {median(values):.0f}, longest {values[-1]}")
        for name, value in sorted(lengths.items(), key=lambda item: -item[1]):
            if value > long:
                print(f"  {value} {name}")


if __name__ == "__main__":
    main()

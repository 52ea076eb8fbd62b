"""What MkDocs fills in while it builds: references from the code, figures from `benchmarks/results/`, shared files.

A figure in a page is written ``{{ file.json: key.key.0 | .1f }}``: the value at that path in that result file, in that
format. An unknown file or key ends the build.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FIGURE = re.compile(r"\{\{\s*(?P<file>[\w.]+):\s*(?P<path>[^|}]+?)\s*(?:\|\s*(?P<format>[^}\s]+)\s*)?\}\}")

PASSES = re.compile(r"\{\{ passes(?: (?P<model>\w+))? \}\}")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the recorded pictures."""
    pages = {
        "reference/commands.md": commands(),
        "reference/keys.md": keys(),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    for picture in sorted(RESULTS.glob("*.png")):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the figures in."""
    markdown = PASSES.sub(lambda match: passes_table(match["model"]), markdown)
    return FIGURE.sub(lambda match: figure(**match.groupdict()), markdown)


def figure(file: str, path: str, format: str | None) -> str:
    """One value of a result file, as text.

    Args:
        file: its name in `benchmarks/results`.
        path: keys and list positions, with dots between; a key that has dots itself stands in quotes.
        format: Python's, e.g. ``.1f``.

    Raises:
        LookupError: no such file or key.
    """
    value: Any = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', path):
        key = quoted or plain.strip()
        if key == "":
            continue
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError) as error:
            raise LookupError(f"{file} has nothing at {path} (at {key!r})") from error
    return str(value) if format is None else f"{value:{format}}"


def passes_table(model: str | None = None, n: int = 14) -> str:
    """Seconds of verl's and of shared passes, as `benchmarks/passes.py` recorded them.

    Args:
        model: its `model_type`; None for Qwen2-VL.
        n: answers a question.
    """
    file = RESULTS / f"passes_cpu_{f'{model}_' if model else ''}small.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
    seconds = {(row["kind"], row["pass"], row["answer"]): row["seconds"] for row in rows if row["n"] == n}
    lines = ["| pass | answer, tokens | verl | shared | ratio |", "|---|---|---|---|---|"]
    for _, name, answer in sorted(key for key in seconds if key[0] == "stock"):
        verl, shared = seconds["stock", name, answer], seconds["shared", name, answer]
        lines.append(f"| {name} | {answer} | {verl:.1f} s | {shared:.2f} s | {verl / shared:.1f} |")
    return "\n".join(lines)


COMMANDS_HEAD = """# Commands

Generated from the commands themselves. With `--json` each prints one object in place of text: `tables` (title, columns,
rows of texts) and `lines`. Exit status: 0 done; 1 a run failed or a check found something; 2 wrong usage or
input; 130 an interrupt.
"""


def commands() -> str:
    """Every command with its arguments and options, as its ``--help`` says them."""
    from verl_vsi.cli import COMMANDS, load

    parts = [COMMANDS_HEAD]
    for name, line in COMMANDS.items():
        command = load(name)
        children = getattr(command, "commands", {})
        parts.append(f"## verl-vsi {name}\n\n{line[0].upper()}{line[1:]}.\n{_options(command)}")
        parts += [
            f"### verl-vsi {name} {word}\n\n{_child(child)}" for word, child in children.items() if not child.hidden
        ]
    return "\n".join(parts)


def _child(command: Any) -> str:
    return f"{inspect.cleandoc(command.help or '')}\n{_options(command)}"


def _options(command: Any) -> str:
    rows = [_option_row(p) for p in command.params if not getattr(p, "hidden", False) and "--help" not in p.opts]
    return "\n| | | default |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""


def _option_row(parameter: Any) -> str:
    words = parameter.opts if parameter.opts[0].startswith("-") else [parameter.name.upper()]
    meaning = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
    default = parameter.default
    shown = f"`{default}`" if isinstance(default, str | int | float | Path) and default is not False else ""
    return f"| {', '.join(f'`{word}`' for word in words)} | {meaning} | {shown} |"


KEYS_HEAD = """# Keys under `vsi`

Generated from the schema that every start is checked against. Values, and whether they are the paper's, stand in the
recipes: `verl-vsi recipes show vsgrpo_2b`. All other keys are verl's own.

| key | values | meaning |
|---|---|---|
"""


def keys() -> str:
    """Every key under `vsi`, its type and its meaning, from `verl_vsi.config.schema`."""
    from verl_vsi.config.schema import Vsi

    schema = Vsi.model_json_schema()
    return KEYS_HEAD + "\n".join(_key_rows(schema, "vsi", schema["$defs"])) + "\n"


def _key_rows(schema: dict[str, Any], prefix: str, definitions: dict[str, Any]) -> list[str]:
    rows = []
    for name, field in schema["properties"].items():
        key, parts = f"{prefix}.{name}", field.get("anyOf") or [field]
        node = next((definitions[part["$ref"].rsplit("/", 1)[1]] for part in parts if "$ref" in part), None)
        meaning = " ".join(((node or field).get("description") or "").split())
        if node is None:
            rows.append(f"| `{key}` | {' or '.join(map(_values, parts))} | {meaning} |")
        else:
            rows += [f"| **`{key}`** | | {meaning} |", *_key_rows(node, key, definitions)]
    return rows


def _values(part: dict[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = " and ".join(f"{sign} {part[word]}" for word, sign in bounds.items() if word in part)
    kind = {"array": "list", "object": "mapping", "null": "null"}.get(part.get("type", ""), part.get("type", "any"))
    return f"{kind} {limits}".strip()

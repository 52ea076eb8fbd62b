"""What is wrong with a `vsi` node, by its schema, and the way out of each."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from verl_vsi.config.problems import Problem
from verl_vsi.config.schema import Vsi, fields_of


def check_node(node: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything that is wrong with a `vsi` node.

    Args:
        node: plain and resolved.
    """
    try:
        Vsi.model_validate(node)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            yield _problem(details)


def _problem(details: Any) -> Problem:
    path = [str(part) for part in details["loc"] if part not in ("str", "list[str]")]
    key, value = ".".join(["vsi", *path]), details["input"]
    match details["type"]:
        case "extra_forbidden":
            return _unknown(path)
        case "missing":
            return Problem(f"{key} is missing", f"set {key}, or build the recipe on one of ours, which sets it")
        case "model_type":
            return Problem(
                f"{key}={value}, where it is a group of keys", f"take {key} out of the command or the recipe"
            )
        case "value_error":
            return Problem(f"{key}: {details['ctx']['error']}", f"correct {key} in the recipe or on the command line")
        case _:
            rule = details["msg"].removeprefix("Input should be ").removeprefix("a valid ")
            return Problem(f"{key}={value} is not {rule}", f"set {key} to {_suggestion(details, rule)}")


def _suggestion(details: Any, rule: str) -> str:
    choices = [choice.strip(" '") for choice in str(details.get("ctx", {}).get("expected", "")).split(" or ")]
    choices = [choice.strip("' ") for part in choices for choice in part.split(",") if choice]
    close = difflib.get_close_matches(str(details["input"]), choices, 1, cutoff=0.3)
    return close[0] if close else f"a value that is {rule}"


def _unknown(path: list[str]) -> Problem:
    """A key that nothing reads."""
    fields = fields_of(path[:-1])
    close = difflib.get_close_matches(path[-1], fields, 1, cutoff=0.6)
    meant = f"did you mean {'.'.join(['vsi', *path[:-1], close[0]])}?" if close else f"known: {', '.join(fields)}"
    return Problem(f"nothing reads {'.'.join(['vsi', *path])}, so the run would go on with defaults", meant)

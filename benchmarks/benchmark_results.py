"""What the benchmarks share: where results go, on which machine and with which versions they were measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of the packages that are installed."""
    installed = {}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def machine() -> dict[str, Any]:
    """Its cores, its load of the last minute and its architecture."""
    return {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "machine": platform.machine()}


def report(name: str, result: dict[str, Any], packages: Sequence[str]) -> None:
    """Print a result and write it, with the machine and the versions.

    Args:
        name: of the script, and of the file.
        result: what was measured.
        packages: whose versions matter.
    """
    record = {**result, **machine(), "versions": versions(packages)}
    write_result(RESULTS / f"{name}.json", record)
    print(json.dumps(record, indent=1))


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, whole or not at all.

    Args:
        path: the file; `RESULTS` / "<script>.json".
        result: what was measured, where and with what.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def resume(path: Path, about: dict[str, Any], changing: Sequence[str] = ()) -> dict[str, Any] | None:
    """What an interrupted run has written, if it measured the same on the same machine with the same versions.

    Args:
        path: the file of the results.
        about: what is measured now; the file keeps it under ``about``.
        changing: keys of `about` that may differ.
    """
    if not path.exists():
        return None
    before = json.loads(path.read_text())
    ignored = dict.fromkeys(changing)
    return before if {**before["about"], **ignored} == {**about, **ignored} else None

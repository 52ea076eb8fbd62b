"""What the plug-in costs is read off fresh processes as they report it, and the record keeps the bar."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "plugin_import.json"


@pytest.fixture
def script(benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark("plugin_import")


def test_modules_are_those_between_the_marks(script: ModuleType) -> None:
    stderr = "\n".join(
        [
            "import time:      9000 |       9000 | verl",
            script.FIRST,
            "import time: self [us] | cumulative | imported package",  # Python's header, where it comes late
            "import time:       400 |        400 |   verl_vsi.run_mark",
            "import time:      2000 |       2400 | verl_vsi.plugin",
            script.LAST,
            "import time:      7000 |       7000 | atexit's own",
        ]
    )
    assert script.import_times(stderr) == {"verl_vsi.plugin": 2.0, "verl_vsi.run_mark": 0.4}


def test_modules_are_ordered_by_their_median(script: ModuleType) -> None:
    runs = [{"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 3.0}, {"a": 90.0, "b": 2.5}]
    assert list(script.medians(runs).items()) == [("b", 2.5), ("a", 1.5)]


def test_both_sides_are_medians(script: ModuleType) -> None:
    def record(verl: float, **rest: float) -> dict[str, dict[str, float]]:
        return {name: {"cpu_ms": value} for name, value in {"verl": verl, **rest}.items()}

    without = [record(verl, search=8.0, plugin=10.0) for verl in (900.0, 1000.0, 5000.0)]
    beside = [record(verl) for verl in (1000.0, 1100.0, 1300.0)]
    assert script.summary(without, beside, "cpu_ms") == {
        "without": 1000.0,
        "with": 1100.0,
        "ratio": 1.1,
        "search": 8.0,
        "plugin": 10.0,
        "plugin_ratio": 1.01,
    }


def test_a_fresh_process_reports_what_it_measured(script: ModuleType) -> None:
    program = (
        "import os, json; print('verl says'); print(json.dumps({'verl': {'cpu_ms': len(os.getenv('VSI_RUN', ''))}}))"
    )
    assert script.run(program)[0] == {"verl": {"cpu_ms": 0}}, "no mark of a run of ours is inherited"


def test_the_recorded_cost_is_under_the_bar(script: ModuleType) -> None:
    recorded = json.loads(RECORD.read_text())
    assert recorded["cpu_ms"]["plugin"] <= script.BAR_MS
    assert sum(recorded["modules_ms"].values()) <= script.BAR_MS

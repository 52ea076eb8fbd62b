"""What the plug-in costs on top of `import verl`, where no recipe is asked for.

    python benchmarks/plugin_import.py [--runs 9]

Fresh processes, in turns: one imports verl without plug-ins (`VERL_USE_EXTERNAL_PLUGINS=none`) and then loads this one
by itself, as verl would have done at that very point; one imports verl with it. The difference of the two sides drowns
in what `import verl` varies by, so the bar, 50 ms, is on the plug-in by itself; verl's search for plug-ins, which takes
place whether or not this one is installed, is timed apart. More processes say which modules the plug-in imports, and
how long each takes (`python -X importtime`). Results go to benchmarks/results/plugin_import.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median
from typing import Any

from benchmark_results import RESULTS, machine, versions, write_result
from rich.console import Console
from rich.progress import track
from rich.table import Table

BAR_MS = 50.0
IMPORT_TIMES = 5
"""Processes that time modules."""
CLOCKS = {"wall_ms": "by the clock", "cpu_ms": "of the CPU"}
COLUMNS = {
    "without": "without",
    "with": "with",
    "ratio": "with / without",
    "search": "search for plug-ins",
    "plugin": "plug-in by itself",
    "plugin_ratio": "(without + plug-in) / without",
}
NOT_INHERITED = ("VSI_RUN", "VERL_PLATFORM", "VSI_RECIPES", "VERL_USE_EXTERNAL_PLUGINS", "VERL_USE_EXTERNAL_MODULES")
"""Environment variables that would make these processes part of a run of ours, or let verl load something else."""

IMPORT_VERL = """
import json, sys, time
def now():
    return {"wall_ms": 1000 * time.perf_counter(), "cpu_ms": 1000 * time.process_time()}
def since(start):
    return {clock: value - start[clock] for clock, value in now().items()}
start = now()
import verl
record = {"verl": since(start)}
"""
FIRST, LAST = "-- the plug-in --", "-- the rest --"
LOAD_PLUGIN = f"""
start = now()
from importlib.metadata import entry_points  # as verl does
(entry_point,) = (point for point in entry_points(group="verl.plugins") if point.name == "verl_vsi")
record["search"] = since(start)
print({FIRST!r}, file=sys.stderr, flush=True)
start = now()
entry_point.load()
record["plugin"] = since(start)
print({LAST!r}, file=sys.stderr, flush=True)
"""
REPORT = "print(json.dumps(record))"

Record = dict[str, dict[str, float]]
"""What was imported -> clock -> milliseconds."""


def main() -> None:
    """Measure, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="processes of each side")
    options = parser.parse_args()
    without: list[Record] = []
    beside: list[Record] = []
    for _ in track(range(options.runs), "processes"):
        without.append(run(IMPORT_VERL + LOAD_PLUGIN + REPORT, VERL_USE_EXTERNAL_PLUGINS="none")[0])
        beside.append(run(IMPORT_VERL + REPORT)[0])
    timed = (IMPORT_VERL + LOAD_PLUGIN + REPORT, "-X", "importtime")
    modules = [
        import_times(run(*timed, VERL_USE_EXTERNAL_PLUGINS="none")[1])
        for _ in track(range(IMPORT_TIMES), "import times")
    ]
    result = {
        "what": "import verl without and with this plug-in, no recipe asked for: milliseconds, medians",
        "command": f"python benchmarks/plugin_import.py --runs {options.runs}",
        "runs": options.runs,
        "bar_ms": BAR_MS,
        **{clock: summary(without, beside, clock) for clock in CLOCKS},
        "modules_ms": medians(modules),
        **machine(),
        "versions": {"python": sys.version.split()[0], **versions(("verl-vsi", "verl", "torch"))},
    }
    write_result(RESULTS / "plugin_import.json", result)
    show(result)


def run(program: str, *options: str, **env: str) -> tuple[Record, str]:
    """What a fresh process has measured, and its stderr.

    Args:
        program: prints its record as the last line.
        options: of Python.
        env: environment variables beside the inherited ones.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    command = [sys.executable, *options, "-c", program]
    process = subprocess.run(command, env={**inherited, **env}, capture_output=True, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1]), process.stderr


def summary(without: list[Record], beside: list[Record], clock: str) -> dict[str, float]:
    """Medians over the runs.

    Args:
        without: of processes that load the plug-in after verl, by themselves.
        beside: of processes in which verl loads it.
        clock: one of `CLOCKS`.
    """
    verl, search, plugin = (median(record[part][clock] for record in without) for part in without[0])
    together = median(record["verl"][clock] for record in beside)
    return {
        "without": round(verl, 1),
        "with": round(together, 1),
        "ratio": round(together / verl, 3),
        "search": round(search, 1),
        "plugin": round(plugin, 1),
        "plugin_ratio": round((verl + plugin) / verl, 4),
    }


def import_times(stderr: str) -> dict[str, float]:
    """Milliseconds of each module's own code, of those that the plug-in imports.

    Modules that it imports by name (`importlib.import_module`) are not timed by Python.
    """
    lines = stderr.partition(FIRST)[2].partition(LAST)[0].splitlines()
    columns = [line.removeprefix("import time:").split("|") for line in lines if line.startswith("import time:")]
    return {name.strip(): int(own) / 1000 for own, _, name in columns if own.strip().isdigit()}


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Over processes, of each module; longest first."""
    times = {name: round(median(run[name] for run in runs), 3) for name in runs[0]}
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def show(result: dict[str, Any]) -> None:
    """Both clocks, then the modules."""
    console = Console()
    table = Table("import verl", *COLUMNS.values(), title=result["what"])
    for clock, label in CLOCKS.items():
        table.add_row(label, *(f"{result[clock][column]:g}" for column in COLUMNS))
    console.print(table)
    for name, milliseconds in result["modules_ms"].items():
        console.print(f"{milliseconds:7.2f} ms  {name}")
    console.print(f"the plug-in: {result['cpu_ms']['plugin']:g} ms of the CPU; the bar is {BAR_MS:g} ms")


if __name__ == "__main__":
    main()

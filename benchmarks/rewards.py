"""Scores per second of the reward, beside R1-V's two regular expressions on the same responses.

    python benchmarks/rewards.py [--responses 20000]

CPU time, the best of three passes; results go to benchmarks/results/rewards.json. A million adversarial responses and a
thousand of 10 MB are a test: `pytest -m slow --timeout 7200 tests/rewards/test_properties.py`.

R1-V's functions read no units, words or separators; they are what one would write first. Its pattern takes quadratic
time on repeated tags (which is what a hacking model writes), shown in the last rows.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import time
from collections.abc import Callable, Sequence

from benchmark_results import RESULTS, versions, write_result
from rich.console import Console
from rich.table import Table

from verl_vsi.rewards.vsgrpo import compute_score

Scorer = Callable[[str, str], float]

ANSWERS = ["4", "5.", "about 3.5 metres", "twenty-one", "1,200 cm", "I can't tell", "5 ft 11 in", "7 m²"]
REPEATS = 2000


def ours(response: str, truth: str) -> float:
    return float(compute_score("vsi100k/object_abs_distance", response, truth, None, tag="think")["score"])


def official(response: str, truth: str) -> float:
    settings = {"extraction": "official", "numeric": "mra", "tag": "think"}
    return float(compute_score("vsi100k/object_abs_distance", response, truth, None, **settings)["score"])


def r1v(response: str, truth: str) -> float:
    """R1-V's accuracy and format, written down anew: a searched answer compared as text, and a whole match."""
    match = re.search(r"<answer>(.*?)</answer>", response, re.DOTALL)
    answer = match[1].strip() if match else response.strip()
    whole = re.fullmatch(r"<think>.*?</think>\s*<answer>.*?</answer>", response, re.DOTALL)
    return float(answer == truth) + float(whole is not None)


def responses(number: int) -> list[str]:
    draw = random.Random(0)
    thought = "I see a table and four chairs around it. "
    return [
        f"<think>{thought * draw.randint(1, 8)}</think>\n<answer>{draw.choice(ANSWERS)}</answer>" for _ in range(number)
    ]


def rate(scorer: Scorer, batch: Sequence[str]) -> float:
    """Responses a CPU second: the best of three passes.

    Args:
        scorer: of a response and the truth.
        batch: of responses.
    """
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for response in batch:
            scorer(response, "3.5")
        best = min(best, time.process_time() - start)
    return len(batch) / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=20_000)
    think_mode = responses(parser.parse_args().responses)
    hacked = ["<think></think><answer>" * REPEATS]
    record: dict[str, dict[str, float]] = {}
    table = Table("responses", "scorer", "a second", "of R1-V's rate", title="One core")
    for name, batch in (
        (f"{len(think_mode):,} of think mode", think_mode),
        (f"tags {REPEATS:,} times, never closed", hacked),
    ):
        baseline = rate(r1v, batch)
        for scorer in (r1v, ours, official):
            speed = baseline if scorer is r1v else rate(scorer, batch)
            record.setdefault(name, {})[scorer.__name__] = round(speed, 1)
            table.add_row(name, scorer.__name__, f"{speed:,.0f}", f"{speed / baseline:.2f}")
    Console().print(table)
    about = {"what": "responses scored a CPU second on one core", "machine": platform.machine()}
    packages = {"python": platform.python_version(), **versions(["verl-vsi"])}
    write_result(RESULTS / "rewards.json", {**about, "rates": record, "versions": packages})


if __name__ == "__main__":
    main()

"""What the rows of a run hold: scenes of the benchmark among those to train on, and rows that no reward could score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from verl_vsi.config.access import row_files
from verl_vsi.config.problems import Problem

_SHOWN = 3


@dataclass(frozen=True)
class RowFindings:
    """What is wrong with the rows of one file.

    Args:
        leaks: scene -> why training on it would leak into a score on VSI-Bench.
        problems: why rows can't be used -> their numbers, from 0.
    """

    leaks: Mapping[str, str]
    problems: Mapping[str, list[int]]


def check_leakage(config: DictConfig) -> Iterator[Problem]:
    """No row to train on names a scene that would leak, in any id or path, unless the published data are asked for."""
    if config.vsi.data.published:
        return
    for file in row_files(config, "train_files"):
        scenes = _findings(config, file).leaks
        if scenes:
            more = ", ..." if len(scenes) > _SHOWN else ""
            yield Problem(
                f"{file} holds rows of {len(scenes)} scenes that would leak into a score on VSI-Bench "
                f"({', '.join(f'{scene}: {why}' for scene, why in list(scenes.items())[:_SHOWN])}{more})",
                "build the rows again (`verl-vsi data build` leaves such scenes out), or say that you mean it: "
                "ablation=[published_data]",
            )


def check_truths(config: DictConfig) -> Iterator[Problem]:
    """Every row has its videos and a truth that the run's extraction can reach: a row without trains on nothing."""
    for key in ("train_files", "val_files"):
        for file in row_files(config, key):
            problems = _findings(config, file).problems
            rows = sum(len(numbers) for numbers in problems.values())
            if rows:
                shown = "\n".join(f"row {numbers[0]}: {why}" for why, numbers in list(problems.items())[:_SHOWN])
                yield Problem(
                    f"{file}: {rows} rows can't be scored\n{shown}",
                    f"`verl-vsi data audit {file}` lists them all; build or import the rows again",
                )


def _findings(config: DictConfig, file: str) -> RowFindings:
    """Of a file that can be read; nothing of another (`check_rows` says so)."""
    try:
        state = Path(file).stat()
    except OSError:
        return RowFindings({}, {})
    extraction = OmegaConf.select(config, "vsi.reward.extraction", default="robust")
    return _read(file, (state.st_size, state.st_mtime_ns), str(extraction))


@lru_cache(maxsize=16)
def _read(file: str, _: tuple[int, int], extraction: str) -> RowFindings:
    from verl_vsi.data_adapters.leakage import ids_and_paths, leaks
    from verl_vsi.data_adapters.parquet_files import DAMAGE, batches
    from verl_vsi.data_adapters.row_checks import row_problem

    scenes: dict[str, str] = {}
    problems: dict[str, list[int]] = defaultdict(list)
    number = 0
    try:
        for batch in batches(Path(file)):
            for row in batch.to_pylist():
                scenes |= leaks(ids_and_paths({name: value for name, value in row.items() if name != "prompt"}))
                if problem := row_problem(row, extraction):
                    problems[problem].append(number)
                number += 1
    except (*DAMAGE, ValueError) as error:
        problems[f"the file is damaged from here on: {error}"].append(number)
    return RowFindings(dict(sorted(scenes.items())), problems)

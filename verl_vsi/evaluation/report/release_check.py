"""The values that test-set-training publishes of VSI-Bench answers, computed anew from the files it releases.

Its folder ``reproduce`` (github.com/vision-x-nyu/test-set-training; arXiv 2511.04655, Tables 2, 3 and 9 to 13) holds 15
files of answers, lists of removed questions, and the expected values, which are read from there. None of it ships here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_vsi.data_adapters.vsibench_download import read_ids
from verl_vsi.evaluation.report.rescored import BLIND, random_removals
from verl_vsi.evaluation.score.grade import score_of
from verl_vsi.evaluation.score.numbers_with_units import read_number
from verl_vsi.evaluation.score.predictions import Prediction, read_predictions

TOLERANCE = 0.005
"""The release's own: its values are in per cent, to four decimals."""
RUNS = {
    "llava_video_7b_ft_vsi_train_10k": "vsi_train_10k",
    "cambrian_s_prerelease": "cambrian-s",
    "internvl3_9b": "internvl3_9b",
    "internvl2_5_26b": "internvl2_5_26b",
    "internvl2_5_8b": "internvl2_5_8b",
    "llava_onevision_7b": "llava_ov_7b",
    "llava_video_7b_base_2026": "llava_vid_7b_2026",
}
"""What the expected values call a run -> its file of answers; `rescored.BLIND` follows where no video was shown."""
BASE_BLIND = "llava_vid_7b_blind"
"""Answers of an earlier run, whose answers with video are not in the release."""
CONTROLLED = tuple(RUNS)[:2]
"""Runs that are also held against random removals (Tables 10 and 11)."""
REMOVALS = {
    "rf_per_format_b1000": "ibp/rf/pf_b1000/removed_ids.txt",
    "rf_per_type_uniform54": "ibp/rf/pt_uniform54/removed_ids.txt",
    "rf_per_type_v1budgets_seed1": "ibp/rf/pt_v1budgets_s1/removed_ids.txt",
    "rf_per_type_v1budgets_seed42": "ibp/rf/pt_v1budgets_s42/removed_ids.txt",
    "v1_manual_pilot": "vsi_bench_debiased_v1_removed_ids.txt",
}
"""Rows of Table 10 -> their removed questions."""


@dataclass(frozen=True)
class CheckedValue:
    """A published value beside ours; `computed` None: the files do not give it."""

    name: str
    published: float
    computed: float | None

    @property
    def is_equal(self) -> bool:
        """To the release's tolerance."""
        return self.computed is not None and abs(self.computed - self.published) <= TOLERANCE


def check_release(folder: Path) -> list[CheckedValue]:
    """Each published value that is about VSI-Bench's answers: 101 of ``expected_v1.json``, 98 of ``expected_ibp.json``.

    Args:
        folder: ``reproduce`` of a clone of test-set-training.

    Raises:
        FileNotFoundError: it is not that folder.
        ImportError: text2digits, which the published numbers were read with, is not installed.
    """
    release = Release(folder / "data")
    pairs = [(folder / "expected_v1.json", release.refined()), (folder / "expected_ibp.json", release.pruned())]
    return [value for file, computed in pairs for value in _compared(file, computed)]


def _compared(file: Path, computed: Mapping[str, Any]) -> Iterator[CheckedValue]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there; name the folder `reproduce` of a clone of test-set-training")
    ours = dict(_leaves(computed))
    expected = json.loads(file.read_text(encoding="utf-8"))
    for name, value in _leaves({key: expected[key] for key in expected if key in computed}):
        yield CheckedValue(name, value, ours.get(name))


def _leaves(tree: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}{key}.")
        else:
            yield f"{name}{key}", float(value)


@dataclass
class Release:
    """The release's answers and lists.

    Args:
        data: its folder ``data``.
    """

    data: Path

    def removed(self, name: str) -> set[str]:
        """Ids of a list below ``data``."""
        return set(map(str, read_ids(self.data / name)))

    @cached_property
    def tasks(self) -> dict[str, str]:
        """Id -> question type."""
        return {one.id: one.task for one in self.answers["vsi_train_10k"]}

    @cached_property
    def answers(self) -> dict[str, list[Prediction]]:
        """File of ``data/preds``, without its ending -> its answers."""
        files = [f"{file}{end}" for file in RUNS.values() for end in ("", BLIND)] + [BASE_BLIND]
        return {file: read_predictions(self._path(file)) for file in files}

    def _path(self, file: str) -> Path:
        packed = self.data / "preds" / f"{file}.jsonl.gz"
        plain = packed.with_suffix("")
        return plain if plain.exists() else packed

    def scores(self, file: str, logged: bool = False) -> dict[str, float]:
        """Id -> score, 0 to 1. Choices have the score that was logged with them.

        Args:
            file: of ``data/preds``, without its ending.
            logged: numbers, too (Table 10); otherwise they are read anew.
        """
        scores = {one.id: one.own if logged or one.kind == "choice" else _rescored(one) for one in self.answers[file]}
        return {identity: score for identity, score in scores.items() if score is not None}

    def refined(self) -> dict[str, Any]:
        """Scores on VSI-Bench and VSI-Bench-Debiased (Tables 2, 3, 11 and 12) and what was removed (Table 9)."""
        removed = self.removed(REMOVALS["v1_manual_pilot"])
        tree: dict[str, Any] = {key: self._run(key, removed) for key in RUNS}
        blind = self.scores(BASE_BLIND)
        kept = [score for identity, score in blind.items() if identity not in removed]
        tree["llava_video_7b_base_blind"] = {"blind_full": _percent(list(blind.values())), "blind_v1": _percent(kept)}
        before, gone = Counter(self.tasks.values()), Counter(t for i, t in self.tasks.items() if i in removed)
        tree["v1_composition"] = {
            task: {"original": n, "removed": gone[task], "kept": n - gone[task]} for task, n in before.items()
        }
        tree["v1_composition_total"] = {"original": before.total(), "removed": gone.total()}
        return tree | {"removed_ids": len(removed)}

    def _run(self, key: str, removed: set[str]) -> dict[str, Any]:
        ids, sighted, blind = self._paired(RUNS[key])
        kept = np.array([identity not in removed for identity in ids])
        values: dict[str, Any] = {}
        for name, part in (("full", np.ones_like(kept)), ("v1", kept)):
            scores = _percent(sighted[part]), _percent(blind[part])
            values |= {f"n_{name}": part.sum(), f"vision_{name}": scores[0], f"blind_{name}": scores[1]}
            values[f"gap_{name}"] = scores[0] - scores[1]
        if key not in CONTROLLED:
            return values
        control = {"full_gap": values["gap_full"], "guided_gap": values["gap_v1"]}
        return values | {"random_control_54pct": control | _gap(sighted - blind, ~kept)}

    def _paired(self, file: str, logged: bool = False) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
        """Ids that both files score, sorted as text; scores with video, and without."""
        sighted, blind = self.scores(file, logged), self.scores(f"{file}{BLIND}", logged)
        ids = sorted(sighted.keys() & blind.keys())
        return ids, np.array([sighted[i] for i in ids]), np.array([blind[i] for i in ids])

    def pruned(self) -> dict[str, Any]:
        """The gap after each way of pruning (Table 10), and what the ways have in common (Table 13)."""
        table10: dict[str, Any] = {row: {} for row in REMOVALS}
        for key in CONTROLLED:
            ids, sighted, blind = self._paired(RUNS[key], logged=True)
            for row, file in REMOVALS.items():
                table10[row][key] = _gap(sighted - blind, np.isin(ids, list(self.removed(file))))
            if key == CONTROLLED[0]:
                table10["original"] = {"n_kept": len(ids), "gap": _percent(sighted - blind)}
        return {"table10": table10, "table13": self._overlap()}

    def _overlap(self) -> dict[str, Any]:
        by_model = {i for kind in ("mc", "num") for i in self.removed(f"ibp/llm/vsi_pf_{kind}_removed_ids.txt")}
        by_forest, few = (self.removed(f"ibp/rf/pf_b{budget}/removed_ids.txt") for budget in (1000, 200))
        of_model, of_forest = (Counter(self.tasks[i] for i in ids) for ids in (by_model, by_forest))
        rates = {
            task: {"tst_llm_pct": 100 * of_model[task] / n, "tst_rf_pct": 100 * of_forest[task] / n}
            for task, n in Counter(self.tasks.values()).items()
        }
        both, either = by_model & by_forest, by_model | by_forest
        counts = {"n_removed_llm": len(by_model), "n_removed_rf": len(by_forest)}
        counts |= {"intersection": len(both), "union": len(either)}
        matched = len(by_model & few) / len(by_model | few)
        overlap = {"jaccard": len(both) / len(either), "jaccard_matched_budget_200": matched}
        return {**counts, **overlap, "removal_rates": rates}


def _percent(scores: Any) -> float:
    return 100 * float(np.mean(scores))


def _gap(gaps: NDArray[np.float64], removed: NDArray[np.bool_]) -> dict[str, float]:
    """Of the questions that are kept, beside as many random removals."""
    count = int(removed.sum())
    random = random_removals(gaps, count)
    return {
        "n_removed": count,
        "n_kept": len(gaps) - count,
        "removed_pct": 100 * count / len(gaps),
        "gap": _percent(gaps[~removed]),
        "random_mean": float(random.mean()),
        "random_std_ddof1": float(random.std(ddof=1)),
        "random_min": float(random.min()),
        "random_max": float(random.max()),
    }


def _rescored(one: Prediction) -> float:
    return score_of(read_number(one.response, one.task), one.truth)

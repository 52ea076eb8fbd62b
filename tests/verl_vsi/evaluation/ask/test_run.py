from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from verl_vsi.data_adapters.rows import SCHEMA
from verl_vsi.evaluation.ask.endpoint import Endpoint, EndpointError
from verl_vsi.evaluation.ask.evaluation import Evaluation, Job, check_evaluation
from verl_vsi.evaluation.ask.journal import JournalError
from verl_vsi.evaluation.ask.run import evaluate, is_answered
from verl_vsi.evaluation.ask.soundness import HOPELESS, UnsoundError
from verl_vsi.evaluation.conditions import Condition
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.score.result import Result, read_result
from verl_vsi.evaluation.task_columns import PRESENT, VSIBENCH

QUIET = Console(file=io.StringIO())


@pytest.fixture
def evaluation(data_root: Path) -> Evaluation:
    protocol = make_protocol("official", frames={"nframes": 4, "min_pixels": 56 * 56, "max_pixels": 56 * 56})
    return Evaluation(
        read_set(data_root / "rows.parquet"), protocol, VSIBENCH, data_root, data_root / "frames", "some/model"
    )


def text_of(request: dict[str, Any]) -> str:
    return request["messages"][0]["content"][-1]["text"]


@pytest.fixture
def right(completion: Callable[..., str]) -> Callable[..., Any]:
    """Right answers for numbers of counting and for A; nothing that can be read else."""
    return lambda request, before: (200, {}, completion("A" if "Options:" in text_of(request) else "4"))


def run(evaluation: Evaluation, base_url: str, out: Path, condition: Condition = "normal", **settings: Any) -> Result:
    endpoint = replace(Endpoint(base_url, "m", first_wait=0.01), **settings)
    return evaluate(Job(evaluation, condition, out), endpoint, QUIET)


def answered(evaluation: Evaluation, out: Path) -> bool:
    return is_answered(Job(evaluation, "normal", out))


def test_a_result_carries_its_labels_and_every_answer(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    run(evaluation, start_endpoint(right).base_url, tmp_path / "normal.json")
    result = read_result(tmp_path / "normal.json")
    labels = ("model", "condition", "frames", "min_pixels", "max_pixels", "prompts", "extraction", "averaging")
    for label in (*labels, "decoding", "data", "versions", "seed", "set", "sent_as"):
        assert getattr(result.labels, label) not in (None, "", {}), label
    assert result.labels.data["sha256"]
    assert len(result.answers) == 30
    assert result.answers[0].response == "4"
    # counting 1, distances MRA(4, 2.5) = 0, sizes MRA(4, 100) = MRA(4, 20) = 0, letters 1
    assert result.scores["score"].overall.mean == pytest.approx(5 / 8)
    assert set(result.baselines) == {"chance", "frequency", "best_constant"}


def test_an_evaluation_cut_in_the_middle_goes_on_to_the_same_result(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    def dies(request: dict[str, Any], before: int) -> Any:
        return right(request, before) if len(first.requests) <= 11 else (401, {}, "{}")

    first, second = start_endpoint(dies), start_endpoint(right)
    with pytest.raises(EndpointError):
        run(evaluation, first.base_url, tmp_path / "cut.json", concurrency=1)
    assert not (tmp_path / "cut.json").exists()
    assert not answered(evaluation, tmp_path / "cut.json")
    resumed = run(evaluation, second.base_url, tmp_path / "cut.json")
    whole = run(evaluation, second.base_url, tmp_path / "whole.json")
    assert len(second.requests) == (30 - 11) + 30
    assert (resumed.answers, resumed.scores, resumed.rates) == (whole.answers, whole.scores, whole.rates)
    assert resumed.usage.prompt_tokens == whole.usage.prompt_tokens == 30_000


def test_a_finished_evaluation_asks_nothing_again(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    endpoint = start_endpoint(right)
    run(evaluation, endpoint.base_url, tmp_path / "normal.json")
    assert answered(evaluation, tmp_path / "normal.json")
    run(evaluation, "http://127.0.0.1:9/v1", tmp_path / "normal.json")
    assert len(endpoint.requests) == 30


def test_answers_of_other_weights_are_not_taken_for_a_models_own(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    before = replace(evaluation, served={"step": "global_step_5", "sha256": "a"})
    run(before, start_endpoint(right).base_url, tmp_path / "normal.json")
    assert read_result(tmp_path / "normal.json").labels.served["step"] == "global_step_5"
    trained_on = replace(evaluation, served={"step": "global_step_9", "sha256": "b"})
    with pytest.raises(JournalError, match=r"served: .*global_step_5.* there, .*global_step_9.* now"):
        answered(trained_on, tmp_path / "normal.json")


def test_failed_and_refused_questions_stay_in_the_denominator_and_failed_ones_are_asked_again(
    evaluation: Evaluation,
    start_endpoint: Callable[..., Any],
    completion: Callable[..., str],
    right: Any,
    tmp_path: Path,
) -> None:
    def some(request: dict[str, Any], before: int) -> Any:
        if "question 0?" in text_of(request):
            return 400, {}, "{}"
        if "question 10?" in text_of(request):
            return 200, {}, completion(None, refusal="no")
        return right(request, before)

    with pytest.raises(UnsoundError, match=r"1 of 30 questions got no answer.*\(400 1 times\).*row 0, scene 'scene0'"):
        run(evaluation, start_endpoint(some).base_url, tmp_path / "normal.json")
    assert not (tmp_path / "normal.json").exists()
    written_off = replace(evaluation, incomplete=True)
    worse = run(written_off, start_endpoint(some).base_url, tmp_path / "normal.json")
    assert len(worse.answers) == 30
    assert worse.scores["score"].tasks["object_counting"].mean == pytest.approx(1 / 3)
    assert (worse.rates["failed"], worse.rates["refused"]) == (pytest.approx(1 / 30), pytest.approx(1 / 30))
    again = start_endpoint(right)
    better = run(evaluation, again.base_url, tmp_path / "normal.json")
    assert len(again.requests) == 1
    assert better.scores["score"].tasks["object_counting"].mean == pytest.approx(2 / 3)


def test_answers_cut_by_the_budget_are_counted(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], completion: Callable[..., str], tmp_path: Path
) -> None:
    def some(request: dict[str, Any], before: int) -> Any:
        return 200, {}, completion("Well, looking at" if "Options:" in text_of(request) else "4 or", finish="length")

    endpoint = start_endpoint(some)
    assert run(evaluation, endpoint.base_url, tmp_path / "normal.json").rates["truncated"] == 1.0


def test_blind_questions_travel_without_a_video(
    evaluation: Evaluation, start_endpoint: Callable[..., Any], right: Any, tmp_path: Path
) -> None:
    endpoint = start_endpoint(right)
    run(evaluation, endpoint.base_url, tmp_path / "blind.json", "blind")
    assert {len(r["messages"][0]["content"]) for r in endpoint.requests} == {1}


def test_missing_videos_stop_it_before_anything_is_started(evaluation: Evaluation, tmp_path: Path) -> None:
    folder = evaluation.root / "rooms" / "scene3"
    folder.rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"1 of 5 videos.*rooms/scene3.*--root"):
        check_evaluation(evaluation)


def test_an_evaluation_of_which_nothing_can_be_read_stops_early(
    data_root: Path, evaluation: Evaluation, start_endpoint: Callable[..., Any], completion: Callable[..., str]
) -> None:
    """NaN weights answer !!!! to every question: five thousand need not be asked."""
    many = tuple(replace(evaluation.questions.items[0], index=i, question=f"q{i}?") for i in range(400))
    asked = replace(evaluation, questions=replace(evaluation.questions, items=many), task_set=PRESENT)
    endpoint = start_endpoint(lambda request, before: (200, {}, completion("!!!!")))
    with pytest.raises(UnsoundError, match=r"none of 64 answers .*'!!!!'.*NaN"):
        run(asked, endpoint.base_url, data_root / "out.json", concurrency=4)
    assert len(endpoint.requests) < 2 * HOPELESS


def test_rows_that_repeat_their_index_are_asked_and_scored_one_by_one(
    data_root: Path,
    evaluation: Evaluation,
    start_endpoint: Callable[..., Any],
    completion: Callable[..., str],
    tmp_path: Path,
) -> None:
    """Two sets, each numbered from 0, in one file: a model that is always right scores 1."""
    rows = pq.read_table(data_root / "rows.parquet").to_pylist()
    for place, row in enumerate(rows):
        row["extra_info"]["index"] = place % 15
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), data_root / "twice.parquet")
    asked = replace(evaluation, questions=read_set(data_root / "twice.parquet"))
    truths = {item.question: item.truth for item in asked.questions.items}
    endpoint = start_endpoint(
        lambda request, before: (
            200,
            {},
            completion(next(truth for question, truth in truths.items() if f"{question}\n" in text_of(request))),
        )
    )
    result = run(asked, endpoint.base_url, tmp_path / "normal.json")
    assert len(endpoint.requests) == len(result.answers) == 30
    assert result.scores["score"].overall.mean == 1.0

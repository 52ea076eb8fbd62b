from __future__ import annotations

import json
from pathlib import Path

import pytest

from verl_vsi.evaluation.report.training_logs import Log, held_out_tasks, join, read_run

VAL = "val-core/vsi100k/object_counting/acc/mean@1"


def write(path: Path, log: Log, tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in log.items()]
    path.write_text("".join(lines) + tail)
    return path


def steps(first: int, last: int, value: float) -> Log:
    return {step: {"actor/kl_loss": value + step} for step in range(first, last + 1)}


def test_a_run_killed_and_resumed_gives_one_full_curve(tmp_path: Path) -> None:
    """Saved at 20, killed at 24 while it wrote, resumed at 20 with a validation, to the end at 30."""
    first = {0: {VAL: 0.1}, **steps(1, 24, 0.0)}
    second = {20: {VAL: 0.4}, **steps(21, 30, 100.0), 30: {"actor/kl_loss": 130.0, VAL: 0.5}}
    write(tmp_path / "metrics" / "20260101T000000.jsonl", first, tail='{"step": 25, "da')
    write(tmp_path / "metrics" / "20260101T010000.jsonl", second)
    run = read_run(tmp_path, "run")
    kl, score = run.series("actor/kl_loss"), run.held_out()
    assert kl is not None
    assert score is not None
    assert kl.steps.tolist() == list(range(1, 31))
    assert kl.values.tolist() == [float(s if s <= 20 else 100 + s) for s in range(1, 31)]
    assert (score.steps.tolist(), score.values.tolist()) == ([0, 20, 30], [0.1, 0.4, 0.5])
    assert run.starts == (20,)


def test_a_run_started_anew_replaces_the_old_curve() -> None:
    joined, _ = join([steps(1, 10, 0.0), steps(1, 3, 50.0)])
    assert sorted(joined) == [1, 2, 3]


def test_the_macro_average_merges_directions_and_skips_what_is_no_task() -> None:
    data = {
        VAL: 0.9,
        "val-core/vsibench/object_rel_direction_easy/acc/mean@1": 0.6,
        "val-core/vsibench/object_rel_direction_hard/acc/mean@1": 0.2,
        "val-core/openai/gsm8k/acc/mean@1": 1.0,
        "val-aux/vsi100k/room_size_estimation/reward/mean@1": 1.0,
    }
    assert held_out_tasks(data) == {"object_counting": 0.9, "object_rel_direction": pytest.approx(0.4)}


def test_a_task_of_two_data_sources_counts_once() -> None:
    data = {VAL: 0.2, "val-core/vsibench/object_counting/acc/mean@1": 0.4}
    assert held_out_tasks(data) == {"object_counting": pytest.approx(0.3)}


def test_tensorboard_is_read_where_there_is_no_file(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "tensorboard"))
    for step in (1, 2):
        value = Summary.Value(tag="actor/kl_loss", simple_value=step / 4)
        writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=[value])))
    writer.close()
    kl = read_run(tmp_path).series("actor/kl_loss")
    assert kl is not None
    assert kl.values.tolist() == [0.25, 0.5]


def test_a_folder_without_logs_says_where_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics/\*\.jsonl"):
        read_run(tmp_path)

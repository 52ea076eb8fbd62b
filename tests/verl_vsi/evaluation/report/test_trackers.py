"""Curves reach trackers through verl's own `Tracking`; TensorBoard stands here for those that are not installed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from verl_vsi.evaluation.report import trackers
from verl_vsi.training_metrics import STEP_ENDED

VAL = "val-core/vsi100k/object_counting/acc/mean@1"


def make_trainer(folder: Path, logger: Any) -> Any:
    config = OmegaConf.create({"trainer": {"default_local_dir": str(folder)}})
    return SimpleNamespace(global_steps=0, total_training_steps=3, logger=logger, config=config)


def test_a_validated_step_and_the_last_one_are_drawn_under_verls_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from verl.utils.tracking import Tracking

    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path / "tensorboard"))
    trainer = make_trainer(tmp_path / "run", Tracking("verl-vsi", "trial", ["tensorboard"]))
    for step in (1, 2, 3):
        trainer.global_steps = step
        metrics = {"actor/kl_loss": 0.1 * step} | ({VAL: 0.2} if step == 2 else {})
        trackers.after_step(trainer, metrics)
        trainer.logger.log(metrics, step)
    trainer.logger.finish()
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = EventAccumulator(str(file))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"actor/kl_loss", VAL}
    assert [event.step for event in events.Images("curves")] == [2, 3]
    assert (tmp_path / "run" / "curves.png").stat().st_size > 5000


def test_without_a_tracker_that_takes_pictures_nothing_is_drawn(tmp_path: Path) -> None:
    trackers.after_step(make_trainer(tmp_path, SimpleNamespace(logger={"file": None, "console": None})), {VAL: 0.2})
    assert not list(tmp_path.iterdir())


def test_a_failing_tracker_is_said_and_stops_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = make_trainer(tmp_path, SimpleNamespace(logger={"wandb": None}))
    trackers.after_step(trainer, {VAL: 0.2, "actor/kl_loss": 0.1})
    assert "verl-vsi: the curves of step 0 are not in wandb: AttributeError" in capsys.readouterr().err


def test_it_is_told_of_steps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verl_vsi.evaluation.report.trackers.STEP_ENDED", listeners := [])
    trackers.register()
    trackers.register()
    assert listeners == [trackers.after_step]
    assert STEP_ENDED is not listeners

"""The run's curves as a picture, in every tracker of `trainer.logger` that takes pictures.

Metrics go to all trackers under verl's names, by verl itself. The picture is what `verl-vsi report` draws; it is logged
as ``curves`` after each validation and after the last step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verl_vsi.training_metrics import STEP_ENDED

PICTURE = "curves"
"""What trackers call it."""


def register() -> None:
    """Be told of every step that has ended."""
    if after_step not in STEP_ENDED:
        STEP_ENDED.append(after_step)


def after_step(trainer: Any, metrics: Mapping[str, Any]) -> None:
    """Draw and log the curves where a step was validated or is the last; a tracker's failure stops no training.

    Args:
        trainer: verl's; its `logger` is a `Tracking`.
        metrics: of the step, which verl has not logged yet.
    """
    step, trackers = trainer.global_steps, [name for name in TAKES_PICTURES if name in trainer.logger.logger]
    validated = any(name.startswith("val-core/") for name in metrics)
    if not trackers or not (validated or step == trainer.total_training_steps):
        return
    try:
        picture = draw(Path(trainer.config.trainer.default_local_dir), step, metrics)
        for name in trackers:
            TAKES_PICTURES[name](trainer.logger.logger[name], picture, step)
    except Exception as error:
        line = f"verl-vsi: the curves of step {step} are not in {', '.join(trackers)}: {type(error).__name__}: {error}"
        print(line, file=sys.stderr, flush=True)


def draw(run: Path, step: int, metrics: Mapping[str, Any]) -> Path:
    """``curves.png`` in a run's folder.

    Args:
        run: the folder, with the logs of its starts.
        step: the one that its logs do not have yet.
        metrics: of that step.
    """
    from verl_vsi.evaluation.report.figures import draw_curves
    from verl_vsi.evaluation.report.training_logs import TrainingLog, read_run

    try:
        log = read_run(run).log
    except ValueError:  # the first step of a run
        log = {}
    numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    draw_curves([TrainingLog(run.name, {**log, step: {**log.get(step, {}), **numbers}})], run / f"{PICTURE}.png")
    return run / f"{PICTURE}.png"


def _as_image(logger: Any, picture: Path, step: int) -> None:
    """wandb and SwanLab alike; verl keeps the module itself."""
    logger.log({PICTURE: logger.Image(str(picture))}, step=step)


def _to_trackio(logger: Any, picture: Path, step: int) -> None:
    logger.trackio.log({PICTURE: logger.trackio.Image(str(picture))}, step=step)


def _to_mlflow(_: Any, picture: Path, step: int) -> None:
    import mlflow  # pyright: ignore[reportMissingImports] (the user's own)

    mlflow.log_artifact(str(picture))


def _to_tensorboard(logger: Any, picture: Path, step: int) -> None:
    from matplotlib.image import imread

    logger.writer.add_image(PICTURE, imread(picture)[..., :3], step, dataformats="HWC")


TAKES_PICTURES: dict[str, Callable[[Any, Path, int], None]] = {
    "wandb": _as_image,
    "swanlab": _as_image,
    "trackio": _to_trackio,
    "mlflow": _to_mlflow,
    "tensorboard": _to_tensorboard,
}
"""verl's name of a tracker -> how it takes a picture: (verl's logger, picture, step)."""

"""An experiment's runs as stages: rooms and rows once, then verl's own trainer for each variant and seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.miniature.demo import Demo, data_stages
from verl_vsi.miniature.experiments.variants import HELD_OUT, Experiment, Variant
from verl_vsi.miniature.pipeline import Stage

TRAIN_ROOMS, HELDOUT_ROOMS = 600, 60
"""Rooms to train and to validate on, some eight questions each."""
LIMIT = 3600.0
"""Seconds after which a run is stopped."""


@dataclass(frozen=True)
class TrainingRun:
    """One run of an experiment.

    Args:
        experiment: what it belongs to.
        variant: what it is beside the recipe.
        seed: of the data's order and of sampling.
        folder: of all experiments.
    """

    experiment: Experiment
    variant: Variant
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Of its folder, stage and log."""
        return f"{self.experiment.name}-{self.variant.slug}-{self.seed}"

    @property
    def run_folder(self) -> Path:
        """verl's ``trainer.default_local_dir``."""
        return self.folder / "runs" / self.name

    @property
    def dumps(self) -> Path:
        """Where verl writes every response."""
        return self.run_folder / "rollouts"

    @property
    def overrides(self) -> tuple[str, ...]:
        """What makes this run what it is, wherever its data and its folder are."""
        steps = f"trainer.total_training_steps={self.experiment.steps}"
        return ("+recipe=vsgrpo_miniature", *self.variant.overrides, f"vsi.seed={self.seed}", steps)

    def stage(self) -> Stage:
        """Train; a run that was interrupted goes on from its checkpoint."""
        data = data_of(self.folder)
        paths = (
            f"vsi.root={data.root}",
            f"vsi.data.val={data.rows('val')}",
            f"trainer.default_local_dir={self.run_folder}",
            f"trainer.rollout_data_dir={self.dumps}",
            "vsi.checks.sample_questions=null",
        )
        model = (f"vsi.model={self.experiment.model}",) if self.experiment.model else ()
        # validation takes as long as some steps: only where its score is drawn
        validated = HELD_OUT in self.experiment.panels
        validation = () if validated else ("trainer.test_freq=-1", "trainer.val_before_train=false")
        command = (sys.executable, "-m", "verl.trainer.main_ppo", *self.overrides, *paths, *model, *validation)
        checkpoint = self.run_folder / "latest_checkpointed_iteration.txt"
        return Stage(self.name, command, checkpoint, limit=LIMIT, retries=1)


def data_of(folder: Path) -> Demo:
    """Rooms and rows that all experiments of a folder share."""
    return Demo(folder, train_rooms=TRAIN_ROOMS, heldout_rooms=HELDOUT_ROOMS)


def training_runs(experiment: Experiment, folder: Path) -> Iterator[TrainingRun]:
    """Every run, seed by seed, so that an interrupted experiment has whole comparisons.

    Args:
        experiment: one of `variants.EXPERIMENTS`.
        folder: of all experiments.
    """
    for seed in range(experiment.seeds):
        for variant in experiment.variants:
            yield TrainingRun(experiment, variant, seed, folder)


def experiment_stages(experiment: Experiment, folder: Path) -> list[Stage]:
    """All that is to be done, in order.

    Args:
        experiment: one of `variants.EXPERIMENTS`.
        folder: of all experiments.
    """
    return [*data_stages(data_of(folder)), *(run.stage() for run in training_runs(experiment, folder))]

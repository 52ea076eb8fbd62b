"""An experiment's runs as phases: rooms and rows once, then verl's own trainer for each arm and seed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from verl_vsi.miniature.demo import Demo, data_phases
from verl_vsi.miniature.experiments.variants import HELD_OUT, Experiment, Variant
from verl_vsi.miniature.pipeline import Phase

TRAIN_ROOMS, HELDOUT_ROOMS = 600, 60
"""Rooms to train and to validate on, some eight questions each."""
LIMIT = 3600.0
"""Seconds after which a run is stopped."""


@dataclass(frozen=True)
class Training:
    """One run of an experiment.

    Args:
        experiment: what it belongs to.
        arm: what it is beside the recipe.
        seed: of the data's order and of sampling.
        folder: of all experiments.
    """

    experiment: Experiment
    arm: Variant
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """Of its folder, phase and log."""
        return f"{self.experiment.name}-{self.arm.slug}-{self.seed}"

    @property
    def run(self) -> Path:
        """verl's run folder."""
        return self.folder / "runs" / self.name

    @property
    def responses(self) -> Path:
        """Where verl writes every response."""
        return self.run / "rollouts"

    @property
    def words(self) -> tuple[str, ...]:
        """What makes this run what it is, wherever its data and its folder are."""
        steps = f"trainer.total_training_steps={self.experiment.steps}"
        return ("+recipe=vsgrpo_miniature", *self.arm.words, f"vsi.seed={self.seed}", steps)

    def phase(self) -> Phase:
        """Train; a run that was interrupted goes on from its checkpoint."""
        data = data_of(self.folder)
        places = (
            f"vsi.root={data.root}",
            f"vsi.data.val={data.rows('val')}",
            f"trainer.default_local_dir={self.run}",
            f"trainer.rollout_data_dir={self.responses}",
        )
        model = (f"vsi.model={self.experiment.model}",) if self.experiment.model else ()
        # validation takes as long as some steps: only where its score is drawn
        drawn = HELD_OUT in self.experiment.panels
        silent = () if drawn else ("trainer.test_freq=-1", "trainer.val_before_train=false")
        command = (sys.executable, "-m", "verl.trainer.main_ppo", *self.words, *places, *model, *silent)
        return Phase(self.name, command, self.run / "latest_checkpointed_iteration.txt", limit=LIMIT, retries=1)


def data_of(folder: Path) -> Demo:
    """Rooms and rows that all experiments of a folder share."""
    return Demo(folder, train_rooms=TRAIN_ROOMS, heldout_rooms=HELDOUT_ROOMS)


def trainings(experiment: Experiment, folder: Path) -> Iterator[Training]:
    """Every run, seed by seed, so that an interrupted experiment has whole comparisons."""
    for seed in range(experiment.seeds):
        for arm in experiment.arms:
            yield Training(experiment, arm, seed, folder)


def phases(experiment: Experiment, folder: Path) -> list[Phase]:
    """All that is to be done, in order."""
    return [*data_phases(data_of(folder)), *(training.phase() for training in trainings(experiment, folder))]

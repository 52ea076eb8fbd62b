"""A stage goes down its loss, and one that was done before is not trained again."""

import pytest
import torch
from rich.progress import Progress

from verl_vsi.miniature.pretraining.training_loop import LOWEST, WARM_UP, StageCheckpoints, learning_rate_share, train


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 1 / WARM_UP),  # warm-up begins
        (500, (1 + LOWEST) / 2),  # half of the cosine
        (1000, LOWEST),
    ],
)
def test_the_learning_rate_rises_and_falls(step, share):
    assert learning_rate_share(step, 1000) == pytest.approx(share, rel=1e-4)


def test_training_goes_down_the_loss():
    weight = torch.nn.Parameter(torch.tensor(3.0))
    loss = train("fit", [weight], lambda _: (weight - 1) ** 2, 200, 0.1, Progress(disable=True))
    assert loss < 0.1
    assert weight.item() == pytest.approx(1, abs=0.1)


class Pretraining:
    """Two stages that add to a weight, and what has run of them."""

    def __init__(self, folder):
        self.model, self.checkpoints, self.ran = torch.nn.Linear(1, 1, bias=False), StageCheckpoints(folder), []
        self.model.weight.data.zero_()

    def stage(self, name, steps):
        def add() -> float:
            self.ran.append(name)
            self.model.weight.data += steps
            return 0.5

        self.checkpoints.run(name, steps, self.model, add)


def test_a_later_start_reads_the_weights_of_stages_that_are_done(tmp_path):
    first = Pretraining(tmp_path)
    first.stage("align", 3)
    second = Pretraining(tmp_path)
    second.stage("align", 3)
    second.stage("probe", 4)
    assert second.ran == ["probe"]
    assert second.model.weight.item() == 7
    assert second.checkpoints.stages["align"] == first.checkpoints.stages["align"]


def test_other_steps_of_an_earlier_stage_are_another_history(tmp_path):
    first = Pretraining(tmp_path)
    first.stage("align", 3)
    first.stage("probe", 4)
    other = Pretraining(tmp_path)
    other.stage("align", 5)
    other.stage("probe", 4)
    assert other.ran == ["align", "probe"]
    assert other.model.weight.item() == 9

"""How each stage of pretraining is trained: one plain loop, and its weights kept, so that a later start goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from rich.progress import Progress

from verl_vsi.data_adapters.files import write_text

WARM_UP = 30
"""Steps before the learning rate is at its full height."""
LOWEST = 0.03
"""The learning rate at the end, as a share of the full one."""


def learning_rate_share(step: int, steps: int) -> float:
    """The share of the full learning rate: linear warm-up, then half a cosine.

    Args:
        step: from 0.
        steps: of the whole stage.
    """
    decay = LOWEST + (1 - LOWEST) * (1 + math.cos(math.pi * step / steps)) / 2
    return decay * min(1.0, (step + 1) / WARM_UP)


def train(
    name: str,
    parameters: Iterable[torch.nn.Parameter],
    loss_at: Callable[[int], torch.Tensor],
    steps: int,
    learning_rate: float,
    progress: Progress,
) -> float:
    """Minimise a loss with AdamW.

    Args:
        name: of the stage, beside its progress.
        parameters: what learns.
        loss_at: step -> the loss of that step's own batch, a scalar tensor.
        steps: of the optimizer.
        learning_rate: the highest.
        progress: where it is shown.

    Returns:
        the mean loss of the last fifty steps.
    """
    weights = list(parameters)
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    task = progress.add_task(name, total=steps)
    losses: list[float] = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_share(step, steps)
        loss = loss_at(step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
        progress.update(task, advance=1, description=f"{name}, loss {sum(losses[-50:]) / len(losses[-50:]):.3f}")
    return sum(losses[-50:]) / max(1, len(losses[-50:]))


class StageCheckpoints:
    """Runs stages one after the other; the weights of those that the folder already holds are read from there."""

    def __init__(self, folder: Path) -> None:
        """No stage has run.

        Args:
            folder: of the weights after each stage.
        """
        self.folder = folder
        self.stages: dict[str, dict[str, float]] = {}
        """Seconds and last loss of each stage so far."""
        self._history = ""

    def run(self, name: str, steps: int, model: torch.nn.Module, stage: Callable[[], float]) -> None:
        """Run a stage, or put the weights that it once left after the same stages into `model`.

        Args:
            name: of the stage.
            steps: of its optimizer.
            model: what it trains.
            stage: trains it and returns the last loss.
        """
        from safetensors.torch import load_file, save_file

        self._history += f"{name}{steps}-"
        weights = self.folder / f"{self._history}weights.safetensors"
        record = weights.with_suffix(".json")
        if record.exists():
            model.load_state_dict(load_file(weights))
            self.stages[name] = json.loads(record.read_text())
            return
        start = time.monotonic()
        loss = stage()
        self.stages[name] = {"seconds": round(time.monotonic() - start, 1), "loss": round(loss, 4)}
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file(model.state_dict(), weights)
        write_text(record, json.dumps(self.stages[name]))

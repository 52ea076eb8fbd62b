"""What is watched while a recipe trains: reward parts as metrics, rollouts that see what the actor sees, dead terms.

verl reports the parts of a reward in validation only, and its training loop has no hook for metrics, so this wraps the
method that computes them, once verl's trainer is imported.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# MERGED Rewards of many responses as means per task: what verl shows in validation, and leaves out in training.


def means(rows: Iterable[tuple[str, Mapping[str, object]]], prefix: str = "train-aux") -> dict[str, float]:
    """The mean of every part of the reward, per data source and over all.

    Args:
        rows: (data source, what `compute_score` returned), one a response.
        prefix: of the names, after verl's own `val-aux/<data_source>/<part>`.

    Returns:
        `<prefix>/<data source>/<part>/mean`, and `<prefix>/all/<part>/mean` over all responses. Text is left out.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for source, parts in rows:
        for part, value in parts.items():
            if isinstance(value, int | float):
                values[f"{prefix}/{source}/{part}/mean"].append(value)
                values[f"{prefix}/all/{part}/mean"].append(value)
    return {name: sum(several) / len(several) for name, several in sorted(values.items())}


def constant_terms(rows: Iterable[tuple[str, Mapping[str, object]]]) -> list[str]:
    """Reward terms that gave every response the same: they teach nothing (GRPO compares within a group)."""
    seen: dict[str, set[object]] = defaultdict(set)
    for _, parts in rows:
        for part, value in parts.items():
            if part.startswith("reward/"):
                seen[part].add(value)
    return sorted(part.removeprefix("reward/") for part, several in seen.items() if len(several) == 1)


CORRELATION = "training/rollout_actor_probs_pearson_corr"
"""verl's correlation of the probabilities that vLLM and the actor give to the same tokens."""

Rows = Sequence[tuple[str, Mapping[str, object]]]


class RolloutMismatchError(RuntimeError):
    """The rollout does not see what the actor sees, so training would learn from another model's answers."""


@dataclass
class TrainingWatch:
    """One run's watch.

    Args:
        min_correlation: below it the first step stops the run.
        constant_steps: steps in which a reward term may stay the same for every response.
    """

    min_correlation: float
    constant_steps: int
    _first: bool = True
    _steps: dict[str, int] = field(default_factory=dict)

    def check(self, metrics: Mapping[str, Any]) -> None:
        """Hold the first step's correlation against the limit.

        Raises:
            RolloutMismatchError: it is below the limit or not a number.
        """
        if not self._first or CORRELATION not in metrics:
            return
        self._first = False
        value = float(metrics[CORRELATION])
        if math.isnan(value) or value < self.min_correlation:
            raise RolloutMismatchError(_cause(value, self.min_correlation))

    def dead_terms(self, rows: Rows) -> list[str]:
        """Terms that have now been the same for every response of `constant_steps` steps; each is named once."""
        # self-import gone

        constant = constant_terms(rows)
        self._steps = {term: self._steps.get(term, 0) + 1 for term in constant}
        return [term for term, steps in self._steps.items() if steps == self.constant_steps]


def add_ours(trainer: Any, batch: Any, metrics: dict[str, Any], queue: Any) -> None:
    """Add the parts of the reward to a step's metrics, and look at what verl has measured.

    Args:
        trainer: verl's; its config tells what to look at, and the watch stays on it from step to step.
        batch: the step's, as TransferQueue's keys and tags.
        metrics: verl's of this step; added to.
        queue: verl's TransferQueue.

    Raises:
        RolloutMismatchError: in the first step, see `TrainingWatch.check`.
    """
    settings = trainer.config.get("vsi")
    if settings is None:
        return
    if not hasattr(trainer, "vsi_watch"):
        trainer.vsi_watch = TrainingWatch(**settings.checks)
    trainer.vsi_watch.check(metrics)
    _report(trainer.vsi_watch, _reward_rows(queue, batch), metrics)


def _report(watch: TrainingWatch, rows: Rows, metrics: dict[str, Any]) -> None:
    # self-import gone

    metrics.update(means(rows))
    for term in watch.dead_terms(rows):
        print(
            f"verl-vsi: reward term '{term}' gave every response the same for {watch.constant_steps} steps, so it "
            "teaches nothing. `verl-vsi rewards try` explains a score",
            file=sys.stderr,
            flush=True,
        )


def _reward_rows(queue: Any, batch: Any) -> Rows:
    """(data source, parts of the reward) of each response; padding of the batch is left out."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    fields = ["data_source", "extra_fields"]
    data = queue.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
    return list(_rows(*(_listed(data[field]) for field in fields)))


def _listed(column: Any) -> list[Any]:
    """TransferQueue gives a list of one kind or another, or a stack of tensordict's."""
    return column.tolist() if hasattr(column, "tolist") else list(column)


def _rows(sources: Iterable[str], extras: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, Mapping[str, object]]]:
    for source, extra in zip(sources, extras, strict=True):
        yield source, extra.get("reward_extra_info", {})


def _cause(value: float, limit: float) -> str:
    return (
        f"{CORRELATION} is {value:.4f} in the first step, below vsi.checks.min_correlation={limit}: vLLM and the actor "
        "give different probabilities to the same tokens. Causes seen: vLLM >= 0.28 normalising video frames on the "
        "device (actor_rollout_ref.rollout.engine_kwargs.vllm.mm_device_do_normalize must be false; recipes set it by "
        "version), a weight sync that left weights out (LoRA on the vision tower, load_format=dummy), or another "
        "resize of the frames. Set trainer.val_only=True trainer.validation_data_dir=... to look at the answers; "
        "vsi.checks.min_correlation=-1 trains on regardless"
    )

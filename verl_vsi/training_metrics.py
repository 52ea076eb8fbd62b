"""What a recipe adds to a training step's metrics, and what it reads in verl's.

verl reports the parts of a reward in validation only: here they are means per task in training too, and a term that
gives every response the same is named. The first step stops a run whose rollout does not see what the actor sees. And
each step is a line that one can read, where verl's console logger prints all of its metrics, some 6 kB.
`verl_vsi.patches.step_metrics` calls this, because verl's training loop has no hook for metrics.
"""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CORRELATION = "training/rollout_actor_probs_pearson_corr"
"""verl's correlation of the probabilities that vLLM and the actor give to the same tokens."""

STEP_PARTS = (
    ("reward", "critic/score/mean", ".3f", ""),
    ("KL", "actor/kl_loss", ".2g", ""),
    ("an answer has", "response_length/mean", ".0f", " tokens"),
    ("the step took", "timing_s/step", ".0f", " s"),
)
"""Title, metric, format and unit of what `step_line` shows."""

STEP_ENDED: list[Callable[[Any, Mapping[str, Any]], None]] = []
"""Called with the trainer and a step's metrics when the step has ended, before verl logs them."""

_TERM = re.compile(r"train-aux/all/reward/(.+)/mean")
_HELD_OUT = re.compile(r"val-core/.+/acc/mean@\d+")

RewardRow = tuple[str, Mapping[str, object]]
"""Of one response: its data source, and what `compute_score` returned."""


def add_metrics(trainer: Any, batch: Any, metrics: dict[str, Any], queue: Any) -> None:
    """Add the parts of the reward to a step's metrics, and look at what verl has measured.

    Args:
        trainer: verl's; its config tells what to look at, and the monitor stays on it from step to step.
        batch: the step's, as TransferQueue's keys and tags.
        metrics: verl's of this step; added to.
        queue: verl's TransferQueue.

    Raises:
        RolloutMismatchError: in the first step, see `TrainingMonitor.check`.
    """
    settings = trainer.config.get("vsi")
    if settings is None:
        return
    if not hasattr(trainer, "vsi_monitor"):
        trainer.vsi_monitor = TrainingMonitor(settings.checks.min_correlation, settings.checks.constant_steps)
    monitor: TrainingMonitor = trainer.vsi_monitor
    monitor.check(metrics)
    rows = list(_reward_rows(queue, batch))
    metrics.update(reward_means(rows))
    if not getattr(trainer, "vsi_step_goes_on", False):
        print(step_line(trainer.global_steps, trainer.total_training_steps, metrics), flush=True)
        for function in STEP_ENDED:
            function(trainer, metrics)
    for term in monitor.dead_terms(rows, trainer.global_steps):
        print(
            f"verl-vsi: reward term '{term}' gave every response the same for {monitor.constant_steps} steps, so it "
            "teaches nothing. `verl-vsi rewards try` explains a score",
            file=sys.stderr,
            flush=True,
        )


def measured_so_far(trainer: Any) -> dict[str, Any]:
    """The metrics of the step that a trainer is in, as far as they can be known before the step ends.

    Args:
        trainer: verl's, after the step's update.
    """
    batch, metrics = trainer.vsi_step
    metrics = dict(metrics)
    timing = {"step": sum(trainer.timing_raw.values()), **trainer.timing_raw}
    epoch = (trainer.global_steps - 1) // trainer.steps_per_epoch
    trainer.vsi_step_goes_on = True
    try:
        trainer._compute_metrics(batch, metrics, timing, global_steps=trainer.global_steps, epoch=epoch)
    finally:
        trainer.vsi_step_goes_on = False
    return metrics


def step_line(step: int, steps: int, metrics: Mapping[str, Any]) -> str:
    """A step in a line: reward and its terms, KL, length of an answer, held-out score where it was measured, seconds.

    Args:
        step: its number.
        steps: of the run.
        metrics: verl's and ours.
    """
    parts = [f"{title} {metrics[name]:{form}}{unit}" for title, name, form, unit in STEP_PARTS if name in metrics]
    terms = [f"{match[1]} {metrics[name]:.3f}" for name in sorted(metrics) if (match := _TERM.fullmatch(name))]
    held_out = [metrics[name] for name in metrics if _HELD_OUT.fullmatch(name)]
    score = [f"held out {100 * sum(held_out) / len(held_out):.1f} % (mean over data sources)"] if held_out else []
    return f"verl-vsi: step {step} of {steps}: {', '.join([*parts[:1], *terms, *parts[1:], *score])}"


def sampled(trainer: Any, batch: Any) -> Any:
    """The part of a step's batch that is written to `trainer.rollout_data_dir`: all answers to the first questions.

    Args:
        trainer: verl's; `vsi.checks.sample_questions` of its config says how many questions, null: all of them.
        batch: the step's, whose keys are `<question>_<answer>_<output>`.
    """
    settings = trainer.config.get("vsi")
    count = None if settings is None else settings.checks.get("sample_questions")
    if count is None:
        return batch
    questions = list(dict.fromkeys(key.rsplit("_", 2)[0] for key in batch.keys))[:count]
    return batch.select_keys([key for key in batch.keys if key.rsplit("_", 2)[0] in questions])


def _reward_rows(queue: Any, batch: Any) -> Iterator[RewardRow]:
    """Padding of the batch is left out."""
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding", False)]
    fields = ["data_source", "extra_fields"]
    data = queue.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=fields)
    for source, extra in zip(*(_as_list(data[name]) for name in fields), strict=True):
        yield source, extra.get("reward_extra_info", {})


def _as_list(column: Any) -> list[Any]:
    """TransferQueue gives a list of one kind or another, or a stack of tensordict's."""
    return column.tolist() if hasattr(column, "tolist") else list(column)


def reward_means(rows: Iterable[RewardRow], prefix: str = "train-aux") -> dict[str, float]:
    """The mean of every part of the reward, per data source and over all.

    Args:
        rows: one a response.
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


def constant_terms(rows: Iterable[RewardRow]) -> list[str]:
    """Reward terms that gave every response the same: they teach nothing (GRPO compares within a group)."""
    values: dict[str, set[object]] = defaultdict(set)
    for _, parts in rows:
        for part, value in parts.items():
            if part.startswith("reward/"):
                values[part].add(value)
    return sorted(part.removeprefix("reward/") for part, several in values.items() if len(several) == 1)


class RolloutMismatchError(RuntimeError):
    """The rollout does not see what the actor sees, so training would learn from another model's answers."""


@dataclass
class TrainingMonitor:
    """What is watched in one run, from step to step.

    Args:
        min_correlation: below it the first step stops the run.
        constant_steps: steps in which a reward term may stay the same for every response.
    """

    min_correlation: float
    constant_steps: int
    _is_first_step: bool = True
    _steps: dict[str, int] = field(default_factory=dict)
    _seen: int = -1

    def check(self, metrics: Mapping[str, Any]) -> None:
        """Hold the first step's correlation against the limit.

        Raises:
            RolloutMismatchError: it is below the limit or not a number.
        """
        if not self._is_first_step or CORRELATION not in metrics:
            return
        self._is_first_step = False
        value = float(metrics[CORRELATION])
        if math.isnan(value) or value < self.min_correlation:
            raise RolloutMismatchError(_explain_mismatch(value, self.min_correlation))

    def dead_terms(self, rows: Sequence[RewardRow], step: int) -> list[str]:
        """Terms that have now been the same for every response of `constant_steps` steps; each is named once.

        Args:
            rows: of the step.
            step: its number; one that is measured twice (for its checkpoint, and at its end) counts once.
        """
        if step == self._seen:
            return []
        self._seen = step
        self._steps = {term: self._steps.get(term, 0) + 1 for term in constant_terms(rows)}
        return [term for term, steps in self._steps.items() if steps == self.constant_steps]


def _explain_mismatch(value: float, limit: float) -> str:
    return (
        f"{CORRELATION} is {value:.4f} in the first step, below vsi.checks.min_correlation={limit}: vLLM and the actor "
        "give different probabilities to the same tokens. Causes seen: vLLM >= 0.28 normalising video frames on the "
        "device (actor_rollout_ref.rollout.engine_kwargs.vllm.mm_device_do_normalize must be false; recipes set it by "
        "version), a weight sync that left weights out (LoRA on the vision tower, load_format=dummy), or another "
        "resize of the frames. Set trainer.val_only=True trainer.validation_data_dir=... to look at the answers; "
        "vsi.checks.min_correlation=-1 trains on regardless"
    )

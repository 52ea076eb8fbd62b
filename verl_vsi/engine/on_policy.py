"""One forward pass less where the update is strictly on-policy.

With one mini-batch and one epoch, the policy that is updated is still the one that answered: the old log-probabilities
are those that the update's own forward pass computes, with their gradient cut. verl computes them twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensordict import TensorDict

FLAG = "vsi_old_is_current"
"""In a batch: it has no `old_log_probs`, because they are the current ones."""

Loss = Callable[..., tuple[Any, dict[str, Any]]]


def with_current_as_old(loss: Loss) -> Loss:
    """The loss, with the current log-probabilities as the old ones, and the metrics of verl's old pass."""

    def wrapped(model_output: dict[str, Any], data: TensorDict, dp_group: Any = None) -> tuple[Any, dict[str, Any]]:
        from verl.workers.utils.padding import response_from_nested

        data["old_log_probs"] = response_from_nested(model_output["log_probs"].detach(), data["response_mask"])
        value, metrics = loss(model_output=model_output, data=data, dp_group=dp_group)
        return value, {**metrics, **_watch(data)}

    return wrapped


def _watch(data: TensorDict) -> dict[str, float]:
    """How the rollout's probabilities differ from the trainer's."""
    from verl.protocol import DataProto
    from verl.utils.debug.metrics import calculate_debug_metrics

    if "rollout_log_probs" not in data.keys():  # noqa: SIM118 (a TensorDict)
        return {}
    fields = data.select("rollout_log_probs", "old_log_probs", "response_mask", "responses").to_padded_tensor()
    watched = calculate_debug_metrics(DataProto(batch=fields))
    return {key: value for key, value in watched.items() if not math.isnan(value)}

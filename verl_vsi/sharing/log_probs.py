"""From hidden states at answer positions to log-probabilities and entropies, a chunk at a time.

All positions at once would be a vocabulary wide several times over: logits, what the loss keeps of them, and their
gradients. A chunk's logits are thrown away, and computed again for its gradient; the output layer is a small part of
a pass. verl's own function goes through the tokens one by one where flash-attn is missing; here a chunk takes the same
few operators whatever it holds, in float32.

Where the update is strictly on-policy, these log-probabilities are the old ones too: with one mini-batch and one epoch,
the policy that is updated is still the one that answered. verl computes them twice; here the loss takes the update's
own, with their gradient cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

if TYPE_CHECKING:
    from tensordict import TensorDict

_CHUNK = 1024
"""Positions."""

OutputLayer = Callable[[Tensor], Tensor]
"""Hidden states (N, hidden) -> logits (N, vocabulary)."""


@dataclass(frozen=True)
class LogProbHead:
    """Log-probabilities of given tokens, and entropies.

    Attributes:
        temperature: divides the logits.
        entropy: for the loss (with a gradient), as a metric (without), or not at all.
    """

    temperature: float = 1.0
    entropy: Literal["loss", "metric"] | None = None

    def __call__(self, output_layer: OutputLayer, hidden: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`log_probs` (N,), and `entropy` (N,) where it is asked for.

        Args:
            output_layer: the model's.
            hidden: (N, hidden).
            labels: the tokens (N,) whose log-probabilities are asked for.
        """
        chunks = zip(hidden.split(_CHUNK), labels.split(_CHUNK), strict=True)
        parts = [self._recomputed(output_layer, *chunk) for chunk in chunks]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _recomputed(self, output_layer: OutputLayer, hidden: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if torch.is_grad_enabled():
            return checkpoint(self._compute, output_layer, hidden, labels, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._compute(output_layer, hidden, labels)

    def _compute(self, output_layer: OutputLayer, hidden: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return self.outputs(lambda: self._scaled(output_layer(hidden).float()), labels)

    def outputs(self, logits: Callable[[], Tensor], labels: Tensor) -> dict[str, Tensor]:
        """What a chunk gives.

        Args:
            logits: makes them, (N, vocabulary) float32, divided by the temperature; an argument would stay in memory.
            labels: (N,).
        """
        logs = logits().log_softmax(-1)
        outputs = {"log_probs": logs.gather(-1, labels[:, None]).squeeze(-1)}
        if self.entropy is not None:
            with self.entropy_gradient():
                outputs["entropy"] = -(logs.exp() * logs).sum(-1)
        return outputs

    def entropy_gradient(self) -> Any:
        """The context of an entropy: with a gradient for the loss alone."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and self.entropy == "loss")

    def _scaled(self, logits: Tensor) -> Tensor:
        return logits if self.temperature == 1.0 else logits / max(self.temperature, 1e-8)


OLD_IS_CURRENT = "vsi_old_is_current"
"""In a batch: it has no `old_log_probs`, because they are the current ones."""

Loss = Callable[..., tuple[Any, dict[str, Any]]]


def with_current_as_old(loss: Loss) -> Loss:
    """verl's loss, with the current log-probabilities as the old ones, and the metrics of verl's old pass."""

    def wrapped(model_output: dict[str, Any], data: TensorDict, dp_group: Any = None) -> tuple[Any, dict[str, Any]]:
        from verl.workers.utils.padding import response_from_nested

        data["old_log_probs"] = response_from_nested(model_output["log_probs"].detach(), data["response_mask"])
        value, metrics = loss(model_output=model_output, data=data, dp_group=dp_group)
        return value, {**metrics, **_rollout_metrics(data)}

    return wrapped


def _rollout_metrics(data: TensorDict) -> dict[str, float]:
    """How the rollout's probabilities differ from the trainer's."""
    from verl.protocol import DataProto
    from verl.utils.debug.metrics import calculate_debug_metrics

    if "rollout_log_probs" not in data.keys():  # noqa: SIM118 (a TensorDict)
        return {}
    fields = data.select("rollout_log_probs", "old_log_probs", "response_mask", "responses").to_padded_tensor()
    metrics = calculate_debug_metrics(DataProto(batch=fields))
    return {name: value for name, value in metrics.items() if not math.isnan(value)}

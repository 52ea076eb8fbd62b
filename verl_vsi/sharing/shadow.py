"""Shadow mode: run verl's own pass beside the shared one, on the same micro-batch, and report the differences.

For who wants to see it on their own model and data before they trust it. It costs both passes, and one more forward;
the training itself goes on with the shared passes' results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from tensordict import TensorDict

Pass = Callable[[], tuple[Any, dict[str, Any]]]
"""One pass over a micro-batch: loss and output, as an engine's `forward_step` gives them."""

_NO_GRADIENT = 1e-6
"""Norm of a gradient that is rounding error: every rollout of every group had the same reward."""


def compare(engine: Any, upstream: Pass, shared: Pass, batch: TensorDict, forward_only: bool) -> dict[str, float]:
    """Largest differences between two passes, named as metrics; gradients are left as they were.

    Args:
        engine: whose passes they are.
        upstream: verl's.
        shared: ours.
        batch: the micro-batch.
        forward_only: whether there is no backward pass.
    """
    theirs, ours = _run(engine, upstream, forward_only), _run(engine, shared, forward_only)
    return distances(theirs, ours, batch, phase_of(engine, forward_only))


Result = tuple[dict[str, Any], dict[str, Tensor]]
"""What a pass gives: outputs, nested (B, j), and gradients by parameter; none without a backward pass."""


def distances(
    upstream: Result, shared: Result, batch: TensorDict, phase: str, gradient_group: Any = None
) -> dict[str, float]:
    """Largest differences between what two passes gave, named as metrics.

    Args:
        upstream: of verl's pass.
        shared: of ours.
        batch: whose rows the outputs are of.
        phase: "old", "reference" or "update".
        gradient_group: ranks that each hold a part of the gradients; None where each has all of them.
    """
    (theirs, their_gradients), (ours, our_gradients) = upstream, shared
    differences = {
        f"shadow/{phase}_{name}_max": (_answers(theirs[name], batch) - _answers(ours[name], batch)).abs().max().item()
        for name in ("log_probs", "entropy")
        if name in theirs and name in ours
    }
    if their_gradients:
        differences["shadow/gradient_max"] = _relative_distance(our_gradients, their_gradients, gradient_group)
    return differences


def phase_of(engine: Any, forward_only: bool) -> str:
    """What a pass is for.

    Args:
        engine: whose pass it is.
        forward_only: whether there is no backward pass.
    """
    if not forward_only:
        return "update"
    return "reference" if engine.engine_config.forward_only else "old"


def _run(engine: Any, step: Pass, forward_only: bool) -> Result:
    with _gradients_restored(engine.module):
        loss, output = step()
        if not forward_only:
            loss.backward()
        gradients = {name: whole(p.grad) for name, p in engine.module.named_parameters() if p.grad is not None}
    return output["model_output"], {} if forward_only else gradients


@contextmanager
def _gradients_restored(module: torch.nn.Module) -> Iterator[None]:
    """Give a pass an empty slate, and put back what was there."""
    before = {parameter: parameter.grad for parameter in module.parameters()}
    module.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        for parameter, gradient in before.items():
            parameter.grad = gradient


def whole(tensor: Any) -> Tensor:
    """A sharded tensor's value, as a copy."""
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def _answers(nested: Tensor, batch: TensorDict) -> Tensor:
    from verl.workers.utils.padding import response_from_nested

    return response_from_nested(nested, batch["responses"]).values()  # pyright: ignore


def _relative_distance(ours: dict[str, Tensor], theirs: dict[str, Tensor], group: Any) -> float:
    """Norm of the difference over the norm, all parameters as one vector; absolute where there is no gradient."""
    squares = [
        torch.stack([(ours[name] - gradient).double().square().sum(), gradient.double().square().sum()])
        for name, gradient in theirs.items()
    ]
    total = torch.stack(squares).sum(0)
    if group is not None:
        dist.all_reduce(total, group=group)
    difference, length = total.sqrt().tolist()
    return difference / (length + _NO_GRADIENT)


_UNREPORTED: dict[str, float] = {}
"""Differences of passes whose metrics verl does not report, until an update reports them."""


def remember(differences: dict[str, float]) -> None:
    """Remember the largest ones until an update reports them."""
    for name, value in differences.items():
        _UNREPORTED[name] = max(value, _UNREPORTED.get(name, 0.0))


def take() -> dict[str, float]:
    """All that was remembered."""
    differences = dict(_UNREPORTED)
    _UNREPORTED.clear()
    return differences

"""What an engine with shared passes does whichever engine of verl's computes them.

A mixin before verl's class: it overrides how a batch is cut into micro-batches, and says, once each, where an option
is not supported and verl's own code runs. What one micro-batch computes is the engine's own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from torch import Tensor
from verl.utils import tensordict_utils as tu

from verl_vsi.patches import micro_batches
from verl_vsi.sharing import log_probs, verl_batches
from verl_vsi.sharing.eligibility import EngineOptions, take_options, why_upstream_batch
from verl_vsi.sharing.packing import PackedBatch
from verl_vsi.sharing.stored_video import KEY, with_pixels
from verl_vsi.sharing.vision import FeatureCache, Visuals

if TYPE_CHECKING:
    from tensordict import TensorDict

logger = logging.getLogger(__name__)

_Engine: Any = object  # verl's comes behind the mixin


class SharedPasses(_Engine):
    """Shared passes in front of an engine of verl's.

    Attributes:
        options: what the run chooses.
        why_upstream: what asks for verl's own passes, whatever the batch; None where shared passes work.
        tower: the vision tower; None where this rank has none (a later pipeline stage).
        feature_cache: of a frozen tower.
    """

    options: EngineOptions
    why_upstream: str | None
    tower: Any = None
    feature_cache: FeatureCache | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        self._warnings: set[str] = set()
        super().__init__(*args, **kwargs)

    def take_options(self) -> None:
        """Read what the run chooses, before the model is made."""
        self.options = take_options(self.model_config)

    def share(self, tower: Any) -> None:
        """Begin: the model takes packed batches now.

        Args:
            tower: of the model, None where this rank has none.
        """
        self.tower = tower
        self.feature_cache = FeatureCache(self.options.feature_cache_bytes)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """As verl's, and forget features: the tower may be another."""
        if self.feature_cache is not None:
            self.feature_cache = FeatureCache(self.options.feature_cache_bytes)
        return super().load_checkpoint(*args, **kwargs)

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        """As verl's, over micro-batches of whole groups."""
        if loss_function is not None and tu.get_non_tensor_data(data, log_probs.OLD_IS_CURRENT, default=False):
            loss_function = log_probs.with_current_as_old(loss_function)
        if (reason := self.why_upstream_for(data)) is not None:
            self.warn_once(f"verl's own passes: {reason}")
            return super().forward_backward_batch(data, loss_function, forward_only)
        with micro_batches.prepared_by(self._prepare_micro_batches):
            return super().forward_backward_batch(data, loss_function, forward_only)

    def _prepare_micro_batches(self, data: TensorDict, dp_group: Any = None, **_: Any) -> Any:
        return verl_batches.prepare_micro_batches(data, dp_group, self.warn_once)

    def visuals_of(self, micro_batch: TensorDict, packed: PackedBatch, tower_group: Any) -> Visuals:
        """What the prompts of a micro-batch show.

        Args:
            micro_batch: on the device.
            packed: the same.
            tower_group: ranks that call the tower together; None for this one alone.
        """
        cache = self.feature_cache if self._tower_is_frozen() else None
        return verl_batches.visuals_of_batch(micro_batch, packed, self.model_config, cache=cache, dp_group=tower_group)

    def _tower_is_frozen(self) -> bool:
        parameters = self.tower.parameters() if self.tower is not None else ()
        return self.engine_config.forward_only or not any(p.requires_grad for p in parameters)

    def with_stored_pixels(self, micro_batch: TensorDict) -> TensorDict:
        """A micro-batch for verl's own pass, with the pixels of stored videos put in."""
        rows = tu.get(micro_batch, "multi_modal_inputs") or []
        if any(KEY in (row or {}) for row in rows):
            processor = self.model_config.get_processor()
            micro_batch = micro_batch.copy()
            filled = [with_pixels(row or {}, processor) for row in rows]
            tu.assign_non_tensor_stack(micro_batch, "multi_modal_inputs", filled)
        return micro_batch

    def why_upstream_for(self, batch: TensorDict) -> str | None:
        """What asks for verl's own passes on this batch; None where shared ones work."""
        return self.why_upstream or why_upstream_batch(batch)

    def warn_once(self, message: str) -> None:
        """Warn, if this engine has not said so yet."""
        if message not in self._warnings:
            self._warnings.add(message)
            logger.warning("verl-vsi: %s", message)


def unpacked(outputs: dict[str, Tensor], packed: PackedBatch, micro_batch: TensorDict) -> dict[str, Tensor]:
    """Log-probabilities (and entropies) at answer positions, zeros elsewhere: nested (B, j) like the ids.

    Args:
        outputs: (N,) each, as a log-prob head gives them.
        packed: the micro-batch that they are of.
        micro_batch: the same.
    """
    return {name: packed.unpack(values, micro_batch["input_ids"]) for name, values in outputs.items()}

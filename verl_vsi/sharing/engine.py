"""verl's FSDP engine with shared passes: the same batches in, the same numbers out.

Only what a subclass may override is overridden: how the module is built, how a batch is cut into micro-batches, and
what one micro-batch computes. Where an option is not supported, verl's own code runs, and the reason is printed once.
"""

from __future__ import annotations

import functools
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.engine.utils import detach_tree

from verl_vsi.patches import micro_batches
from verl_vsi.sharing import log_probs, shadow, verl_batches
from verl_vsi.sharing.eligibility import VENDOR, EngineOptions, take_options, why_upstream_batch, why_upstream_engine
from verl_vsi.sharing.model_hooks import install, install_output_layer
from verl_vsi.sharing.packing import pack
from verl_vsi.sharing.stored_video import KEY, with_pixels
from verl_vsi.sharing.vision import FeatureCache

if TYPE_CHECKING:
    from tensordict import TensorDict

logger = logging.getLogger(__name__)

_DEVICES = ["cuda", "npu", "cpu"]
_FSDPEngine: Any = transformer_impl.FSDPEngineWithLMHead


@EngineRegistry.register(model_type="language_model", backend="fsdp2", device=_DEVICES, vendor=VENDOR)
class SharedPassesEngine(_FSDPEngine):
    """verl's FSDP2 engine with shared passes."""

    options: EngineOptions
    feature_cache: FeatureCache | None = None

    def _build_module(self) -> Any:
        self.options = take_options(self.model_config)
        torch.manual_seed(self.engine_config.seed)  # of new adapters: verl leaves it to chance
        module = super()._build_module()
        self._why_upstream = why_upstream_engine(self)
        self._warnings: set[str] = set()
        if self.options.freeze_tower:
            module.model.visual.requires_grad_(False)
        if self._why_upstream is None:
            install(module)
            self._tower = module.model.visual
            self.feature_cache = FeatureCache(self.options.feature_cache_bytes)
        return module

    def _build_fsdp_module(self, module: Any) -> Any:
        if self._why_upstream is None:
            install_output_layer(module)
        return super()._build_fsdp_module(module)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """As verl's, and forget features: the tower may be another."""
        if self.feature_cache is not None:
            self.feature_cache = FeatureCache(self.options.feature_cache_bytes)
        return super().load_checkpoint(*args, **kwargs)

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        """As verl's, over micro-batches of whole groups."""
        if loss_function is not None and tu.get_non_tensor_data(data, log_probs.OLD_IS_CURRENT, default=False):
            loss_function = log_probs.with_current_as_old(loss_function)
        reason = self._why_upstream_for(data)
        if reason is not None:
            self._warn_once(f"verl's own passes: {reason}")
            return super().forward_backward_batch(data, loss_function, forward_only)
        with micro_batches.prepared_by(self._prepare_micro_batches):
            return super().forward_backward_batch(data, loss_function, forward_only)

    def _prepare_micro_batches(self, data: TensorDict, dp_group: Any = None, **_: Any) -> Any:
        return verl_batches.prepare_micro_batches(data, dp_group, self._warn_once)

    def forward_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
        """As verl's: (loss, {"model_output", "loss", "metrics"}) of one micro-batch."""
        upstream = functools.partial(self._upstream_step, micro_batch, loss_function, forward_only)
        if self._why_upstream_for(micro_batch) is not None:
            return upstream()
        shared = functools.partial(self._shared_step, micro_batch, loss_function, forward_only)
        if self.options.shadow:
            shadow.remember(shadow.compare(self, upstream, shared, micro_batch, forward_only))
        loss, output = shared()
        if not forward_only:
            output["metrics"] |= shadow.take()
        return loss, output

    def _gradient_sync_context(self, *, is_last_micro_batch: bool) -> Any:
        # A shadow compares the gradients of each micro-batch, so each has to be reduced.
        return super()._gradient_sync_context(is_last_micro_batch=is_last_micro_batch or self.options.shadow)

    def _upstream_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
        """verl's own, with the pixels of stored videos put in."""
        rows = tu.get(micro_batch, "multi_modal_inputs") or []
        if any(KEY in (row or {}) for row in rows):
            processor = self.model_config.get_processor()
            micro_batch = micro_batch.copy()
            filled = [with_pixels(row or {}, processor) for row in rows]
            tu.assign_non_tensor_stack(micro_batch, "multi_modal_inputs", filled)
        return super().forward_step(micro_batch, loss_function, forward_only)

    def _shared_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
        micro_batch = micro_batch.to(get_device_id())
        with self._autocast():
            output = self._shared_output(micro_batch)
            if loss_function is None:
                loss, metrics = torch.tensor(1.0, device=get_device_name()), {}
            else:
                group = self.get_data_parallel_group()
                loss, metrics = loss_function(model_output=output, data=micro_batch, dp_group=group)
        return loss, {"model_output": detach_tree(output), "loss": loss.detach().item(), "metrics": metrics}

    def _autocast(self) -> Any:
        dtype = getattr(self, "_autocast_dtype", torch.bfloat16)
        return nullcontext() if dtype == torch.float32 else torch.autocast(get_device_name(), dtype=dtype)

    def _shared_output(self, micro_batch: TensorDict) -> dict[str, Tensor]:
        """Log-probabilities (and entropies) at answer positions, zeros elsewhere: nested (B, j) like the ids."""
        packed = pack(verl_batches.rollouts_of(micro_batch))
        visuals = verl_batches.visuals_of_batch(
            micro_batch,
            packed,
            self.model_config,
            cache=self.feature_cache if self._tower_is_frozen() else None,
            dp_group=self.get_data_parallel_group(),
        )
        head = verl_batches.log_prob_head_of(micro_batch)
        outputs = self.module(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)
        return {name: packed.unpack(values, micro_batch["input_ids"]) for name, values in outputs.items()}

    def _tower_is_frozen(self) -> bool:
        return self.engine_config.forward_only or not any(p.requires_grad for p in self._tower.parameters())

    def _why_upstream_for(self, batch: TensorDict) -> str | None:
        return self._why_upstream or why_upstream_batch(batch)

    def _warn_once(self, message: str) -> None:
        if message not in self._warnings:
            self._warnings.add(message)
            logger.warning("verl-vsi: %s", message)


@EngineRegistry.register(model_type="language_model", backend="fsdp", device=_DEVICES, vendor=VENDOR)
class UpstreamEngine(_FSDPEngine):
    """verl's FSDP1 engine as it is, and a word on it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        print("verl-vsi: verl's own passes: shared passes need strategy=fsdp2, this run has fsdp", flush=True)
        super().__init__(*args, **kwargs)

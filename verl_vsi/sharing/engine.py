"""verl's FSDP engine with shared passes: the same batches in, the same numbers out.

Only what a subclass may override is overridden: how the module is built, how a batch is cut into micro-batches, and
what one micro-batch computes.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from verl.utils.device import get_device_id, get_device_name
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.engine.utils import detach_tree

from verl_vsi.sharing import shadow, verl_batches
from verl_vsi.sharing.eligibility import VENDOR, why_upstream_fsdp
from verl_vsi.sharing.model_hooks import install, install_output_layer
from verl_vsi.sharing.packing import pack
from verl_vsi.sharing.shared_passes import SharedPasses, unpacked

if TYPE_CHECKING:
    from tensordict import TensorDict

_DEVICES = ["cuda", "npu", "cpu"]
_FSDPEngine: Any = transformer_impl.FSDPEngineWithLMHead


@EngineRegistry.register(model_type="language_model", backend="fsdp2", device=_DEVICES, vendor=VENDOR)
class SharedPassesEngine(SharedPasses, _FSDPEngine):
    """verl's FSDP2 engine with shared passes."""

    def _build_module(self) -> Any:
        self.take_options()
        torch.manual_seed(self.engine_config.seed)  # of new adapters: verl leaves it to chance
        module = super()._build_module()
        self.why_upstream = why_upstream_fsdp(self)
        if self.options.freeze_tower:
            module.model.visual.requires_grad_(False)
        if self.why_upstream is None:
            install(module)
            self.share(module.model.visual)
        return module

    def _build_fsdp_module(self, module: Any) -> Any:
        if self.why_upstream is None:
            install_output_layer(module)
        return super()._build_fsdp_module(module)

    def forward_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
        """As verl's: (loss, {"model_output", "loss", "metrics"}) of one micro-batch."""
        upstream = functools.partial(self._upstream_step, micro_batch, loss_function, forward_only)
        if self.why_upstream_for(micro_batch) is not None:
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
        return super().forward_step(self.with_stored_pixels(micro_batch), loss_function, forward_only)

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
        packed = pack(verl_batches.rollouts_of(micro_batch))
        visuals = self.visuals_of(micro_batch, packed, self.get_data_parallel_group())
        head = verl_batches.log_prob_head_of(micro_batch)
        outputs = self.module(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)
        return unpacked(outputs, packed, micro_batch)


@EngineRegistry.register(model_type="language_model", backend="fsdp", device=_DEVICES, vendor=VENDOR)
class UpstreamEngine(_FSDPEngine):
    """verl's FSDP1 engine as it is, and a word on it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        print("verl-vsi: verl's own passes: shared passes need strategy=fsdp2, this run has fsdp", flush=True)
        super().__init__(*args, **kwargs)

"""verl's Megatron engine with shared passes: the same batches in, the same numbers out.

How a batch is cut, packed and shown is FSDP2's (`verl_vsi.sharing`); only what one micro-batch computes is of here.
Every pipeline stage gets the micro-batch and packs it itself, so nothing but hidden states goes from stage to stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from verl.utils.device import get_device_id
from verl.utils.megatron_utils import unwrap_model
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.megatron import transformer_impl

from verl_vsi.megatron.packed_model import install, log_prob_head
from verl_vsi.sharing import verl_batches
from verl_vsi.sharing.eligibility import VENDOR, why_upstream_megatron
from verl_vsi.sharing.packing import pack
from verl_vsi.sharing.shared_passes import SharedPasses, unpacked

if TYPE_CHECKING:
    from tensordict import TensorDict

FROZEN_TOWER = ("freeze_vision_model", "freeze_vision_projection")
"""Of Megatron-Bridge's providers."""


class MegatronSharedPasses(SharedPasses):
    """Shared passes in front of verl's Megatron engine."""

    def _build_tf_config(self) -> None:
        self.take_options()
        self.why_upstream = why_upstream_megatron(self)
        if self.options.freeze_tower:
            self.engine_config.override_transformer_config.update(dict.fromkeys(FROZEN_TOWER, True))
        super()._build_tf_config()

    def initialize(self) -> None:
        """As verl's, and let the model take packed batches."""
        super().initialize()
        if self.why_upstream is None:
            stage = unwrap_model(self.module[0])
            install(stage)
            self.share(getattr(stage, "visual", None))

    def forward_step(
        self,
        batch_iter: Iterator[TensorDict],
        model: Any,
        logits_processor_func: Any,
        postprocess_micro_batch_func: Any,
    ) -> Any:
        """As verl's: what this stage computes of the next micro-batch, and what makes loss and metrics of it."""
        batch = next(batch_iter)
        if self.why_upstream_for(batch) is not None:
            batches = iter([self.with_stored_pixels(batch)])
            return super().forward_step(batches, model, logits_processor_func, postprocess_micro_batch_func)
        batch = batch.to(get_device_id())
        packed = pack(verl_batches.rollouts_of(batch))
        # each rank has the whole tower, and calls it for itself
        visuals = self.visuals_of(batch, packed, tower_group=None)
        head = log_prob_head(verl_batches.log_prob_head_of(batch))
        output = model(vsi_packed=packed, vsi_visuals=visuals, vsi_log_prob_head=head)
        if isinstance(output, dict):
            output = unpacked(output, packed, batch)
        return output, partial(postprocess_micro_batch_func, data=batch)


def register(base: Any, device: str) -> None:
    """Offer shared passes in front of an engine.

    Args:
        base: verl's Megatron engine, or the CPU platform's.
        device: that it is registered for.
    """

    class SharedPassesMegatronEngine(MegatronSharedPasses, base):
        """verl's Megatron engine with shared passes."""

    EngineRegistry.register(model_type="language_model", backend="megatron", device=device, vendor=VENDOR)(
        SharedPassesMegatronEngine
    )


def register_all() -> None:
    """For GPUs, and for the CPU where its platform has an engine."""
    register(transformer_impl.MegatronEngineWithLMHead, "cuda")
    on_cpu = EngineRegistry._engines["language_model"]["megatron"].get("cpu")
    if on_cpu is not None:
        register(on_cpu, "cpu")

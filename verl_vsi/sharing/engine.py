"""verl's FSDP engine with shared passes: the same batches in, the same numbers out.

Only what a subclass may override is overridden: how the module is built, how a batch is cut into micro-batches, and
what one micro-batch computes. Where an option is not supported, verl's own code runs, and the reason is printed once.
"""

from __future__ import annotations

import functools
import logging
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id, get_device_name
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp import transformer_impl
from verl.workers.engine.utils import detach_tree

from verl_vsi.patches import micro_batches
from verl_vsi.sharing import log_probs, shadow
from verl_vsi.sharing.batching import split, token_cost
from verl_vsi.sharing.eligibility import VENDOR, EngineOptions, take_options, why_upstream_batch, why_upstream_engine
from verl_vsi.sharing.log_probs import LogProbHead
from verl_vsi.sharing.model_hooks import install
from verl_vsi.sharing.packing import PackedBatch, pack, rollouts_of
from verl_vsi.sharing.stored_video import KEY, with_pixels
from verl_vsi.sharing.vision import FeatureCache, Visuals, visuals_of

if TYPE_CHECKING:
    from tensordict import TensorDict

logger = logging.getLogger(__name__)

_DEVICES = ["cuda", "npu", "cpu"]
_Stock: Any = transformer_impl.FSDPEngineWithLMHead


@EngineRegistry.register(model_type="language_model", backend="fsdp2", device=_DEVICES, vendor=VENDOR)
class SharedPassesEngine(_Stock):
    """verl's FSDP2 engine with shared passes."""

    options: EngineOptions
    feature_cache: FeatureCache | None = None

    def _build_module(self) -> Any:
        self.options = take_options(self.model_config)
        module = super()._build_module()
        self._why_stock = why_upstream_engine(self)
        self._said: set[str] = set()
        if self.options.freeze_tower:
            module.model.visual.requires_grad_(False)
        if self._why_stock is None:
            install(module)
            self._taught = module
            self.feature_cache = FeatureCache(self.options.feature_cache_bytes)
        return module

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Forget features: the tower may be another."""
        if self.feature_cache is not None:
            self.feature_cache = FeatureCache(self.options.feature_cache_bytes)
        return super().load_checkpoint(*args, **kwargs)

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        """As verl's, over micro-batches of whole groups."""
        if loss_function is not None and tu.get_non_tensor_data(data, log_probs.FLAG, default=False):
            loss_function = log_probs.with_current_as_old(loss_function)
        reason = self._why_stock_for(data)
        if reason is not None:
            self._say(f"verl's own passes: {reason}")
            return super().forward_backward_batch(data, loss_function, forward_only)
        with micro_batches.prepared_by(self._prepare_micro_batches):
            return super().forward_backward_batch(data, loss_function, forward_only)

    def _prepare_micro_batches(self, data: TensorDict, dp_group: Any = None, **_: Any) -> Any:
        rows = rollouts_of(data)
        dynamic = tu.get_non_tensor_data(data, "use_dynamic_bsz", default=True)
        cost = token_cost(rows) if dynamic else len
        limit = data["max_token_len_per_gpu"] if dynamic else data["micro_batch_size_per_gpu"]
        indices = split(rows, cost, limit)
        indices = split(rows, cost, limit, at_least=_most(len(indices), dp_group))
        self._warn_of_cuts(rows, indices, limit)
        # verl puts rows back in order only after dynamic batches.
        tu.assign_non_tensor(data, use_dynamic_bsz=True)
        return [tu.index_select_tensor_dict(data, index) for index in indices], indices

    def _warn_of_cuts(self, rows: Any, indices: list[list[int]], limit: int) -> None:
        pieces = sum(len({rows[number].uid for number in index}) for index in indices)
        groups = len({row.uid for row in rows})
        if pieces > groups:
            self._say(
                f"{groups} groups were cut into {pieces} by the micro-batch limit {limit}, and each piece computes its "
                "prompt anew: raise the limit (rows: a multiple of rollout.n; tokens: prompt + all answers of a group)"
            )

    def forward_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
        """As verl's: (loss, {"model_output", "loss", "metrics"}) of one micro-batch."""
        stock = functools.partial(self._stock_step, micro_batch, loss_function, forward_only)
        if self._why_stock_for(micro_batch) is not None:
            return stock()
        shared = functools.partial(self._shared_step, micro_batch, loss_function, forward_only)
        if self.options.shadow:
            shadow.keep(shadow.compare(self, stock, shared, micro_batch, forward_only))
        loss, output = shared()
        if not forward_only:
            output["metrics"] |= shadow.take()
        return loss, output

    def _gradient_sync_context(self, *, is_last_micro_batch: bool) -> Any:
        # A shadow compares the gradients of each micro-batch, so each has to be reduced.
        return super()._gradient_sync_context(is_last_micro_batch=is_last_micro_batch or self.options.shadow)

    def _stock_step(self, micro_batch: TensorDict, loss_function: Any, forward_only: bool) -> Any:
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
        """Log-probabilities (and entropies) at answer positions, zeros elsewhere, jagged like the batch's ids."""
        plan = pack(rollouts_of(micro_batch))
        temperature: Any = tu.get_non_tensor_data(micro_batch, "temperature", default=1.0)
        readout = LogProbHead(temperature, _entropy(micro_batch))
        found = self.module(vsi_plan=plan, vsi_media=self._media(micro_batch, plan), vsi_readout=readout)
        return {name: _spread(values, plan, micro_batch["input_ids"]) for name, values in found.items()}

    def _media(self, micro_batch: TensorDict, plan: PackedBatch) -> Visuals:
        inputs = micro_batch["multi_modal_inputs"] if "multi_modal_inputs" in micro_batch.keys() else None  # noqa: SIM118
        shown = [inputs[group[0]] for group in plan.groups] if inputs is not None else []
        vision, processor = self._taught.config.vision_config, self.model_config.get_processor()
        return Visuals(
            items=[item for row in shown for item in visuals_of(getattr(row, "data", row), processor)],
            channels=vision.in_channels * vision.temporal_patch_size * vision.patch_size**2,
            device=plan.ids.device,
            cache=self.feature_cache if self._tower_is_frozen() else None,
            anywhere=lambda here: bool(_most(int(here), self.get_data_parallel_group())),
        )

    def _tower_is_frozen(self) -> bool:
        if self.engine_config.forward_only:
            return True
        return not any(parameter.requires_grad for parameter in self._taught.model.visual.parameters())

    def _why_stock_for(self, batch: TensorDict) -> str | None:
        return self._why_stock or why_upstream_batch(batch)

    def _say(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("verl-vsi: %s", message)


@EngineRegistry.register(model_type="language_model", backend="fsdp", device=_DEVICES, vendor=VENDOR)
class UpstreamEngine(_Stock):
    """verl's FSDP1 engine as it is, and a word on it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        print("verl-vsi: verl's own passes: shared passes need strategy=fsdp2, this run has fsdp", flush=True)
        super().__init__(*args, **kwargs)


def _entropy(batch: TensorDict) -> Literal["trained", "watched"] | None:
    if tu.get_non_tensor_data(batch, "calculate_entropy", default=False):
        return "trained"
    return "watched" if tu.get_non_tensor_data(batch, log_probs.FLAG, default=False) else None


def _spread(values: Tensor, plan: PackedBatch, ids: Tensor) -> Tensor:
    """Values (N,) of a plan, put where the batch's rows want them."""
    flat = torch.zeros(ids.values().numel(), dtype=values.dtype, device=values.device)
    offsets = ids.offsets()  # pyright: ignore[reportAttributeAccessIssue]
    return torch.nested.nested_tensor_from_jagged(flat.index_put((plan.write,), values), offsets)


def _most(count: int, group: Any) -> int:
    """The largest count on any rank."""
    if group is None or not dist.is_initialized() or dist.get_world_size(group) == 1:
        return count
    most = torch.tensor([count], device=get_device_name())
    dist.all_reduce(most, op=dist.ReduceOp.MAX, group=group)
    return int(most)

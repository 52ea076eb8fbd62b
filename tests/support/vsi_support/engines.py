"""verl's FSDP2 engine, or ours in its place, over one process or more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor
from vsi_support.random_qwen2_vl import EOS

from verl_vsi.sharing.eligibility import VENDOR

UPSTREAM = ""
"""The vendor that is verl itself."""


@contextmanager
def process_group() -> Iterator[None]:
    """A process group of this process alone; the one that is there already, where there is one."""
    own = not dist.is_initialized()
    if own:
        dist.init_process_group("cpu:gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    try:
        yield
    finally:
        if own:
            dist.destroy_process_group()


def fsdp_engine(
    folder: Path,
    vendor: str = VENDOR,
    *,
    options: dict[str, Any] | None = None,
    device: str = "cpu",
    dtype: str = "fp32",
    compute: str | None = None,
    attention: str = "sdpa",
    learning_rate: float = 1e-3,
    **model: Any,
) -> Any:
    """An engine, initialised, in training mode; on the CPU and in float32 by default.

    Args:
        folder: of the model.
        vendor: ours, or `UPSTREAM`.
        options: of `EngineOptions`, with their prefix.
        device: cpu or cuda.
        dtype: of the weights, as verl names it.
        compute: in which layers compute; as the weights by default.
        attention: as transformers names it.
        learning_rate: of AdamW.
        model: settings of verl's `HFModelConfig`.
    """
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
    from verl.workers.engine import EngineRegistry

    import verl_vsi.sharing

    registered = EngineRegistry._engines["language_model"]["fsdp2"]
    if (device, VENDOR) not in registered:
        verl_vsi.sharing.register()
    engine = registered[(device, vendor) if vendor else device](
        model_config=HFModelConfig(
            path=str(folder),
            load_tokenizer=False,
            override_config={"attn_implementation": attention, **(options or {})},
            **{"use_remove_padding": False, "enable_gradient_checkpointing": device != "cpu", **model},
        ),
        engine_config=FSDPEngineConfig(
            strategy="fsdp2",
            model_dtype=dtype,
            mixed_precision={"param_dtype": compute or dtype, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
            use_torch_compile=False,
            use_dynamic_bsz=False,
            micro_batch_size_per_gpu=64,
        ),
        optimizer_config=FSDPOptimizerConfig(lr=learning_rate, total_training_steps=10),
        checkpoint_config=CheckpointConfig(),
    )
    engine.initialize()
    engine.module.train()
    return engine


def answers(nested: Tensor, batch: Any) -> Tensor:
    """What verl reads of an engine's output (B, j): the values at each token before one of an answer's.

    Args:
        nested: an output of `forward_step` or `infer_batch`.
        batch: whose output it is.
    """
    from verl.workers.utils.padding import response_from_nested

    return response_from_nested(nested, batch["response_mask"]).values()  # pyright: ignore[reportAttributeAccessIssue]


def megatron_engine(
    folder: Path,
    vendor: str = VENDOR,
    *,
    options: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    transformer: dict[str, Any] | None = None,
    contents: tuple[str, ...] = ("model", "optimizer", "extra", "hf_model"),
    **parallel: Any,
) -> Any:
    """verl's Megatron engine on the CPU, or ours in its place, initialised, float32.

    Args:
        folder: of the model.
        vendor: ours, or `UPSTREAM`.
        options: of `EngineOptions`, with their prefix.
        model: settings of verl's `HFModelConfig`.
        transformer: `override_transformer_config`.
        contents: of its checkpoints.
        parallel: other settings of verl's `McoreEngineConfig`, such as `tensor_model_parallel_size`.
    """
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import HFModelConfig, McoreEngineConfig, McoreOptimizerConfig
    from verl.workers.engine import EngineRegistry

    model_config = HFModelConfig(
        path=str(folder), load_tokenizer=False, override_config=dict(options or {}), **(model or {})
    )
    object.__setattr__(model_config, "tokenizer", _Tokenizer)
    registered = EngineRegistry._engines["language_model"]["megatron"]
    engine = registered[("cpu", vendor) if vendor else "cpu"](
        model_config=model_config,
        engine_config=McoreEngineConfig(
            **{"use_remove_padding": True, "override_transformer_config": dict(transformer or {}), **parallel}
        ),
        optimizer_config=McoreOptimizerConfig(
            lr=1e-3, lr_warmup_steps=0, total_training_steps=100, lr_decay_style="constant", weight_decay=0.0
        ),
        checkpoint_config=CheckpointConfig(save_contents=list(contents), load_contents=["model", "optimizer", "extra"]),
    )
    engine.initialize()
    return engine


class _Tokenizer:
    """What verl's Megatron engine asks of one."""

    pad_token_id = EOS

    @staticmethod
    def save_pretrained(*_: Any, **__: Any) -> None:
        """Nothing to write."""

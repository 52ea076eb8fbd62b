"""A tiny Qwen2-VL, a process group of one, and engines over both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch
import torch.distributed as dist
from vsi_support.engine_samples import EOS, IMAGE, VIDEO, VISION_END, VISION_START, VOCABULARY


@pytest.fixture(scope="module", autouse=True)
def untouched_transformers() -> Iterator[None]:
    """verl replaces forwards of transformers' classes for the whole process: other tests want them as they were."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from transformers.models.qwen2_vl import modeling_qwen2_vl as module

    classes = (module.Qwen2VLModel, module.Qwen2VLForConditionalGeneration, module.Qwen2VLAttention)
    forwards = [vars(c)["forward"] for c in classes]
    yield
    for patched, forward in zip(classes, forwards, strict=True):
        patched.forward = forward


@pytest.fixture(scope="session")
def group() -> Iterator[None]:
    """A process group of this process alone."""
    torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def save_tiny_model(folder: Path, *, tied: bool = False) -> Path:
    """A random Qwen2-VL of 0.1 M parameters, as a Hugging Face folder."""
    import verl  # noqa: F401 - opens our plug-in: shims that torchvision needs on a CPU
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    config = Qwen2VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": tied,
            "use_sliding_window": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
            "bos_token_id": EOS,
            "eos_token_id": EOS,
            "pad_token_id": EOS,
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "in_channels": 3,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    model = Qwen2VLForConditionalGeneration(config)
    with torch.no_grad():  # sharper than at initialisation, so that a wrong attention shows
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.mul_(4 if "proj" in name or "qkv" in name else 2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


EngineMaker = Callable[..., Any]


@pytest.fixture(scope="session")
def make_engine(group: None, model_path: Path) -> EngineMaker:
    """Build verl's engine (`vendor=""`) or ours."""
    return engine_maker(model_path)


def engine_maker(model_path: Path) -> EngineMaker:
    """Build verl's engine (`vendor=""`) or ours, initialised: FSDP2, float32."""

    def make(vendor: str = "vsi_shared", *, options: dict[str, Any] | None = None, **model: Any) -> Any:
        from verl.trainer.config import CheckpointConfig
        from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig
        from verl.workers.engine import EngineRegistry

        import verl_vsi.sharing

        if ("cpu", "vsi_shared") not in EngineRegistry._engines["language_model"]["fsdp2"]:
            verl_vsi.sharing.register()
        model_config = HFModelConfig(
            path=str(model_path),
            load_tokenizer=False,
            override_config={"attn_implementation": "sdpa", **(options or {})},
            **{"use_remove_padding": False, "enable_gradient_checkpointing": False, **model},
        )
        engine_config = FSDPEngineConfig(
            strategy="fsdp2",
            model_dtype="float32",
            mixed_precision={"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
            use_torch_compile=False,
            use_dynamic_bsz=False,
            micro_batch_size_per_gpu=64,
        )
        engine_class = EngineRegistry._engines["language_model"]["fsdp2"][("cpu", vendor) if vendor else "cpu"]
        engine = engine_class(
            model_config=model_config,
            engine_config=engine_config,
            optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=10),
            checkpoint_config=CheckpointConfig(),
        )
        engine.initialize()
        engine.module.train()
        return engine

    return make

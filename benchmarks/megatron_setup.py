"""Published sizes of Qwen2-VL, and Megatron's model with a checkpoint's weights, for `megatron_gpu.py`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))  # batches that tests and benchmarks share

from vsi_support.random_qwen2_vl import Sizes

# config.json of Qwen/Qwen2-VL-2B-Instruct and -7B-Instruct; the tower is the same (arXiv:2409.12191, table 1)
TOWER = {"vision_layers": 32, "vision_width": 1280, "vision_heads": 16, "vision_ratio": 4}
SIZES = {
    "2b": Sizes(1536, 8960, 28, 12, 2, tied=True, vocabulary=151936, **TOWER),
    "7b": Sizes(3584, 18944, 28, 28, 4, tied=False, vocabulary=152064, **TOWER),
}


def start_megatron() -> None:
    """One process, one GPU."""
    from megatron.core import parallel_state
    from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed

    torch.cuda.set_device(0)
    dist.init_process_group("nccl", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    model_parallel_cuda_manual_seed(0)


def keep_frequencies(hf: Any) -> None:
    """Rotary frequencies in float32 again, as from_pretrained(dtype=bfloat16) leaves them."""
    from transformers.models.qwen2_vl.modeling_qwen2_vl import VisionRotaryEmbedding

    tower = hf.model.visual
    tower.rotary_pos_emb = VisionRotaryEmbedding(tower.rotary_pos_emb.dim).cuda()
    text = hf.model.language_model
    text.rotary_emb = type(text.rotary_emb)(text.config).cuda()


def from_core(folder: str) -> Any:
    """Megatron's model with TransformerEngine's layers, without Megatron-Bridge."""
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
    from safetensors.torch import load_file
    from transformers import AutoConfig
    from vsi_support.megatron_core_model import core_model, load

    config = AutoConfig.from_pretrained(folder)
    model = core_model(config, get_gpt_layer_with_transformer_engine_spec(), bf16=True, params_dtype=torch.bfloat16)
    weights = {key: value for file in Path(folder).glob("*.safetensors") for key, value in load_file(file).items()}
    load(model, weights, config)
    return model.cuda().bfloat16()


def bridged(folder: str) -> tuple[Any, bool]:
    """Megatron's model as verl makes it, and whether its weights come out as they went in."""
    from safetensors.torch import load_file

    from verl_vsi.megatron import register

    register()
    from megatron.bridge import AutoBridge
    from megatron.core.transformer.enums import AttnBackend

    bridge = AutoBridge.from_hf_pretrained(folder)
    provider = bridge.to_megatron_provider(load_weights=False)
    overrides = {"variable_seq_lengths": True, "attention_backend": AttnBackend.flash}
    provider.apply_overrides_and_finalize(dtype=torch.bfloat16, overrides=overrides)
    (model,) = provider.provide_distributed_model(wrap_with_ddp=False, ddp_config=None, fp16=False, bf16=True)
    bridge.load_hf_weights([model], folder)
    exported = dict(bridge.export_hf_weights([model], cpu=True))
    weights = {key: value for file in Path(folder).glob("*.safetensors") for key, value in load_file(file).items()}
    same = all(torch.equal(exported[name], value.bfloat16()) for name, value in weights.items())
    return model, same and exported.keys() == weights.keys()

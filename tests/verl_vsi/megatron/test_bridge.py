"""The bridge class itself, where Megatron-Bridge can be imported: Python 3.12, no GPU needed.

    python3.12 -m venv bridge && . bridge/bin/activate
    pip install --no-deps megatron-bridge==0.5.1 megatron-core==0.18.2
    pip install torch==2.11.0 torchvision transformers==5.8.1 datasets accelerate diffusers peft einops tensorboard \\
        regex hydra-core nvidia-modelopt mistral-common pytest pytest-timeout typer rich
    PYTHONPATH=. python -m pytest -m slow tests/verl_vsi/megatron/test_bridge.py

The same with 0.6.2 and megatron-core 0.19.2, the set of constraints-megatron.txt.

Megatron-Bridge imports TransformerEngine at its top, which needs a GPU. Where it is not installed, an empty module
stands in for it, and megatron-core's local layers are used; Megatron-Bridge's own code is the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from vsi_support.padded_batches import PaddedBatch
from vsi_support.random_qwen2_vl import NARROW_2B, NARROW_7B, Sizes, published_weights, random_model

pytestmark = pytest.mark.slow

HAS_TRANSFORMER_ENGINE = find_spec("transformer_engine") is not None


class EmptyClass(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return EmptyClass(name, (), {})


class EmptyModule(ModuleType):
    __path__ = []  # noqa: RUF012
    __version__ = "2.8.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return EmptyClass(name, (), {})


def stand_in_for_transformer_engine() -> None:
    # megatron-core first, so that it finds no TransformerEngine and takes its own layers
    import megatron.core.extensions.transformer_engine as extensions
    import megatron.core.models.gpt.gpt_layer_specs  # noqa: F401

    for name in [name for name in dir(extensions) if name.startswith("TE") and getattr(extensions, name) is None]:
        setattr(extensions, name, EmptyClass(name, (), {}))  # classes that nothing is an instance of

    for name in ("", ".pytorch", ".common", ".common.recipe", "_torch"):
        module = EmptyModule(f"transformer_engine{name}")
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


@pytest.fixture(scope="module")
def auto_bridge(megatron: None) -> Any:
    """Megatron-Bridge's AutoBridge, with ours registered as the plug-in does it."""
    if find_spec("megatron.bridge") is None:
        pytest.skip("Megatron-Bridge is not installed")
    if not HAS_TRANSFORMER_ENGINE:
        stand_in_for_transformer_engine()
    from verl_vsi.megatron import register

    register()
    from megatron.bridge import AutoBridge

    return AutoBridge


# fewer layers than published: the table is held against all of them in test_weights.py
SIZES = [replace(published, layers=3, vision_layers=2) for published in (NARROW_2B, NARROW_7B)]


@pytest.fixture(scope="module", params=SIZES, ids=["2B", "7B"])
def sizes(request: pytest.FixtureRequest) -> Sizes:
    return request.param


@pytest.fixture(scope="module")
def checkpoint(sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor], Any]:
    folder = tmp_path_factory.mktemp("checkpoint")
    hf = random_model(sizes)
    return folder, published_weights(hf, folder), hf


def verl_overrides() -> dict[str, Any]:
    """What verl 0.9.1 sets on a provider (workers/engine/megatron/transformer_impl.py), for one rank."""
    from megatron.core.transformer.enums import AttnBackend

    return {
        "tensor_model_parallel_size": 1,
        "pipeline_model_parallel_size": 1,
        "expert_model_parallel_size": 1,
        "expert_tensor_parallel_size": None,
        "virtual_pipeline_model_parallel_size": None,
        "context_parallel_size": 1,
        "sequence_parallel": False,
        "overlap_p2p_comm": False,
        "batch_p2p_comm": False,
        "variable_seq_lengths": True,
        "attention_backend": AttnBackend.flash,
        "moe_token_dispatcher_type": "alltoall",
        "moe_router_load_balancing_type": "none",
    }


LOCAL_LAYERS = {"use_cpu_initialization": True, "gradient_accumulation_fusion": False}
"""What megatron-core's local layers on a CPU need besides."""

Build = Callable[..., tuple[Any, Any]]


@pytest.fixture
def build(auto_bridge: Any, checkpoint: Any) -> Build:
    """A bridge for the checkpoint, and the model of its provider, made as verl makes it."""

    def make(*hooks: Any, **overrides: Any) -> tuple[Any, Any]:
        from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec

        bridge = auto_bridge.from_hf_pretrained(str(checkpoint[0]))
        provider = bridge.to_megatron_provider(load_weights=False)
        provider.transformer_layer_spec = get_gpt_layer_local_spec(normalization="RMSNorm")
        provider.apply_overrides_and_finalize(
            dtype=torch.float32, overrides=verl_overrides() | LOCAL_LAYERS | overrides
        )
        for hook in hooks:
            provider.register_pre_wrap_hook(hook)
        # as verl calls it, with one word more: this machine has no GPU
        (model,) = provider.provide_distributed_model(
            wrap_with_ddp=False, ddp_config=None, fp16=False, bf16=False, use_cpu_initialization=True
        )
        bridge.load_hf_weights([model], str(checkpoint[0]))
        return bridge, model

    return make


def test_weights_go_in_and_come_out_bit_by_bit(build: Build, checkpoint: Any) -> None:
    bridge, model = build()
    _, weights, _ = checkpoint
    exported = dict(bridge.export_hf_weights([model], cpu=True))
    assert sorted(exported) == sorted(weights)
    assert [name for name in weights if not torch.equal(exported[name], weights[name])] == []


def test_megatron_bridge_and_our_table_make_the_same_parameters(build: Build, checkpoint: Any) -> None:
    from vsi_support.megatron_core_model import heads
    from vsi_support.weight_conversion import to_megatron

    _, model = build()
    _, weights, hf = checkpoint
    parameters = dict(model.named_parameters())
    ours = to_megatron(weights, parameters, heads(hf.config))
    assert [name for name in parameters if not torch.equal(ours[name], parameters[name])] == []


def test_the_providers_model_has_transformers_logits(build: Build, checkpoint: Any, videos: PaddedBatch) -> None:
    _, model = build()
    hf = checkpoint[2]
    with torch.no_grad():
        ours = model(videos.input_ids, attention_mask=videos.mask, **videos.vision)
        theirs = hf(
            input_ids=videos.input_ids,
            attention_mask=videos.mask.long(),
            mm_token_type_ids=videos.types,
            **videos.vision,
        ).logits
    assert ((ours - theirs)[videos.mask].abs().max() / theirs.abs().max()) < 1e-5


def test_a_checkpoint_with_other_names_is_refused(build: Build, checkpoint: Any, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    bridge, model = build()
    folder, weights, _ = checkpoint
    renamed = {name.replace("model.", "model.language_model.", 1): tensor for name, tensor in weights.items()}
    for file in folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(renamed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="published names"):
        bridge.load_hf_weights([model], str(tmp_path))


@pytest.mark.parametrize("flag", ["freeze_language_model", "freeze_vision_model", "freeze_vision_projection"])
def test_a_freeze_flag_among_verls_overrides_works(build: Build, flag: str) -> None:
    _, model = build(**{flag: True})
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    parts = {
        "freeze_language_model": lambda name: name.startswith("language_model."),
        "freeze_vision_model": lambda name: name.startswith("visual.") and ".merger." not in name,
        "freeze_vision_projection": lambda name: name.startswith("visual.merger."),
    }
    assert frozen == {name for name, _ in model.named_parameters() if parts[flag](name)}


def test_lora_adapts_the_language_model_and_is_folded_into_the_export(build: Build, checkpoint: Any) -> None:
    from megatron.bridge.peft.utils import create_peft, create_peft_hook

    if not HAS_TRANSFORMER_ENGINE and version("megatron-bridge") >= "0.6":
        pytest.skip("Megatron-Bridge 0.6 asks each layer whether it is one of TransformerEngine's")
    settings = {"type": "lora", "rank": 4, "alpha": 8, "dropout": 0.0}
    targets = ["linear_qkv", "linear_proj", "linear_fc1", "linear_fc2"]
    peft = create_peft(settings | {"target_modules": targets}, dtype=torch.float32)
    bridge, model = build(create_peft_hook(peft, training=True))
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert [name for name in trained if "adapter" not in name or not name.startswith("language_model.")] == []
    with torch.no_grad():
        for name, value in trained.items():
            if "linear_out" in name:
                value.normal_(generator=torch.Generator().manual_seed(3))
    exported = dict(bridge.export_hf_weights([model], cpu=True))
    _, weights, _ = checkpoint
    assert sorted(exported) == sorted(weights)
    changed = {name for name in weights if not torch.equal(exported[name], weights[name])}
    assert changed == {name for name in weights if name.startswith("model.layers.") and "proj.weight" in name}
    adapter = {
        name.split(".adapter.")[1]: value for name, value in trained.items() if ".0.self_attention.linear_proj." in name
    }
    delta = 8 / 4 * adapter["linear_out.weight"] @ adapter["linear_in.weight"]
    name = "model.layers.0.self_attn.o_proj.weight"
    assert torch.allclose(exported[name], weights[name] + delta, rtol=1e-4, atol=1e-5)

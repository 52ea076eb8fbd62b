from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from verl_vsi.sharing.eligibility import MODEL_TYPES, why_upstream_fsdp, why_upstream_megatron


def test_recipes_can_ask_without_torch_or_verl() -> None:
    code = "import sys, verl_vsi.sharing.eligibility; print(sorted({'torch', 'verl'} & {*sys.modules}))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def engine(model_type: str, layers: list[str] | None = None, **settings: Any) -> Any:
    """An engine as far as it is asked about."""
    text = SimpleNamespace(layer_types=layers)
    return SimpleNamespace(
        model_config=SimpleNamespace(hf_config=SimpleNamespace(model_type=model_type, text_config=text), **settings),
        engine_config=SimpleNamespace(ulysses_sequence_parallel_size=1),
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (engine("qwen3_vl_moe"), "'qwen3_vl_moe' is not among qwen2_vl"),
        (engine("internvl"), "'internvl' is not among qwen2_vl"),
        (engine("qwen2_vl", ["full_attention", "sliding_attention"]), "layers of type sliding_attention"),
        (engine("qwen2_vl", enable_activation_offload=True), "activations are offloaded"),
    ],
)
def test_a_model_that_shared_passes_do_not_know_gets_verls_own(asked: Any, reason: str) -> None:
    assert reason in str(why_upstream_fsdp(asked))


def on_megatron(model_type: str = "qwen2_vl", model: dict[str, Any] | None = None, **settings: Any) -> Any:
    """An engine of Megatron's as far as it is asked about."""

    class ModelConfig(dict[str, Any]):
        hf_config = SimpleNamespace(model_type=model_type)

    return SimpleNamespace(model_config=ModelConfig(model or {}), engine_config=settings)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (on_megatron("qwen3_vl"), "'qwen3_vl' on Megatron is not among qwen2_vl"),
        (on_megatron(context_parallel_size=2), "context_parallel_size=2 splits a sequence over ranks"),
        (on_megatron(dynamic_context_parallel=True), "dynamic_context_parallel splits"),
        (on_megatron(virtual_pipeline_model_parallel_size=2), "virtual_pipeline_model_parallel_size=2 wants"),
        (on_megatron(vanilla_mbridge=True), "vanilla_mbridge"),
        (on_megatron(router_replay={"mode": "R2"}), "router_replay"),
        (on_megatron(model={"use_fused_kernels": True}), "use_fused_kernels replaces"),
        (on_megatron(model={"mtp": {"enable": True}}), "mtp.enable"),
    ],
)
def test_what_megatron_can_not_share_is_verls_own(asked: Any, reason: str) -> None:
    assert reason in str(why_upstream_megatron(asked))


def test_megatron_shares_with_tensor_and_pipeline_parallelism() -> None:
    settings = {"tensor_model_parallel_size": 2, "sequence_parallel": True, "pipeline_model_parallel_size": 2}
    asked = on_megatron(context_parallel_size=1, virtual_pipeline_model_parallel_size=None, **settings)
    assert why_upstream_megatron(asked) is None


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("layers", [None, ["full_attention"], ["linear_attention", "full_attention"]])
def test_a_known_model_shares(model_type: str, layers: list[str] | None) -> None:
    assert why_upstream_fsdp(engine(model_type, layers)) is None

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from verl_vsi.sharing.eligibility import MODEL_TYPES, why_upstream_fsdp


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


@pytest.mark.parametrize("model_type", MODEL_TYPES)
@pytest.mark.parametrize("layers", [None, ["full_attention"], ["linear_attention", "full_attention"]])
def test_a_known_model_shares(model_type: str, layers: list[str] | None) -> None:
    assert why_upstream_fsdp(engine(model_type, layers)) is None

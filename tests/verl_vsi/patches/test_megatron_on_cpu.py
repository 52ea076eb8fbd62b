"""What Megatron asks of CUDA, TransformerEngine, modelopt and Python 3.12, and what answers on a CPU."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from verl_vsi.patches import megatron_imports
from verl_vsi.patches.cuda_calls import CudaIsCpu, on_cpu


def source(file: str) -> str:
    """Of an installed file of Megatron's, which is not imported."""
    for root in find_spec("megatron").submodule_search_locations if find_spec("megatron") else ():  # pyright: ignore
        if (Path(root) / file).is_file():
            return (Path(root) / file).read_text()
    pytest.skip(f"megatron/{file} is not installed: make megatron")


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("bridge/peft/lora_layers.py", "import transformer_engine.pytorch as te"),
        ("bridge/models/conversion/auto_bridge.py", "from modelopt.torch.quantization.utils import is_quantized"),
        ("bridge/training/checkpointing.py", "from modelopt.torch.opt.plugins import"),
        ("training/models/hybrid.py", "Literal, override"),
        ("core/optimizer/clip_grads.py", "device='cuda'"),
        ("core/tensor_parallel/layers.py", "torch.cuda.current_device()"),
    ],
)
def test_upstream_still_asks(file: str, line: str) -> None:
    """The day that this fails, upstream asks for less: take the answer out."""
    assert line in source(file)


def test_under_the_mode_cuda_is_the_cpu() -> None:
    with CudaIsCpu():
        tensors = [
            torch.zeros(2, device="cuda"),
            torch.tensor([1.0], device=torch.device("cuda", 0)),
            torch.zeros(2).cuda(),
            torch.zeros(2).to("cuda:0"),
        ]
        assert torch.zeros(1).type() == "torch.cuda.FloatTensor"
    assert {tensor.device for tensor in tensors} == {torch.device("cpu")}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_mode_ends_with_its_method() -> None:
    assert on_cpu(lambda: torch.zeros(1, device="cuda").device.type)() == "cpu"
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device="cuda")
    assert torch.zeros(1).type() == "torch.FloatTensor"


@pytest.mark.skipif(find_spec("modelopt") is not None, reason="modelopt is installed")
def test_modelopt_is_there_while_a_checkpoint_is_saved_and_no_longer() -> None:
    with megatron_imports.without_modelopt():
        from modelopt.torch.quantization.utils import is_quantized  # pyright: ignore[reportMissingImports]

        assert is_quantized(torch.nn.Linear(1, 1)) is False
    assert not [name for name in sys.modules if name.split(".")[0] == "modelopt"]
    assert find_spec("modelopt") is None


@pytest.mark.skipif(find_spec("transformer_engine") is not None, reason="TransformerEngine is installed")
def test_a_stand_in_is_nothings_class_and_goes_again() -> None:
    package, modules = "vsi_no_such_package", ("", ".inner")
    megatron_imports._put(package, modules)
    try:
        from vsi_no_such_package.inner import Linear  # pyright: ignore[reportMissingImports]

        assert not isinstance(torch.nn.Linear(1, 1), (Linear, Linear.Nested))
    finally:
        megatron_imports._take_away(package, modules)
    assert not [name for name in sys.modules if name.startswith(package)]

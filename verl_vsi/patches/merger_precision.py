"""verl 0.9.1: the FSDP merger rounds every tensor to bfloat16, which is what GPUs train and serve in.

On a CPU both are float32, and a rounded model is not the one that was trained. The merger has no option for it, and
runs in a process of its own, where nothing else asks for bfloat16.
"""

from __future__ import annotations


def install() -> None:
    """Let tensors of this process stay as they are where bfloat16 is asked for."""
    import torch

    torch.Tensor.bfloat16 = lambda self, *_: self  # pyright: ignore[reportAttributeAccessIssue]

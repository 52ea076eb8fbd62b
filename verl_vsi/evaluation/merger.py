"""verl's own merger, in training's precision where that is float32. Run as a process; see `checkpoints.merge`.

verl's FSDP merger rounds every tensor to bfloat16, which is what GPUs train and serve in. On a CPU both are float32,
and a rounded model is not the one that was trained.
"""

from __future__ import annotations


def main() -> None:
    """Merge, as ``python -m verl.model_merger`` does."""
    import torch
    import verl  # noqa: F401  (its plug-in prepares a CPU)
    from verl.model_merger.__main__ import main as merge

    from verl_vsi.cpu.choice import Surroundings, choose

    if choose(Surroundings.here()).cpu:
        torch.Tensor.bfloat16 = lambda self, *_: self  # pyright: ignore[reportAttributeAccessIssue]
    merge()


if __name__ == "__main__":
    main()

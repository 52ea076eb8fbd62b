"""verl's own merger, in training's precision where that is float32. Run as a process; see `checkpoints.merge`.

On a CPU that is float32, and verl's merger would round it (`patches.merger_precision`).
"""

from __future__ import annotations


def main() -> None:
    """Merge, as ``python -m verl.model_merger`` does."""
    import verl  # noqa: F401  (its plug-in prepares a CPU)
    from verl.model_merger.__main__ import main as merge

    from verl_vsi.cpu.platform_choice import Surroundings, choose
    from verl_vsi.patches import merger_precision

    if choose(Surroundings.here()).cpu:
        merger_precision.install()
    merge()


if __name__ == "__main__":
    main()

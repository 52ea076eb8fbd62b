"""Options of the shared passes that nothing would read, because the run takes verl's own."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from verl_vsi.checks.problem import Problem
from verl_vsi.engine.choice import why_stock_passes


def check_passes(config: DictConfig) -> Iterator[Problem]:
    """`vsi.engine.freeze_tower` and `vsi.engine.shadow` are done by the shared passes only."""
    if OmegaConf.select(config, "vsi.engine") is None:
        return
    asked = [f"vsi.engine.{name}" for name in ("freeze_tower", "shadow") if config.vsi.engine[name]]
    reason = why_stock_passes(config) if asked else None
    if reason is not None:
        yield Problem(
            f"{' and '.join(asked)} would do nothing: training passes are verl's own, because {reason}",
            f"take {' and '.join(asked)} out, or run on backend=fsdp2 without sequence parallelism",
        )

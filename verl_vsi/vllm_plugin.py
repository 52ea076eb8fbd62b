"""The two doors that vLLM opens in each process of its own: `vllm.platform_plugins` first, `vllm.general_plugins`."""

from __future__ import annotations

import os
from multiprocessing import parent_process

from verl_vsi import cpu, patches, run_mark
from verl_vsi.data_adapters.processes import end_with


def platform() -> None:
    """Prepare for the CPU before vLLM looks for a platform; None claims none (vLLM's own CPU platform serves)."""
    cpu.prepare()


def general() -> None:
    """In runs of ours: hand a video's metadata on; on a CPU, keep weights that verl will overwrite, and do not spin.

    vLLM may call this twice in a process. A process that vLLM has started ends with whoever started it:
    killed outright, a server leaves its engine behind, with all of its memory.
    """
    if run_mark.is_ours():
        patches.install(patches.VLLM)
        if parent_process() is not None:
            end_with(os.getppid())
    if cpu.prepare().cpu:
        patches.install(patches.CPU_VLLM)

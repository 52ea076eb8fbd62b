"""The two doors that vLLM opens in each process of its own: `vllm.platform_plugins` first, `vllm.general_plugins`."""

from __future__ import annotations

from verl_vsi import cpu, patches


def platform() -> None:
    """Prepare for the CPU before vLLM looks for a platform; None claims none (vLLM's own CPU platform serves)."""
    cpu.prepare()


def general() -> None:
    """Keep weights that verl will overwrite, and wait without spinning. vLLM may call this twice in a process."""
    if cpu.prepare().cpu:
        patches.install(patches.CPU_VLLM)

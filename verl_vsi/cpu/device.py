"""verl's "device module" for the CPU: torch.cpu, and the calls of torch.cuda's that torch.cpu lacks.

verl asks it for memory, random state and capability; memory of a device that is the host itself counts as zero.
"""

from __future__ import annotations

from typing import Any

import torch


def __getattr__(name: str) -> Any:
    return getattr(torch.cpu, name)


def is_available() -> bool:
    """True: there is always a CPU."""
    return True


def device_count() -> int:
    """One: every rank has its own process, and no index to choose."""
    return 1


def current_device() -> torch.device:
    """A device, not an index: verl passes it to `tensor.to`, where 0 would mean cuda:0."""
    return torch.device("cpu")


def get_device_name(*_: Any) -> str:
    """As torch.cuda's."""
    return "cpu"


def get_device_capability(*_: Any) -> tuple[int, int]:
    """No compute capability."""
    return (0, 0)


def mem_get_info(*_: Any) -> tuple[int, int]:
    """(available, total) bytes of the host."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.available, memory.total


def get_rng_state(*_: Any) -> torch.Tensor:
    """The CPU generator's state."""
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, *_: Any) -> None:
    """Restore it."""
    torch.set_rng_state(state)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _zero(*_: Any, **__: Any) -> int:
    return 0


memory_allocated = memory_reserved = max_memory_allocated = max_memory_reserved = _zero
empty_cache = ipc_collect = reset_peak_memory_stats = reset_accumulated_memory_stats = _nothing
set_device = synchronize = set_per_process_memory_fraction = _nothing

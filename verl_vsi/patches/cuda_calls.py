"""What verl's Megatron engine, megatron-core and Megatron-Bridge ask of CUDA by name, answered with the CPU.

They have some forty such places (`torch.cuda.current_device()`, `device="cuda"`, `.cuda()`, streams), and no setting.
Two parts: functions of `torch.cuda`, replaced in the process that makes a Megatron engine on a CPU; and, while a method
of that engine runs, a torch function mode, as `with torch.device(...)` is one, under which "cuda" means the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")


class _Stream:
    """A stream or an event: on a CPU all is done when a call returns."""

    cuda_stream = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        """As torch.cuda's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _zero(*_: Any, **__: Any) -> int:
    return 0


ANSWERS: Mapping[str, Any] = {
    "current_device": lambda: CPU,
    "device_count": lambda: 1,
    "set_device": _nothing,
    "synchronize": _nothing,
    "empty_cache": _nothing,
    "ipc_collect": _nothing,
    "current_stream": _Stream,
    "default_stream": _Stream,
    "Stream": _Stream,
    "Event": _Stream,
    "stream": lambda *_: nullcontext(),
    "memory_allocated": _zero,
    "memory_reserved": _zero,
    "max_memory_allocated": _zero,
    "max_memory_reserved": _zero,
    "reset_peak_memory_stats": _nothing,
    "manual_seed": torch.manual_seed,
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda state, *_: torch.set_rng_state(state),
}
"""Functions and classes of torch.cuda."""


def install() -> None:
    """Replace torch.cuda's functions, and megatron-core's own way to the random state, in this process.

    Raises:
        RuntimeError: there is a GPU, whose functions these are.
    """
    if torch.cuda.is_available():
        raise RuntimeError("torch.cuda is available here, and the CPU would be taken for it: unset VERL_PLATFORM=cpu")
    for name, answer in ANSWERS.items():
        setattr(torch.cuda, name, answer)
    from megatron.core.tensor_parallel import random

    random._get_cuda_rng_state = lambda device="cuda", clone=False, graph_safe=False: torch.get_rng_state()
    random._set_cuda_rng_state = lambda new_state, device=-1, graph_safe=False: torch.set_rng_state(new_state)
    random.CudaRNGStatesTracker.fork = _fork  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def _fork(tracker: Any, name: str = "model-parallel-rng") -> Iterator[None]:
    """As megatron-core's, which also warns of a changed CPU state: here the states are the CPU's own."""
    before = torch.get_rng_state()
    torch.set_rng_state(tracker.states_[name])
    try:
        yield
    finally:
        tracker.states_[name] = torch.get_rng_state()
        torch.set_rng_state(before)


class CudaIsCpu(TorchFunctionMode):
    """Under it `device="cuda"`, `.cuda()` and `.to("cuda")` mean the CPU, and a tensor's type is named as CUDA's."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As torch calls it, for each of its functions."""
        kwargs = kwargs or {}
        if "device" in kwargs and _is_cuda(kwargs["device"]):
            kwargs = {**kwargs, "device": CPU}
        if func is torch.Tensor.cuda:
            return args[0]
        if func is torch.Tensor.to and len(args) > 1 and _is_cuda(args[1]):
            args = (args[0], CPU, *args[2:])
        if func is torch.Tensor.type and len(args) == 1 and not kwargs:
            return func(*args).replace("torch.", "torch.cuda.", 1)
        return func(*args, **kwargs)


def _is_cuda(device: Any) -> bool:
    return device.type == "cuda" if isinstance(device, torch.device) else str(device).startswith("cuda")


def on_cpu(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method under `CudaIsCpu`."""

    @wraps(method)
    def under_the_mode(*args: Any, **kwargs: Any) -> Any:
        with CudaIsCpu():
            return method(*args, **kwargs)

    return under_the_mode

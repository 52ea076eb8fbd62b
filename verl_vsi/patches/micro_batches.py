"""How verl's FSDP and Megatron engines cut a batch into micro-batches: by an engine of ours, while one asks for it.

Their `forward_backward_batch` calls the function `prepare_micro_batches` of its own module; no method stands between
that a subclass could override.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULES = ("verl.workers.engine.fsdp.transformer_impl", "verl.workers.engine.megatron.transformer_impl")
Prepare = Callable[..., tuple[list[Any], list[list[int]]]]
"""(batch, dp_group=..., ...) -> micro-batches, and the row numbers of each."""

_PREPARE: ContextVar[Prepare | None] = ContextVar("vsi_prepare_micro_batches", default=None)


def install() -> None:
    """Wait for verl's engines."""
    for module in MODULES:
        on_import(module, _wrap)


def _wrap(transformer_impl: Any) -> None:
    upstream = transformer_impl.prepare_micro_batches

    @wraps(upstream)
    def prepare_micro_batches(*args: Any, **kwargs: Any) -> Any:
        return (_PREPARE.get() or upstream)(*args, **kwargs)

    transformer_impl.prepare_micro_batches = prepare_micro_batches


@contextmanager
def prepared_by(prepare: Prepare) -> Iterator[None]:
    """Within this context, and in this thread, verl's engine gets its micro-batches from `prepare`."""
    token = _PREPARE.set(prepare)
    try:
        yield
    finally:
        _PREPARE.reset(token)

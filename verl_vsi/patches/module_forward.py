"""The forward of single modules of a loaded model, replaced on the instance; their classes stay as they are."""

from __future__ import annotations

import functools
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def wrap_forward(module: nn.Module, forward: Any) -> None:
    """Let `forward(module, upstream, *args, **kwargs)` stand in for the module's own `upstream(*args, **kwargs)`.

    Args:
        module: of a model that an engine of ours has loaded.
        forward: its first argument is the module, its second the forward that the module had until now.
    """
    upstream = module.forward

    @functools.wraps(upstream)
    def wrapped(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return forward(self, upstream, *args, **kwargs)

    module.forward = MethodType(wrapped, module)

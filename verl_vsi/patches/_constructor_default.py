"""Another default for a constructor's argument that no setting of verl or vLLM reaches."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from verl_vsi.on_import import on_import


def set_default(module: str, name: str, argument: str, value: Callable[[], Any]) -> None:
    """Once `module` is imported, let its class `name` take `value()` where a caller does not give `argument`.

    Args:
        module: dotted name.
        name: of the class.
        argument: of its constructor.
        value: makes the default.
    """

    def change(imported: Any) -> None:
        owner = getattr(imported, name)
        upstream = owner.__init__

        @wraps(upstream)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            kwargs.setdefault(argument, value())
            upstream(self, *args, **kwargs)

        owner.__init__ = __init__

    on_import(module, change)

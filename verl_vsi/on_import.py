"""Do something right after a module is imported, or right before, without importing it now.

A plug-in must start in milliseconds, and what it adjusts lives in modules that take seconds to import and that most
processes never need.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Callback = Callable[[ModuleType], None]
Preparation = Callable[[], None]


class _AfterImport(MetaPathFinder):
    """Finds nothing by itself: lets the other finders answer, and puts the callbacks around the module's execution."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Callback]] = {}
        self.preparing: dict[str, list[Preparation]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.waiting and fullname not in self.preparing:
            return None
        spec = _spec_from_others(self, fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._extend(spec)
        return spec

    def _extend(self, spec: ModuleSpec) -> None:
        loader, execute = spec.loader, spec.loader.exec_module  # pyright: ignore[reportOptionalMemberAccess]

        def execute_then_call(module: ModuleType) -> None:
            for prepare in self.preparing.pop(spec.name, []):
                prepare()
            execute(module)
            for callback in self.waiting.pop(spec.name, []):
                _call(callback, module)

        loader.exec_module = execute_then_call  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


_FINDER = _AfterImport()


def on_import(name: str, callback: Callback) -> None:
    """Call `callback(module)` once the module `name` is imported; at once where it already is.

    The module is complete when the callback runs, and nothing has yet been imported *from* it, so a function that the
    callback replaces is replaced for everyone.

    Args:
        name: dotted.
        callback: takes the module.

    Raises:
        RuntimeError: from the import of `name`, when the callback fails (an ImportError would often be swallowed).
    """
    module = sys.modules.get(name)
    if module is not None:
        _call(callback, module)
        return
    _FINDER.waiting.setdefault(name, []).append(callback)
    _look_first()


def before_import(name: str, prepare: Preparation) -> None:
    """Call `prepare()` right before the first line of the module `name` runs; never, where it already has.

    Args:
        name: dotted.
        prepare: what the module needs before its first line runs.
    """
    if name not in sys.modules:
        _FINDER.preparing.setdefault(name, []).append(prepare)
        _look_first()


def _look_first() -> None:
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def _call(callback: Callback, module: ModuleType) -> None:
    try:
        callback(module)
    except Exception as error:
        raise RuntimeError(
            f"verl-vsi: {callback.__module__}.{callback.__qualname__} failed after the import of {module.__name__}: "
            f"{type(error).__name__}: {error}. `verl-vsi doctor` compares the installed versions with the tested ones"
        ) from error


def _spec_from_others(
    me: MetaPathFinder, fullname: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if finder is not me and find is not None:
            spec = find(fullname, path, target)
            if spec is not None:
                return spec
    return None

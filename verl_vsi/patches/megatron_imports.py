"""Megatron-Bridge 0.6 and megatron-core 0.19 import at their top what nothing that runs on a CPU needs.

- `typing.override`, new in Python 3.12, for which alone they ask for it.
- TransformerEngine, which is built against CUDA: for a fused adapter, and for annotations. An empty package stands in
  while Megatron-Bridge is imported; megatron-core comes first, finds none, and takes its own ("local") layers.
- modelopt, which Megatron-Bridge asks, while it saves in Hugging Face's format, whether the model is quantised.

The stand-ins go again: transformers and others look whether these packages are there.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from verl_vsi.on_import import before_import, on_import

TRANSFORMER_ENGINE = "transformer_engine"
_SUBMODULES = ("", ".pytorch", ".common", ".common.recipe")
_CORE = ("megatron.core.extensions.transformer_engine", "megatron.core.models.gpt.gpt_layer_specs")
"""Modules of megatron-core that look for TransformerEngine."""

_MODELOPT = ("modelopt", "modelopt.torch", "modelopt.torch.quantization", "modelopt.torch.quantization.utils")


def install() -> None:
    """Wait for Megatron."""
    before_import("megatron.core", _add_override)
    before_import("megatron.bridge", _prepare_bridge)
    on_import("megatron.bridge", lambda _: _take_away())


def _add_override() -> None:
    if not hasattr(typing, "override"):
        from typing_extensions import override

        typing.override = override  # pyright: ignore[reportAttributeAccessIssue]


class _EmptyClass(type):
    """A class that nothing is an instance of, whatever attribute it is asked for."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _EmptyClass(name, (), {})


class _EmptyModule(ModuleType):
    __path__ = ()  # pyright: ignore[reportAssignmentType] (a package's)
    __version__ = "2.8.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _EmptyClass(name, (), {})


def _prepare_bridge() -> None:
    _add_override()
    if find_spec(TRANSFORMER_ENGINE) is None:
        _stand_in()


def _stand_in() -> None:
    for name in _CORE:
        import_module(name)
    extensions = sys.modules[_CORE[0]]
    for name in [name for name in dir(extensions) if name.startswith("TE") and getattr(extensions, name) is None]:
        setattr(extensions, name, _EmptyClass(name, (), {}))
    for suffix in _SUBMODULES:
        module = _EmptyModule(TRANSFORMER_ENGINE + suffix)
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def _take_away() -> None:
    """The stand-in alone: a real TransformerEngine stays."""
    for name in [TRANSFORMER_ENGINE + suffix for suffix in _SUBMODULES]:
        if isinstance(sys.modules.get(name), _EmptyModule):
            del sys.modules[name]


@contextmanager
def nothing_is_quantized() -> Iterator[None]:
    """Answer for modelopt where it is not installed: no model is quantised."""
    if _MODELOPT[0] in sys.modules or find_spec(_MODELOPT[0]) is not None:
        yield
        return
    modules = {name: ModuleType(name) for name in _MODELOPT}
    modules[_MODELOPT[-1]].is_quantized = lambda model: False  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in _MODELOPT:
            sys.modules.pop(name, None)

"""Megatron-Bridge 0.6 and megatron-core 0.19 import at their top what nothing that runs on a CPU needs.

- `typing.override`, new in Python 3.12, for which alone they ask for it.
- TransformerEngine, which is built against CUDA: for a fused adapter, and for annotations. An empty package stands in
  while Megatron-Bridge is imported; megatron-core comes first, finds none, and takes its own ("local") layers.
- modelopt, which Megatron-Bridge asks, while it saves in Hugging Face's format, whether the model is quantised, and
  imports for verl's checkpoints of adapters.

The stand-ins go again: transformers and others look whether these packages are there.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from verl_vsi.on_import import before_import, on_import

TRANSFORMER_ENGINE = "transformer_engine"
_TE_MODULES = ("", ".pytorch", ".common", ".common.recipe")
_CORE = ("megatron.core.extensions.transformer_engine", "megatron.core.models.gpt.gpt_layer_specs")
"""Modules of megatron-core that look for TransformerEngine."""

MODELOPT = "modelopt"
_MODELOPT_MODULES = (
    "",
    ".torch",
    ".torch.opt",
    ".torch.opt.dynamic",
    ".torch.opt.plugins",
    ".torch.opt.plugins.mcore_dist_checkpointing",
    ".torch.quantization",
    ".torch.quantization.utils",
)


def install() -> None:
    """Wait for Megatron."""
    before_import("megatron.core", _add_override)
    before_import("megatron.bridge", _prepare_bridge)
    on_import("megatron.bridge", lambda _: _take_away(TRANSFORMER_ENGINE, _TE_MODULES))


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
    for name in [name for name in dir(extensions) if name.startswith("TE")]:
        if not isinstance(getattr(extensions, name), type):  # None, or a mock, which isinstance() refuses
            setattr(extensions, name, _EmptyClass(name, (), {}))
    _put(TRANSFORMER_ENGINE, _TE_MODULES)


def _put(package: str, suffixes: Iterable[str]) -> None:
    """Empty modules in the place of a package's."""
    for suffix in suffixes:
        module = _EmptyModule(package + suffix)
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def _take_away(package: str, suffixes: Iterable[str]) -> None:
    """The stand-ins alone: a real package stays."""
    for name in [package + suffix for suffix in suffixes]:
        if isinstance(sys.modules.get(name), _EmptyModule):
            del sys.modules[name]


@contextmanager
def without_modelopt() -> Iterator[None]:
    """Save or load a checkpoint where modelopt is not installed: no model is quantised."""
    if MODELOPT in sys.modules or find_spec(MODELOPT) is not None:
        yield
        return
    _put(MODELOPT, _MODELOPT_MODULES)
    sys.modules[f"{MODELOPT}.torch.quantization.utils"].is_quantized = lambda model: False  # pyright: ignore
    try:
        yield
    finally:
        _take_away(MODELOPT, _MODELOPT_MODULES)

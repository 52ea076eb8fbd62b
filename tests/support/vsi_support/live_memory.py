"""Bytes of tensors that live at once: what is allocated on a CPU, without what its allocator keeps."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Bytes of tensors that operators have given and that still live: now, and at most."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()
        self.live, self.peak = 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count what an operator gives."""
        outputs = func(*args, **(kwargs or {}))
        inputs = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(outputs):
            if (storage := tensor.untyped_storage())._cdata not in inputs:  # a view has its input's
                self._add(storage)
        self.peak = max(self.peak, self.live)
        return outputs

    def _add(self, storage: Any) -> None:
        key, count = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.live += count
            weakref.finalize(storage, self._remove, key, count)

    def _remove(self, key: int, count: int) -> None:
        self._known.discard(key)
        self.live -= count


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and type(leaf) is torch.Tensor]


def tensor_bytes(tensor: Any) -> int:
    """Bytes of a tensor, or of what this rank has of one."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.numel() * local.element_size()

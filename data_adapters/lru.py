"""A cache that forgets what was used least recently."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Values by key, within a bound on the sum of their sizes; the one put last stays, whatever its size.

    Args:
        limit: the bound.
        size: of a value, e.g. its bytes; a function that pickles. None: every value counts one.
    """

    def __init__(self, limit: int, size: Callable[[V], int] | None = None) -> None:  # noqa: D107
        self.limit = limit
        self.used = 0
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, from now on the last to be forgotten; None where it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        """Remember a value and return it; forget others over the bound.

        Args:
            key: what it is known by; takes the place of a former value.
            value: what to remember.
        """
        if key in self._values:
            self.used -= self._size_of(self._values.pop(key))
        self._values[key] = value
        self.used += self._size_of(value)
        while self.used > self.limit and len(self._values) > 1:
            self.used -= self._size_of(self._values.popitem(last=False)[1])
        return value

    def _size_of(self, value: V) -> int:
        return 1 if self._size is None else self._size(value)

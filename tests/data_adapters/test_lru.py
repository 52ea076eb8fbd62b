"""The cache forgets what was used least recently, and never what was put last."""

from __future__ import annotations

from verl_vsi.data_adapters.lru import LRUCache


def test_what_was_used_least_recently_goes_first() -> None:
    computed: list[str] = []

    def compute(name: str) -> bytes:
        computed.append(name)
        return bytes(10)

    cache: LRUCache[str, bytes] = LRUCache(limit=20, size=len)
    for name in "abacb":  # c pushes out b, which was used before a
        if cache.get(name) is None:
            cache.put(name, compute(name))
    assert computed == ["a", "b", "c", "b"]


def test_values_count_one_where_no_size_is_given() -> None:
    cache: LRUCache[int, str] = LRUCache(limit=2)
    for number in range(3):
        cache.put(number, str(number))
    assert [cache.get(number) for number in range(3)] == [None, "1", "2"]


def test_a_value_over_the_bound_stays_until_the_next() -> None:
    cache: LRUCache[str, bytes] = LRUCache(limit=20, size=len)
    cache.put("small", bytes(5))
    assert cache.put("large", bytes(99)) == cache.get("large")
    assert (cache.get("small"), cache.used) == (None, 99)
    cache.put("small", bytes(5))
    assert (cache.get("large"), cache.used) == (None, 5)


def test_a_second_value_under_a_key_takes_the_place_of_the_first() -> None:
    cache: LRUCache[str, bytes] = LRUCache(limit=20, size=len)
    cache.put("a", bytes(5))
    cache.put("a", bytes(7))
    assert cache.used == 7

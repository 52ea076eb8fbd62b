"""Distances and angles between boxes: the paper's, from centres, and the benchmark's, from closest points."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from verl_vsi.data_adapters.schema import Array, Box, Scene

if TYPE_CHECKING:
    from scipy.spatial import KDTree

STEP = 0.05
"""Metres between the points that stand for a box (the benchmark's)."""


def centre_distance(a: Box, b: Box) -> float:
    """Metres between the geometric centres of two objects (arXiv 2504.00883, section 3).

    Args:
        a: one object.
        b: the other.
    """
    return float(np.linalg.norm(a.point - b.point))


def bearing(positioning: Array, orienting: Array, querying: Array) -> Array:
    """Degrees counter-clockwise from the line of sight to an object, seen from above, -180 to 180; left is positive.

    Args:
        positioning: (3,) metres, where one stands.
        orienting: (3,) metres, what one faces.
        querying: (..., 3) metres, what the question is about.

    Returns:
        (...,) degrees.
    """
    ux, uy = (orienting - positioning)[:2]
    v = querying - positioning
    vx, vy = v[..., 0], v[..., 1]
    return np.degrees(np.arctan2(ux * vy - uy * vx, ux * vx + uy * vy))


def shell(box: Box) -> Array:
    """(n, 3) points of a box but for its core, metres: the benchmark's grid of ceil(side / 0.05) points an axis."""
    sides = [np.linspace(-e / 2, e / 2, int(np.ceil(e / STEP))) for e in box.extents]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    outer = (np.abs(grid) > box.extents / 4).any(axis=1)
    return grid[outer] @ box.axes + box.centroid


class Distances:
    """Closest-point distances within one scene, each computed once.

    For a category with several instances the nearest pair counts (arXiv 2412.14171, appendix).
    """

    def __init__(self, scene: Scene) -> None:
        """Nothing is computed before it is asked for."""
        self.scene = scene
        self._known: dict[tuple[str, str], float] = {}
        self._trees: dict[int, KDTree] = {}

    def between(self, a: str, b: str) -> float:
        """Metres between the closest points of two categories.

        Args:
            a: one category.
            b: the other.
        """
        pair = (a, b) if a < b else (b, a)
        if pair not in self._known:
            self._known[pair] = self._nearest_pair(pair)
        return self._known[pair]

    def _nearest_pair(self, pair: tuple[str, str]) -> float:
        """The least distance over all instances; pairs that cannot be nearer than the best so far are skipped."""
        a, b = ([self._tree(box) for box in self.scene.of(category)] for category in pair)
        pairs = sorted(((_gap(x, y), i, j) for i, x in enumerate(a) for j, y in enumerate(b)))
        best = np.inf
        for least, i, j in pairs:
            if least >= best:
                break
            best = min(best, _closest(a[i], b[j]))
        return float(best)

    def _tree(self, box: Box) -> KDTree:
        if id(box) not in self._trees:
            self._trees[id(box)] = _tree_of(shell(box))
        return self._trees[id(box)]


def _gap(a: KDTree, b: KDTree) -> float:
    """Metres between the upright boxes around two sets of points: never more than between the points."""
    return float(np.linalg.norm(np.maximum(0, np.maximum(a.mins - b.maxes, b.mins - a.maxes))))


def _closest(a: KDTree, b: KDTree) -> float:
    """Metres between the closest points; only points that can be nearer than a first guess are looked up."""
    few, many = (a, b) if a.n <= b.n else (b, a)
    guess = many.query(few.data[::20])[0].min()
    beyond = np.maximum(0, np.maximum(few.data - many.maxes, many.mins - few.data))
    near = few.data[(beyond**2).sum(axis=1) <= guess**2]
    return float(min(guess, many.query(near, distance_upper_bound=guess)[0].min(initial=np.inf)))


@lru_cache(maxsize=2)
def distances(scene: Scene) -> Distances:
    """The scene's distances, kept while its questions are made."""
    return Distances(scene)


def _tree_of(points: Array) -> KDTree:
    try:
        from scipy.spatial import KDTree
    except ImportError as error:
        raise ImportError("closest-point distances need scipy; pip install scipy shapely trimesh") from error
    return KDTree(points)

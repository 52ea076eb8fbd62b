"""Boxes and areas from points: the minimal oriented box, and a room's floor by alpha shape."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np

from verl_vsi.data_adapters.schema import Array

THINNEST = 1e-3
"""Metres that a flat object's box is given across."""

ALPHA = 5.0
"""1/m: triangles of a larger circumradius than 1 / ALPHA are holes (arXiv 2412.14171, appendix)."""

SAMPLE = 10_000
"""Points that the floor's area is taken from."""


def minimal_box(points: Array) -> tuple[Array, Array, Array]:
    """The least-volume oriented box around points.

    Args:
        points: (n, 3) metres, n >= 4.

    Returns:
        centroid (3,) m, extents (3,) m, axes (3, 3) unit rows, right-handed.
    """
    if np.linalg.matrix_rank(points - points.mean(0), tol=THINNEST) < 3:
        return _flat_box(points)
    to_origin, extents = library("trimesh").bounds.oriented_bounds(points)
    axes = np.asarray(to_origin[:3, :3], dtype=np.float64)
    return -axes.T @ to_origin[:3, 3], np.maximum(extents, THINNEST), axes


def _flat_box(points: Array) -> tuple[Array, Array, Array]:
    """A box along the points' main axes, for a picture on a wall, which has no volume to minimise."""
    _, _, axes = np.linalg.svd(points - points.mean(0), full_matrices=True)
    if np.linalg.det(axes) < 0:
        axes[2] *= -1
    along_axes = points @ axes.T
    low, high = along_axes.min(0), along_axes.max(0)
    return (low + high) / 2 @ axes, np.maximum(high - low, THINNEST), axes


def floor_area(points: Array, seed: int = 0) -> float:
    """Area in m2 of the alpha shape of points seen from above, holes filled (as the package ``alphashape`` does).

    Args:
        points: (n, 3) metres, the whole scan.
        seed: of the choice of `SAMPLE` points.

    Raises:
        ValueError: there are too few points for a triangle.
    """
    flat = np.asarray(points, dtype=np.float64)[:, :2]
    if len(flat) > SAMPLE:
        flat = flat[np.random.default_rng(seed).choice(len(flat), SAMPLE, replace=False)]
    if np.linalg.matrix_rank(flat - flat.mean(0)) < 2:
        raise ValueError(f"room size: {len(flat)} points span no area")
    triangles = library("scipy.spatial").Delaunay(flat).simplices
    inside = triangles[_circumradius(flat[triangles]) < 1 / ALPHA]
    shapely = library("shapely")
    rings = shapely.get_parts(shapely.polygonize(shapely.linestrings(flat[_rim(inside)])))
    return float(shapely.area(shapely.union_all(rings)))


def _circumradius(corners: Array) -> Array:
    """(n,) circumradius of triangles (n, 3, 2); infinite for a line."""
    a, b, c = (np.linalg.norm(corners[:, i] - corners[:, (i + 1) % 3], axis=1) for i in range(3))
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(area > 0, a * b * c / (4 * area), np.inf)


def _rim(triangles: np.ndarray) -> np.ndarray:
    """(m, 2) edges that belong to one triangle only, of (n, 3) triangles."""
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, counts = np.unique(edges, axis=0, return_counts=True)
    return unique[counts == 1]


def library(name: str) -> ModuleType:
    """An optional library, imported now.

    Raises:
        ImportError: it is not installed; the message says how to get it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"reading meshes needs {name.split('.')[0]}; pip install scipy shapely trimesh") from error

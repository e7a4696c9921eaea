"""Boxes of people in images: (..., 4) left, top, width, height in pixels, as data sets store them.

All functions broadcast over the leading dimensions and keep the precision of what they are given. A box without an
area has an intersection over union of 0 with every other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import MissingDependencyError, ShapeError

Array = npt.NDArray[Any]


def box_centers(boxes: Array) -> Array:
    """Middles (..., 2) of boxes (..., 4)."""
    centers: Array = boxes[..., :2] + boxes[..., 2:] / 2
    return centers


def box_areas(boxes: Array) -> Array:
    """Areas (...) of boxes (..., 4), square pixels."""
    areas: Array = boxes[..., 2] * boxes[..., 3]
    return areas


def boxes_around(centers: Array, sizes: Array) -> Array:
    """Boxes (..., 4) of middles (..., 2) and sizes (..., 2) or (..., 1)."""
    sizes = np.broadcast_to(sizes, np.broadcast_shapes(centers.shape, sizes.shape))
    return np.concatenate([centers - sizes / 2, sizes], axis=-1)


def boxes_of_points(points: Array) -> Array:
    """The smallest boxes (..., 4) around points (..., N, 2); NaN points are left out, NaN where none is left."""
    known = np.asarray(np.isfinite(points).all(-1, keepdims=True))
    low = np.where(known, points, np.inf).min(-2)
    high = np.where(known, points, -np.inf).max(-2)
    low = np.where(known.any(-2), low, np.nan)
    return np.concatenate([low, high - low], axis=-1)


def expand_boxes(boxes: Array, factor: float) -> Array:
    """Boxes (..., 4) with the same middles, `factor` times as wide and as high."""
    return boxes_around(box_centers(boxes), boxes[..., 2:] * factor)


def intersect_boxes(first: Array, second: Array) -> Array:
    """What two boxes (..., 4) have in common; a width or height of 0 where they do not meet."""
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    return np.concatenate([low, np.maximum(0, high - low)], axis=-1)


def cut_vertically(boxes: Array, limits: Array) -> Array:
    """Boxes (..., 4) cut above and below by limits (..., 4), their sides kept; a height of 0 where nothing is left."""
    top = np.maximum(boxes[..., 1], limits[..., 1])
    bottom = np.minimum(boxes[..., 1] + boxes[..., 3], limits[..., 1] + limits[..., 3])
    return np.stack([boxes[..., 0], top, boxes[..., 2], np.maximum(0, bottom - top)], axis=-1)


def hull_of_boxes(first: Array, second: Array) -> Array:
    """The smallest boxes (..., 4) that hold both of two boxes (..., 4)."""
    low = np.minimum(first[..., :2], second[..., :2])
    high = np.maximum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    return np.concatenate([low, high - low], axis=-1)


def box_iou(first: Array, second: Array) -> Array:
    """Intersection over union (...) of boxes (..., 4); `box_iou(a[:, None], b)` is the table of all pairs."""
    common = box_areas(intersect_boxes(first, second))
    union = box_areas(first) + box_areas(second) - common
    share: Array = np.divide(common, union, out=np.zeros_like(union), where=union > 0)
    return share


def match_boxes(first: Array, second: Array, *, least_iou: float) -> Array:
    """Pair boxes (N, 4) with boxes (M, 4) so that the sum of their intersections over unions is largest.

    Kuhn's assignment over all pairs; a pair that overlaps by `least_iou` or less is undone afterwards, as the
    published preparations do.

    Returns:
        (N,) the place of each box's partner, -1 for none.

    Raises:
        MissingDependencyError: SciPy is not installed.
        ShapeError: these are not two lists of boxes.
    """
    for name, boxes in (("first", first), ("second", second)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ShapeError(f"{name}: expected boxes (N, 4), got {boxes.shape}; drop the confidence column")
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError as error:
        raise MissingDependencyError.of("scipy", "matching boxes", 'pip install "marey[datasets]"') from error
    partner = np.full(len(first), -1, dtype=np.int64)
    overlap = box_iou(first[:, None], second)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    near = overlap[rows, columns] > least_iou
    partner[rows[near]] = columns[near]
    return partner

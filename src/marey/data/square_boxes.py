"""Square boxes as Learnable Triangulation makes them, once when labels are written and again when images are cut.

Boxes are (..., 4) left, top, right, bottom, integers; right and bottom are the first pixels outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import Image

Array = npt.NDArray[Any]


def square_label_boxes(edges: Array) -> Array:
    """Widen the shorter side to the longer, as its label file is made: the new edge is rounded, halves to even."""
    return _squared(edges, lambda low, high, side: np.rint((low + high) * 0.5 - side * 0.5).astype(np.int64))


def square_boxes(edges: Array) -> Array:
    """Widen the shorter side to the longer, as its loaders do it: middle and half side are rounded down."""
    return _squared(edges, lambda low, high, side: (low + high) // 2 - side // 2)


def _squared(edges: Array, beginning: Any) -> Array:
    edges = np.asarray(edges, dtype=np.int64)
    low, high = edges[..., :2], edges[..., 2:]
    sides = high - low
    side = sides.max(-1, keepdims=True)
    # of equal sides none changes; the two rules differ in which one they write anew, and it comes out the same
    start = np.where(sides < side, beginning(low, high, side), low)
    return np.concatenate((start, start + side), axis=-1)


def scale_boxes(edges: Array, factor: float) -> Array:
    """Make boxes `factor` times as wide and as high, their middle and half sides rounded down."""
    edges = np.asarray(edges, dtype=np.int64)
    low, high = edges[..., :2], edges[..., 2:]
    sides = (factor * (high - low)).astype(np.int64)
    start = (low + high) // 2 - sides // 2
    return np.concatenate((start, start + sides), axis=-1)


def cut_out(image: Image, edges: Array) -> Image:
    """The part of an image (H, W, 3) in one box (4,), black where the box goes beyond it."""
    left, top, right, bottom = (int(edge) for edge in edges)
    height, width = image.shape[:2]
    found = np.zeros((max(bottom - top, 0), max(right - left, 0), *image.shape[2:]), dtype=image.dtype)
    rows, columns = slice(max(top, 0), max(min(bottom, height), 0)), slice(max(left, 0), max(min(right, width), 0))
    part = image[rows, columns]
    found[rows.start - top : rows.start - top + len(part), columns.start - left :][:, : part.shape[1]] = part
    return found


def edges_to_spans(edges: Array) -> Array:
    """Left, top, right, bottom to left, top, width, height."""
    return np.concatenate((edges[..., :2], edges[..., 2:] - edges[..., :2]), axis=-1)


def spans_to_edges(spans: Array) -> Array:
    """Left, top, width, height to left, top, right, bottom."""
    return np.concatenate((spans[..., :2], spans[..., :2] + spans[..., 2:]), axis=-1)

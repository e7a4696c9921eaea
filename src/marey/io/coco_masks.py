"""Masks of COCO's outlines: polygons, and runs of pixels, compressed or not.

Polygons are lists x y x y ... in pixels of which the first spans 0 to 1, so its centre lies at 0.5; a mask holds the
pixels of which a polygon covers half or more. Runs go down the columns and begin with pixels outside. COCO's compressed
text writes each run as its difference to the run two before (from the fourth on), in groups of five bits from the
lowest, with a sixth bit that says whether another follows, as characters from code 48 on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError

Mask = npt.NDArray[np.bool_]
"""(H, W)"""

_FINER = 8
"""Samples of a pixel, along x and along y, by which the share that a polygon covers is found."""
_SHIFT = 4
"""Bits of the fraction that OpenCV takes."""
_LARGEST = 1 << 15
"""Pixels along an image's side, beyond which polygons are not drawn."""
_MOST_RUNS = 1 << 26


def mask_of_outline(outline: Any, *, height: int, width: int) -> Mask:
    """The mask of what COCO's `segmentation` holds; empty for nothing.

    Raises:
        FormatError: it is neither polygons nor runs, or is of another size.
    """
    if outline is None or (isinstance(outline, list) and not outline):
        return np.zeros((height, width), dtype=bool)
    if isinstance(outline, list):
        return mask_of_polygons(outline, height=height, width=width)
    if not isinstance(outline, dict) or outline.get("size") != [height, width] or "counts" not in outline:
        raise FormatError(
            f"outline: expected polygons, or runs of an image of {height} x {width}, got {str(outline)[:80]}"
        )
    counts = outline["counts"]
    runs = unpacked_runs(counts) if isinstance(counts, str) else counts
    return mask_of_runs(runs, height=height, width=width)


def mask_of_polygons(polygons: Sequence[Sequence[float]], *, height: int, width: int) -> Mask:
    """Pixels (H, W) of which a polygon covers half or more.

    Raises:
        FormatError: a polygon has fewer than three corners, or is no list of numbers.
    """
    mask = np.zeros((height, width), dtype=bool)
    for polygon in polygons:
        _fill(mask, _corners(polygon))
    return mask


def _corners(polygon: Any) -> npt.NDArray[np.float64]:
    try:
        corners = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"outline: a polygon holds what is no number: {error}") from error
    if corners.ndim != 1 or corners.size < 6 or corners.size % 2 or not np.isfinite(corners).all():
        raise FormatError(f"outline: expected polygons x y x y ... of three corners or more, got {str(polygon)[:80]}")
    return corners.reshape(-1, 2)


def _fill(mask: Mask, corners: npt.NDArray[np.float64]) -> None:
    """Put one polygon into a mask: drawn `_FINER` times as large within its bounding box, then averaged."""
    import cv2

    size = np.array(mask.shape[::-1])
    corners = corners.clip(-_LARGEST, _LARGEST)
    low = np.floor(corners.min(0)).clip(0, size).astype(int)
    high = np.ceil(corners.max(0)).clip(0, size).astype(int)
    if (high <= low).any():
        return
    width, height = (high - low).tolist()
    fine = np.zeros((height * _FINER, width * _FINER), dtype=np.uint8)
    points = ((corners - low) * _FINER - 0.5) * (1 << _SHIFT)  # OpenCV's pixel centres are integers
    cv2.fillPoly(fine, [points.round().astype(np.int32)], (1,), shift=_SHIFT)
    share = fine.reshape(height, _FINER, width, _FINER).mean(axis=(1, 3))
    mask[low[1] : high[1], low[0] : high[0]] |= share >= 0.5


def mask_of_runs(runs: Sequence[int], *, height: int, width: int) -> Mask:
    """Pixels (H, W) of runs down the columns: so many outside, so many inside, and so on.

    Raises:
        FormatError: the runs are no counts, or do not add up to the image.
    """
    try:
        counts = np.asarray(runs, dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"outline: the runs are no integers: {error}") from error
    if counts.ndim != 1 or (counts < 0).any() or math.fsum(counts.tolist()) != height * width:
        raise FormatError(f"outline: the runs do not add up to the {height * width} pixels of the image")
    inside = (np.arange(len(counts)) % 2).astype(bool)
    return np.repeat(inside, counts).reshape(width, height).T.copy()


def unpacked_runs(text: str) -> list[int]:
    """The runs of COCO's compressed text.

    Raises:
        FormatError: the text is cut off or holds other characters.
    """
    runs: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits > 60 or len(runs) > _MOST_RUNS:
            raise FormatError(f"outline: compressed runs hold '{character}' or a run without end")
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            signed = value - (1 << bits) if code & 16 else value
            runs.append(signed + (runs[-2] if len(runs) > 2 else 0))
            value = bits = 0
    if bits:
        raise FormatError("outline: compressed runs are cut off")
    return runs

"""How sharp a picture of a board is, how large the board in it, and whether the picture has been seen before."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.calibrate.boards import Board
from marey.calibrate.charuco import FoundBoard, Grey

PATCH = 13
"""Samples along the side of a patch around a corner."""
REACH = 0.35
LARGEST_REACH = 8.0
"""Half the side of a patch relative to a square: edges of the neighbouring corners stay outside."""


@dataclass(frozen=True, kw_only=True)
class PictureOfBoard:
    """One picture, after the board has been looked for; the pixels are gone."""

    found: FoundBoard
    square: float = np.nan
    """Pixels a square, the mean over the board; NaN where that cannot be told."""
    edge: float = np.nan
    """Width in pixels of the edges at the corners, the median."""
    digest: bytes = b""
    """Of the grey values: equal for equal pictures."""


def describe_picture(grey: Grey, found: FoundBoard, board: Board) -> PictureOfBoard:
    """Measure what rejections are decided on."""
    if not found.seen.any():
        return PictureOfBoard(found=found)
    square = square_size(found.corners, board)
    digest = hashlib.blake2b(np.ascontiguousarray(grey).data, digest_size=16).digest()
    return PictureOfBoard(found=found, square=square, edge=edge_width(grey, found.corners, square), digest=digest)


def square_size(corners: npt.NDArray[np.float64], board: Board) -> float:
    """Mean distance in pixels of neighbouring corners (C, 2) along the shorter side of their squares; NaN: no pair."""
    columns, rows = board.grid
    grid = corners.reshape(rows, columns, 2)
    lengths = [np.linalg.norm(np.diff(grid, axis=axis), axis=-1) for axis in (0, 1)]
    means = [length[np.isfinite(length)].mean() for length in lengths if np.isfinite(length).any()]
    return float(min(means, default=np.nan))


def edge_width(grey: Grey, corners: npt.NDArray[np.float64], square: float) -> float:
    """Width in pixels of the edges at the corners (C, 2): contrast over steepest slope, the median over the corners.

    A picture in focus has 1 to 3, a Gaussian blur of s pixels widens edges to 2.5 s.
    """
    import cv2

    seen = corners[np.isfinite(corners).all(-1)]
    reach = float(np.clip(REACH * square, 3, LARGEST_REACH)) if np.isfinite(square) else 6.0
    offsets = np.linspace(-reach, reach, PATCH)
    x = np.broadcast_to(seen[:, None, None, 0] + offsets, (len(seen), PATCH, PATCH))
    y = np.broadcast_to(seen[:, None, None, 1] + offsets[:, None], (len(seen), PATCH, PATCH))
    flat = (x.reshape(-1, PATCH).astype(np.float32), y.reshape(-1, PATCH).astype(np.float32))
    patches = cv2.remap(grey, *flat, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float64)
    patches = patches.reshape(-1, PATCH, PATCH)
    down, along = np.gradient(patches, 2 * reach / (PATCH - 1), axis=(1, 2))
    slope = np.percentile(np.hypot(down, along), 97, axis=(1, 2))
    low, high = np.percentile(patches, (5, 95), axis=(1, 2))
    return float(np.median((high - low) / np.maximum(slope, 1e-9)))

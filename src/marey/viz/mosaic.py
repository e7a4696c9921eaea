"""How the pictures of several views share one frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from marey.core import Image, InputError


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Where one view lies in the frame, and how much smaller it is there."""

    left: int
    top: int
    width: int
    height: int
    scale: float

    def of(self, frame: Image) -> Image:
        """The part of the frame that is this tile: a view, not a copy."""
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True, kw_only=True)
class Mosaic:
    """The tiles of V views in one frame."""

    width: int
    height: int
    tiles: tuple[Tile, ...]


def lay_out(sizes: Sequence[tuple[int, int]], *, limit: tuple[int, int], gap: int = 4) -> Mosaic:
    """Choose the rows and columns that show the views largest, each in full and at its aspect.

    Args:
        sizes: Width and height of the V views, pixels.
        limit: Width and height that the frame may have.
        gap: Pixels between the tiles.

    Raises:
        InputError: there is no view.
    """
    if not sizes:
        raise InputError("a mosaic needs at least one view, got none")
    views = len(sizes)
    largest = (max(width for width, _ in sizes), max(height for _, height in sizes))
    scale, columns = max((_scale(largest, views, columns, limit, gap), -columns) for columns in range(1, views + 1))
    columns, rows = -columns, math.ceil(views / -columns)
    cell = (_even(largest[0] * scale), _even(largest[1] * scale))
    tiles = tuple(
        _tile(size, cell, (place % columns) * (cell[0] + gap), (place // columns) * (cell[1] + gap))
        for place, size in enumerate(sizes)
    )
    return Mosaic(width=columns * (cell[0] + gap) - gap, height=rows * (cell[1] + gap) - gap, tiles=tiles)


def _scale(largest: tuple[int, int], views: int, columns: int, limit: tuple[int, int], gap: int) -> float:
    rows = math.ceil(views / columns)
    across = (limit[0] - gap * (columns - 1)) / (columns * largest[0])
    down = (limit[1] - gap * (rows - 1)) / (rows * largest[1])
    return min(across, down, 1.0)


def _tile(size: tuple[int, int], cell: tuple[int, int], left: int, top: int) -> Tile:
    scale = min(cell[0] / size[0], cell[1] / size[1])
    width, height = min(round(size[0] * scale), cell[0]), min(round(size[1] * scale), cell[1])
    return Tile(
        left=left + (cell[0] - width) // 2,
        top=top + (cell[1] - height) // 2,
        width=max(width, 1),
        height=max(height, 1),
        scale=scale,
    )


def _even(length: float) -> int:
    return max(2, 2 * math.floor(length / 2))

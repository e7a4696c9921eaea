"""Corners that Caliscope found, as observations of a board."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from marey.calibrate.boards import Board
from marey.calibrate.calibration import BoardObservations
from marey.core import InputError
from marey.io.caliscope_board import read_caliscope_board

OFF_GRID = 0.05
"""Of a square: corners farther from a corner of the board belong to another one."""


def observations_from_caliscope(
    path: str | os.PathLike[str], board: Board, *, sizes: Sequence[tuple[int, int]] | Tensor
) -> BoardObservations:
    """Read Caliscope's `xy.csv`; moments are its sync indices, and there are no pictures.

    Args:
        path: The table.
        board: the ChArUco board whose corners these are.
        sizes: width and height of each view's images, in the order of the cameras' numbers: the table has none.

    Raises:
        InputError: the file cannot be read, the corners are those of another board, or there is not a size a view.
        FormatError: it is no such table.
    """
    points = read_caliscope_board(path)
    # Caliscope counts from the outer corner of the first square
    grid = points.places / board.square - 1
    whole = grid.round().astype(np.int64)
    columns, rows = board.grid
    beyond = (whole < 0) | (whole >= (columns, rows))
    if (np.abs(grid - whole) > OFF_GRID).any() or beyond.any():
        raise InputError(f"{path}: its corners are not those of the board {board.spec}; check its size and squares")
    if len(sizes) != len(points.names):
        raise InputError(f"sizes: expected one for each of {', '.join(points.names)}, got {len(sizes)}")
    pixels = torch.full(
        (len(points.names), len(points.sync_indices), columns * rows, 2), torch.nan, dtype=torch.float64
    )
    corner = whole[:, 1] * columns + whole[:, 0]
    pixels[points.view, points.moment, corner] = torch.from_numpy(points.pixels)
    return BoardObservations(
        board=board,
        pixels=pixels,
        names=points.names,
        sizes=torch.as_tensor(sizes),
        moments=tuple(points.sync_indices.tolist()),
        frame_indices=torch.full(pixels.shape[:2], -1),
    )

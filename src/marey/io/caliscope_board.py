"""Caliscope's tables of a calibration board: `xy.csv` with the corners that each camera saw."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.caliscope_csv import camera_names, read_columns, table_extent

COLUMNS = ("sync_index", "port", "point_id", "img_loc_x", "img_loc_y", "obj_loc_x", "obj_loc_y")


@dataclass(frozen=True, kw_only=True)
class CaliscopeBoardPoints:
    """N corners of a board, one row each."""

    names: tuple[str, ...]
    """Of the V views: `cam_0`, ..."""
    sync_indices: npt.NDArray[np.int64]
    """(M,) ascending, those at which a camera saw a corner."""
    view: npt.NDArray[np.int64]
    """(N,) place in `names`."""
    moment: npt.NDArray[np.int64]
    """(N,) place in `sync_indices`."""
    pixels: npt.NDArray[np.float64]
    """(N, 2) with the lens."""
    places: npt.NDArray[np.float64]
    """(N, 2) on the board, in the table's unit (Caliscope: metres), from the board's outer corner."""


def read_caliscope_board(path: str | os.PathLike[str]) -> CaliscopeBoardPoints:
    """Read the corners of a calibration board.

    Raises:
        InputError: the file cannot be read.
        FormatError: a column is missing, a row is malformed, or these are no points of a board.
    """
    path = Path(path)
    table, _ = read_columns(path, COLUMNS, keep_points=False)
    if not len(table):
        raise FormatError(f"{path}: no row in it")
    # whole numbers are asked for in the first, second and fourth column
    _, _, ports = table_extent(path, table[:, [0, 1, 0, 2]])
    if not np.isfinite(table[:, 3:]).all():
        raise FormatError(f"{path}: a corner without its place in the image or on the board")
    moments, moment = np.unique(table[:, 0].astype(np.int64), return_inverse=True)
    return CaliscopeBoardPoints(
        names=camera_names(ports),
        sync_indices=moments,
        view=np.searchsorted(ports, table[:, 1]),
        moment=moment,
        pixels=table[:, 3:5],
        places=table[:, 5:7],
    )

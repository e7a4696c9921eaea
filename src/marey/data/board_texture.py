"""The picture of a calibration board, as it is printed."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import InputError

Picture = npt.NDArray[np.uint8]
"""(height, width) grey."""


def draw_checkerboard(columns: int, rows: int, *, pixels: int, inverted: bool = False) -> Picture:
    """Draw a checkerboard of `columns` x `rows` squares, each `pixels` wide; the first is black.

    Args:
        columns: squares along x, one more than inner corners.
        rows: squares along y.
        pixels: side of a square.
        inverted: begin with white, for a print of white on black.
    """
    black = (np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0) ^ inverted
    squares: Picture = np.where(black, 0, 255).astype(np.uint8)
    return np.kron(squares, np.ones((pixels, pixels), np.uint8))


def draw_charuco(
    columns: int,
    rows: int,
    *,
    dictionary: str,
    pixels: int,
    marker: float = 0.75,
    inverted: bool = False,
    legacy: bool = False,
) -> Picture:
    """Draw a ChArUco board of `columns` x `rows` squares, each `pixels` wide, as OpenCV understands it.

    Args:
        columns: squares along x.
        rows: squares along y.
        dictionary: OpenCV's name, such as `DICT_4X4_50`.
        pixels: side of a square.
        marker: side of a marker relative to its square.
        inverted: white on black.
        legacy: the pattern of OpenCV before 4.6.

    Raises:
        InputError: there is no such dictionary, or it has too few markers for the board.
    """
    number = getattr(cv2.aruco, dictionary, None)
    if not dictionary.startswith("DICT_") or not isinstance(number, int):
        raise InputError(f"dictionary: OpenCV has no '{dictionary}'; expected one such as DICT_4X4_50")
    markers = cv2.aruco.getPredefinedDictionary(number)
    if columns * rows // 2 > len(markers.bytesList):
        raise InputError(
            f"dictionary {dictionary}: {len(markers.bytesList)} markers, a board of {columns}x{rows} squares needs "
            f"{columns * rows // 2}; choose a larger dictionary"
        )
    board = cv2.aruco.CharucoBoard((columns, rows), 1.0, marker, markers)
    board.setLegacyPattern(legacy)
    drawn: Picture = np.asarray(board.generateImage((columns * pixels, rows * pixels)), np.uint8)
    return 255 - drawn if inverted else drawn


def with_margin(picture: Picture, margin: int, *, inverted: bool = False) -> Picture:
    """Add the margin that detectors need around a board: of the paper's colour, `margin` pixels wide."""
    return np.pad(picture, margin, constant_values=0 if inverted else 255)

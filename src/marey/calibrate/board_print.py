"""Boards to print, in their true size."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from marey.calibrate.boards import Board
from marey.core import InputError
from marey.data.board_texture import Picture, draw_charuco, draw_checkerboard, with_margin
from marey.io.atomic import atomic_path
from marey.io.images import write_image

DOTS = 80
"""Of a square; edges then lie within 0.1 mm on a board of 8 mm squares."""
INCH = 0.0254
"""Metres."""


def draw_board(board: Board, *, pixels: int = DOTS) -> Picture:
    """Draw a board with one square of margin around it, `pixels` a square, (height, width) grey."""
    if board.kind == "charuco":
        assert board.dictionary is not None
        drawn = draw_charuco(
            board.columns,
            board.rows,
            dictionary=board.dictionary,
            pixels=pixels,
            marker=board.marker,
            inverted=board.inverted,
            legacy=board.legacy,
        )
    else:
        drawn = draw_checkerboard(board.columns + 1, board.rows + 1, pixels=pixels, inverted=board.inverted)
    return with_margin(drawn, pixels, inverted=board.inverted)


def write_board(path: str | os.PathLike[str], board: Board) -> tuple[float, float]:
    """Write a board to print: PDF in its true size, or an image.

    Args:
        path: ends in `.pdf`, or in an image format, whose printed size the printing program decides.
        board: with its square in metres.

    Returns:
        Width and height of the sheet, its margin of one square included, metres.

    Raises:
        InputError: the suffix is another one, or the file cannot be written.
    """
    path = Path(path)
    drawn = draw_board(board)
    height, width = (side / DOTS * board.square for side in drawn.shape)
    if path.suffix.lower() == ".pdf":
        _write_pdf(path, drawn, width, height)
    elif path.suffix.lower() == ".png":
        write_image(path, np.repeat(drawn[..., None], 3, axis=-1))
    else:
        raise InputError(f"{path}: expected a .pdf, in which the board has its true size, or a .png")
    return width, height


def _write_pdf(path: Path, drawn: Picture, width: float, height: float) -> None:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / INCH, height / INCH))
    FigureCanvasPdf(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.imshow(drawn, cmap="gray", vmin=0, vmax=255, interpolation="none", aspect="auto")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})

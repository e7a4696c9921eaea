"""Find the inner corners of a checkerboard in one picture, in an order that the pattern itself defines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from marey.calibrate.boards import Board
from marey.calibrate.charuco import FoundBoard, Grey

SEARCH_SIDE = 960
"""Pixels: larger pictures are searched at this size and measured at their own."""
WINDOW = 0.25
"""Half the side of the window in which a corner is refined, relative to the distance of the next corner."""
LARGEST_WINDOW = 30
FLATNESS = 0.1
"""Corners farther than this from a flat grid, relative to a square, root mean square, are no board. Strong lenses bend
the grid by a few hundredths of a square."""
Corners = npt.NDArray[np.float64]


class CheckerboardFinder:
    """Finds one checkerboard; an instance serves one thread.

    OpenCV's older detector first, which takes milliseconds, then the sector-based one (Duda and Frese 2018), which
    finds more; then `cornerSubPix` at full size. A grid that is not a picture of a flat board is told as such.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._grid = board.grid
        columns, rows = board.grid
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        self._plane = np.stack((x, y), -1).reshape(-1, 2).astype(np.float64)

    def __call__(self, grey: Grey) -> FoundBoard:
        """Find the board in a picture (height, width)."""
        image = 255 - grey if self._board.inverted else grey
        why_not = ""
        for corners in self._proposals(image):
            distance, square = self._flatness(corners)
            if distance <= FLATNESS * square:
                return FoundBoard(corners=ordered_corners(corners, image, self._board))
            why_not = f"a false grid: its corners lie {distance:.0f} px from a flat one of {square:.0f} px a square"
        return FoundBoard(corners=np.full((len(self._plane), 2), np.nan), why_not=why_not)

    def _proposals(self, image: Grey) -> Iterator[Corners]:
        import cv2

        scale = min(1.0, SEARCH_SIDE / max(image.shape))
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fast = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        thorough = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
        found, corners = cv2.findChessboardCorners(small, self._grid, flags=fast)
        if found:
            yield _refined(image, (corners.reshape(self._grid[1], self._grid[0], 2) + 0.5) / scale - 0.5)
        found, corners = cv2.findChessboardCornersSB(small, self._grid, flags=thorough)
        if found:
            yield _refined(image, (corners.reshape(self._grid[1], self._grid[0], 2) + 0.5) / scale - 0.5)

    def _flatness(self, corners: Corners) -> tuple[float, float]:
        """Root mean square distance in pixels from the nearest picture of a flat grid, and pixels a square."""
        import cv2

        seen = corners.reshape(-1, 2)
        square = float(
            np.sqrt(np.prod([np.linalg.norm(np.diff(corners, axis=axis), axis=-1).mean() for axis in (0, 1)]))
        )
        homography, _ = cv2.findHomography(self._plane, seen)
        if homography is None:
            return np.inf, square
        flat = cv2.perspectiveTransform(self._plane[None], homography)[0]
        return float(np.sqrt(np.square(flat - seen).sum(-1).mean())), square


def ordered_corners(corners: Corners, image: Grey, board: Board) -> Corners:
    """Bring corners (rows, columns, 2) into the order of `board.points`, (C, 2), as far as the pattern defines it.

    The board is taken to face the camera: x, y and the viewing direction make a right-handed frame. Where the colours
    decide, the square enclosed by the first corners is dark. What remains open (`Board.orders`) is chosen such that the
    first corner is nearest to the image's top left.
    """
    columns, rows = board.grid
    along, down = np.diff(corners, axis=1).mean((0, 1)), np.diff(corners, axis=0).mean((0, 1))
    if along[0] * down[1] - along[1] * down[0] < 0:
        corners = corners[:, ::-1]
    turns = range(4) if columns == rows else (0, 2)
    candidates = [np.rot90(corners, turn) for turn in turns]
    if len(board.orders) < len(candidates):
        candidates.sort(key=lambda grid: _darkness(grid, image), reverse=True)
        candidates = candidates[: len(board.orders)]
    best = min(candidates, key=lambda grid: float(grid[0, 0].sum()))
    return np.ascontiguousarray(best.reshape(-1, 2))


def _darkness(grid: Corners, image: Grey) -> float:
    """How much darker the first enclosed square, and those of its colour, are than the others."""
    middles = (grid[1:, 1:] + grid[1:, :-1] + grid[:-1, 1:] + grid[:-1, :-1]) / 4
    x, y = np.clip(middles.round().astype(int), 0, np.array(image.shape[::-1]) - 1).transpose(2, 0, 1)
    values = image[y, x].astype(np.float64)
    first = np.indices(values.shape).sum(0) % 2 == 0
    return float(values[~first].mean() - values[first].mean())


def _refined(image: Grey, corners: Corners) -> Corners:
    """Move corners (rows, columns, 2) to the saddle points of the grey values."""
    import cv2

    steps = [np.linalg.norm(np.diff(corners, axis=axis), axis=-1).min() for axis in (0, 1)]
    window = int(np.clip(WINDOW * min(steps), 2, LARGEST_WINDOW))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-4)
    start = np.ascontiguousarray(corners.reshape(-1, 1, 2), np.float32)
    refined = cv2.cornerSubPix(image, start.copy(), (window, window), (-1, -1), criteria)
    result: Corners = refined.reshape(corners.shape).astype(np.float64)
    return result

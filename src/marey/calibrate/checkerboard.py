"""Find the inner corners of a checkerboard in one picture, in an order that the pattern itself defines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from marey.calibrate.boards import Board
from marey.calibrate.charuco import FoundBoard, Grey

SEARCH_SIDE = 960
"""Pixels: larger pictures are searched at this size and measured at their own."""
WINDOW = 0.3
"""Half the side of the window in which a corner is refined, relative to the distance of the next corner."""
LARGEST_WINDOW = 30
BLUR = 0.04
"""Standard deviation of the blur before, relative to a square; 0.5 to 2 pixels."""
BORDER = 1.5
"""Squares around the corners that belong to the board's part of a picture."""
CLEARLY = 0.85
"""Of the roughness: by less, two measurements of a grid are as good."""
AGREEMENT = 0.1
"""How far, relative to a square, a corner may lie from where it was found first; at least 2 pixels."""
FLATNESS = 0.1
"""Corners farther than this from a flat grid, relative to a square, root mean square, are no board. Strong lenses bend
the grid by a few hundredths of a square."""
Corners = npt.NDArray[np.float64]


class CheckerboardFinder:
    """Finds one checkerboard; an instance serves one thread.

    OpenCV's older detector first, which takes milliseconds, then the sector-based one (Duda and Frese 2018), which
    finds more. A grid that is not a picture of a flat board is told as such.
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
        """Grids (rows, columns, 2), measured, from the fast detector and then from the thorough one."""
        import cv2

        scale = min(1.0, SEARCH_SIDE / max(image.shape))
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        fast = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
        thorough = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
        for detector, flags in ((cv2.findChessboardCorners, fast), (cv2.findChessboardCornersSB, thorough)):
            found, corners = detector(small, self._grid, flags=flags)
            if found:
                yield self._measured(image, (corners.reshape(self._grid[1], self._grid[0], 2) + 0.5) / scale - 0.5)

    def _measured(self, image: Grey, corners: Corners) -> Corners:
        """Measure the corners of a grid in two ways at full size, and keep what is clearly smoother, else saddles."""
        saddles, sectors = _by_saddle_points(image, corners), _by_sectors(image, corners)
        if sectors is None or self._roughness(sectors) >= CLEARLY * self._roughness(saddles):
            return saddles
        return sectors

    def _flatness(self, corners: Corners) -> tuple[float, float]:
        """Root mean square distance in pixels from the nearest picture of a flat grid, and pixels a square."""
        sides = [np.linalg.norm(np.diff(corners, axis=axis), axis=-1).mean() for axis in (0, 1)]
        away = self._from_flat(corners)
        return float(np.sqrt(np.square(away).sum(-1).mean())), float(np.sqrt(sides[0] * sides[1]))

    def _roughness(self, corners: Corners) -> float:
        """Root mean square distance in pixels from a flat grid seen through a lens: a cubic bends what is flat."""
        away = self._from_flat(corners)
        x, y = (self._plane / self._plane.max(0) - 0.5).T
        terms = np.stack([x**i * y**j for i in range(4) for j in range(4 - i)], -1)
        if len(terms) < 2 * terms.shape[-1]:
            return 0.0
        bend, *_ = np.linalg.lstsq(terms, away, rcond=None)
        return float(np.sqrt(np.square(away - terms @ bend).sum(-1).mean()))

    def _from_flat(self, corners: Corners) -> Corners:
        """Corners (C, 2) relative to the nearest picture of a flat grid, pixels; infinite where there is none."""
        import cv2

        seen = corners.reshape(-1, 2)
        homography, _ = cv2.findHomography(self._plane, seen)
        if homography is None:
            return np.full_like(seen, np.inf)
        return np.asarray(seen - cv2.perspectiveTransform(self._plane[None], homography)[0])


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


def _by_saddle_points(image: Grey, corners: Corners) -> Corners:
    """Measure corners (rows, columns, 2), known to a pixel or two, by `cornerSubPix` in a little blur.

    On drawn pictures its errors are a third of those of the sector-based detector.
    """
    import cv2

    shortest = min(np.linalg.norm(np.diff(corners, axis=axis), axis=-1).min() for axis in (0, 1))
    window = int(np.clip(WINDOW * shortest, 2, LARGEST_WINDOW))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-4)
    start = np.ascontiguousarray(corners.reshape(-1, 1, 2), np.float32)
    smooth = cv2.GaussianBlur(image, (0, 0), float(np.clip(BLUR * shortest, 0.5, 2.0)))
    refined = cv2.cornerSubPix(smooth, start, (window, window), (-1, -1), criteria)
    return np.asarray(refined.reshape(corners.shape), np.float64)


def _by_sectors(image: Grey, corners: Corners) -> Corners | None:
    """Measure corners (rows, columns, 2) by the sector-based detector, in the board's part of the picture.

    On photographs with blur and reflections its residuals are two thirds of those of `cornerSubPix`. Equalising the
    part first would double them.
    """
    import cv2

    steps = [np.linalg.norm(np.diff(corners, axis=axis), axis=-1) for axis in (0, 1)]
    shortest, longest = min(step.min() for step in steps), max(step.max() for step in steps)
    left, top = np.maximum(np.floor(corners.min((0, 1)) - BORDER * longest), 0).astype(int)
    right, bottom = np.ceil(corners.max((0, 1)) + BORDER * longest).astype(int)
    part = np.ascontiguousarray(image[top:bottom, left:right])
    found, measured = cv2.findChessboardCornersSB(part, corners.shape[1::-1], flags=cv2.CALIB_CB_EXHAUSTIVE)
    if not found:
        return None
    result = _in_order_of(corners, measured.reshape(corners.shape).astype(np.float64) + np.array((left, top)))
    agrees = np.abs(result - corners).max() < max(AGREEMENT * shortest, 2.0)
    return result if agrees else None


def _in_order_of(corners: Corners, others: Corners) -> Corners:
    """The same corners as `others`, both (rows, columns, 2), listed as nearly as possible like `corners`."""
    listings = [others, others.swapaxes(0, 1)] if others.shape[0] == others.shape[1] else [others]
    turned = [listing[::down, ::along] for listing in listings for down in (1, -1) for along in (1, -1)]
    return min(turned, key=lambda listing: float(np.abs(listing - corners).max()))

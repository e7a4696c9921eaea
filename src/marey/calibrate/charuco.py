"""Find the corners of a ChArUco board in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.calibrate.boards import Board
from marey.core import InputError

Grey = npt.NDArray[np.uint8]
"""(height, width)"""
LEAST_CORNERS = 4
"""That fix a homography; with fewer, the picture is searched in the mirror too."""


@dataclass(frozen=True, kw_only=True)
class FoundBoard:
    """What one picture shows of a board."""

    corners: npt.NDArray[np.float64]
    """(C, 2) pixels; NaN = not seen."""
    mirrored: bool = False
    """The pattern was seen as in a mirror: from behind, or in a picture that was flipped."""
    why_not: str = ""
    """What is wrong with what was found, empty if nothing is."""

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """(C,) boolean."""
        return ~np.isnan(self.corners[:, 0])


class CharucoFinder:
    """Finds one board; an instance serves one thread.

    OpenCV's detector: markers by adaptive thresholds, then the corners between them by local homographies and
    `cornerSubPix`. A picture that shows no board is searched in the mirror: the back of a board that carries the mirror
    image of its front shows the same corners at the same places.

    Raises:
        InputError: OpenCV has no such dictionary, or it has too few markers for the board.
    """

    def __init__(self, board: Board) -> None:
        import cv2

        self._detector = cv2.aruco.CharucoDetector(charuco_pattern(board))
        self._count = len(board.points)
        self._inverted = board.inverted

    def __call__(self, grey: Grey) -> FoundBoard:
        """Find the board in a picture (height, width)."""
        image = 255 - grey if self._inverted else grey
        straight = self._detect(image)
        if straight.seen.sum() >= LEAST_CORNERS:
            return straight
        mirrored = self._detect(np.ascontiguousarray(image[:, ::-1]))
        if mirrored.seen.sum() <= max(straight.seen.sum(), LEAST_CORNERS - 1):
            return straight
        corners = mirrored.corners
        corners[:, 0] = grey.shape[1] - 1 - corners[:, 0]
        return FoundBoard(corners=corners, mirrored=True)

    def _detect(self, image: Grey) -> FoundBoard:
        found, names, _, _ = self._detector.detectBoard(image)
        corners = np.full((self._count, 2), np.nan)
        if names is not None and len(names):
            corners[names.ravel()] = found.reshape(-1, 2)
        return FoundBoard(corners=corners)


def charuco_pattern(board: Board) -> Any:
    """The board as OpenCV's `CharucoBoard`.

    Raises:
        InputError: OpenCV has no such dictionary, or it has too few markers for the board.
    """
    import cv2

    name = board.dictionary or ""
    if not (name.startswith("DICT_") and hasattr(cv2.aruco, name)):
        known = sorted(other for other in dir(cv2.aruco) if other.startswith("DICT_"))
        raise InputError(f"board {board.spec}: OpenCV has no dictionary {name}; it has {', '.join(known)}")
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
    markers = board.columns * board.rows // 2
    if len(dictionary.bytesList) < markers:
        raise InputError(f"board {board.spec}: it needs {markers} markers, {name} has {len(dictionary.bytesList)}")
    pattern = cv2.aruco.CharucoBoard((board.columns, board.rows), board.square, board.marker * board.square, dictionary)
    pattern.setLegacyPattern(board.legacy)
    return pattern

"""Stick figures on small pictures: what training shows of its batches."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image

TRUTH, GUESS, HIDDEN = (90, 200, 120), (240, 150, 60), (120, 120, 130)
"""Colours: red, green, blue."""
_GROUND = 24
_SHIFT = 4
_LARGEST = 4000.0

Array = npt.NDArray[np.floating]
Color = tuple[int, int, int]


def draw_figure(
    picture: Image, points: Array, links: Sequence[tuple[int, int]], *, color: Color, shown: npt.NDArray[np.bool_]
) -> None:
    """Draw joints and the links between them onto a picture.

    Args:
        picture: (H, W, 3) uint8, changed.
        points: (J, 2) pixels, centres at integers.
        links: Of joints.
        color: Red, green, blue.
        shown: (J,) joints that are drawn; those that are not finite or far away are not.
    """
    there = shown & np.all(np.abs(points) < _LARGEST, axis=-1)
    fixed = np.where(there[:, None], points * (1 << _SHIFT), 0).round().astype(int).tolist()
    for start, end in links:
        if there[start] and there[end]:
            cv2.line(picture, tuple(fixed[start]), tuple(fixed[end]), color, 1, cv2.LINE_AA, _SHIFT)
    for place in np.flatnonzero(there):
        cv2.circle(picture, tuple(fixed[place]), 2 << _SHIFT, color, -1, cv2.LINE_AA, _SHIFT)


def blank(side: int) -> Image:
    """A dark square picture."""
    return np.full((side, side, 3), _GROUND, np.uint8)


def fitted(points: Array, side: int, *, extent: float) -> Array:
    """Points (..., 2) about the origin as pixels of a square picture that spans `extent` from its middle to its rim."""
    found: Array = (points / extent + 1) * (side / 2) - 0.5
    return found

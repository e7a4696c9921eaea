"""Frames worth keeping of a film: those in which somebody has moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def frames_apart(joints: Array, least: float) -> npt.NDArray[np.int64]:
    """Frames of joints (F, J, 3) to keep so that each differs from the one kept before it.

    A frame is left out while every joint has moved by less than `least` since the last frame that was kept. The first
    is kept, and so is one with an unknown joint.

    Args:
        joints: In the unit of `least`.
        least: Distance.
    """
    kept: list[int] = []
    place = 0
    while place < len(joints):
        kept.append(place)
        place = _next_apart(joints, place, least)
    return np.array(kept, dtype=np.int64)


def _next_apart(joints: Array, last: int, least: float) -> int:
    """The first frame after `last` that differs from it, looked for in steps that double."""
    start, length = last + 1, 8
    while start < len(joints):
        moved = np.linalg.norm(joints[start : start + length] - joints[last], axis=-1)
        far = ~(moved < least).all(-1)
        if far.any():
            return start + int(far.argmax())
        start, length = start + length, 2 * length
    return start

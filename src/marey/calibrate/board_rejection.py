"""Which pictures of a board are left out, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.calibrate.board_pictures import PictureOfBoard
from marey.calibrate.boards import Board

FLAT = 1e-3
"""Spread of the corners across their line relative to along it: below, they are collinear."""
SAME = 0.01
"""Pixels: a board whose corners all lie this near to where another picture has them is the same picture."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """How many pictures are searched, and which boards are left out."""

    most_moments: int = 600
    """Of a recording that are searched, evenly spread: consecutive frames repeat each other."""
    least_corners: int = 4
    """Of a board in a picture."""
    least_square: float = 8.0
    """Pixels along a square; smaller ones are measured badly."""
    blur: float = 2.0
    """Edges this many times wider than in the view's median picture are blurred, if also wider than `blur_width`."""
    blur_width: float = 4.0
    """Pixels."""
    still: float = 0.5
    """Pixels: moments in which no corner of any view moved farther are thinned out."""


def reasons_to_reject(
    pictures: Sequence[PictureOfBoard], names: Sequence[str], board: Board, config: DetectionConfig
) -> list[str]:
    """Why each picture of one view is left out, empty where it stays.

    Args:
        pictures: of the view, in order; each shows something.
        names: what people call each picture.
        board: what was looked for.
        config: limits.
    """
    edges = np.array([picture.edge for picture in pictures])
    usual = float(np.nanmedian(edges)) if np.isfinite(edges).any() else np.nan
    first: dict[bytes, str] = {}
    reasons = []
    for place, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        why = _own_reason(picture, board, config)
        twin = first.setdefault(picture.digest, name) if picture.digest else name
        if not why and twin != name:
            why = f"the same picture as {twin}"
        if not why and place and _same_corners(picture, pictures[place - 1]):
            why = f"shows the same as {names[place - 1]}: a repeated frame"
        if not why and picture.edge > max(config.blur * usual, config.blur_width):
            why = f"blurred: its edges are {picture.edge:.1f} px wide, {usual:.1f} px in the view's median picture"
        reasons.append(f"{name}: {why}" if why else "")
    return reasons


def _own_reason(picture: PictureOfBoard, board: Board, config: DetectionConfig) -> str:
    """What is wrong with one picture by itself."""
    found = picture.found
    count = int(found.seen.sum())
    if found.why_not:
        return found.why_not
    if count < config.least_corners:
        return f"only {count} of the board's {len(found.seen)} corners are seen"
    if collinear(board.points.numpy()[found.seen, :2]):
        return f"the {count} corners seen lie on one line"
    if picture.square < config.least_square:
        return f"too small: {picture.square:.1f} px a square, {config.least_square:g} are needed"
    return ""


def collinear(points: npt.NDArray[np.float64]) -> bool:
    """Whether points (N, 2) lie on one line."""
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(spread[-1] <= FLAT * spread[0])


def _same_corners(picture: PictureOfBoard, other: PictureOfBoard) -> bool:
    """Whether two pictures show the same corners at the same places, more exactly than a camera's noise allows."""
    both = picture.found.seen
    if not both.any() or (both != other.found.seen).any():
        return False
    return bool(np.abs(picture.found.corners[both] - other.found.corners[both]).max() < SAME)


def still_moments(pixels: npt.NDArray[np.float64], distance: float) -> npt.NDArray[np.bool_]:
    """Which moments (M,) repeat an earlier one that stays: every view sees what it saw there, within `distance` pixels.

    Args:
        pixels: (V, M, C, 2), NaN = not seen.
        distance: root mean square over the corners of a view.
    """
    moments = pixels.shape[1]
    still = np.zeros(moments, bool)
    seen = ~np.isnan(pixels[..., 0])
    last = 0
    for moment in range(1, moments):
        both = seen[:, moment] & seen[:, last]
        moved = np.where(both, np.square(pixels[:, moment] - pixels[:, last]).sum(-1), 0.0)
        mean = moved.sum(-1) / np.maximum(both.sum(-1), 1)
        nothing_new = not (seen[:, moment] & ~seen[:, last]).any()
        still[moment] = bool(both.any()) and nothing_new and bool((mean < distance**2).all())
        if not still[moment]:
            last = moment
    return still

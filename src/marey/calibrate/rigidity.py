"""Whether triangulated corners are as rigid, and as large, as the board they belong to.

The one truth that a calibration from boards can be held against: the board's size was measured with a ruler, and
neither the triangulation of a corner nor its neighbours know of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations
from marey.core import Cameras, InputError
from marey.geometry.alignment import align
from marey.geometry.triangulation import triangulate

LEAST_CORNERS = 4
"""Triangulated at a moment for the board to be laid over them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoardRigidity:
    """How well corners triangulated one by one fit the rigid board."""

    rms_mm: float
    """Root mean square distance of all corners from the board laid over them, moment by moment."""
    median_mm: float
    scale: float
    """Size of the triangulated boards over their true size, least squares over all moments."""
    scale_deviation: float
    """One standard deviation of it, from the scatter of the moments; NaN with fewer than two."""
    corners: int
    """Seen by two views or more."""
    moments: int
    rms_of_moments_mm: Tensor
    """(M,) NaN where fewer than four corners were triangulated."""
    points: Tensor
    """(M, C, 3) triangulated corners in the world, metres; NaN where fewer than two views saw one."""


def board_rigidity(observations: BoardObservations, cameras: Cameras, *, pixels: Tensor | None = None) -> BoardRigidity:
    """Triangulate every corner that two views or more saw, and lay the known board over those of each moment.

    No corner is left out or weighed down: triangulation is plain least squares, the board is laid rigidly.

    Args:
        observations: V views.
        cameras: (V,) with extrinsics.
        pixels: (V, M, C, 2) to take instead of all that the observations hold.

    Raises:
        InputError: no moment has four corners seen by two views.
    """
    seen = (observations.pixels if pixels is None else pixels).to(torch.float64)
    points = triangulate(seen, cameras.to(torch.float64), method="weighted").positions
    board = observations.board.points.expand_as(points)
    enough = points.isfinite().all(-1).sum(-1) >= LEAST_CORNERS
    points = torch.where(enough[:, None, None], points, torch.nan)
    if not enough.any():
        raise InputError("board rigidity: no moment has four corners of the board that two views saw")
    squared = (align(board, points).apply(board) - points).square().sum(-1)
    there = squared.isfinite()
    scale, deviation = _scale(board[enough], points[enough])
    return BoardRigidity(
        rms_mm=1000 * float(squared[there].mean().sqrt()),
        median_mm=1000 * float(squared[there].sqrt().median()),
        scale=scale,
        scale_deviation=deviation,
        corners=int(there.sum()),
        moments=int(enough.sum()),
        rms_of_moments_mm=1000 * squared.nanmean(-1).sqrt(),
        points=points,
    )


def _scale(board: Tensor, points: Tensor) -> tuple[float, float]:
    """The common scale of boards (M, C, 3) laid over points, and its deviation.

    Each moment's scale is sum(y . R x) / sum(x . x) about the middle; together they weigh by sum(x . x), which is the
    least-squares scale of all moments.
    """
    scale = align(board, points, transform="similarity").scale
    seen = points.isfinite().all(-1, keepdim=True)
    middle = torch.where(seen, board, 0.0).sum(1, keepdim=True) / seen.sum(1, keepdim=True)
    extent = torch.where(seen, board - middle, 0.0).square().sum((-2, -1))
    share = extent / extent.sum()
    mean = (share * scale).sum()
    count = len(scale)
    if count < 2:
        return float(mean), float("nan")
    return float(mean), float(((share * (scale - mean)).square().sum() * count / (count - 1)).sqrt())

"""Triangulation by random sample consensus: pairs of views propose points, the views that agree are used.

As in Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019, section 3.1), for all points, pairs and views at
once. Half the distance in the image is called the reprojection error there, and here.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.geometry.small import solve_3x3_symmetric
from marey.geometry.triangulation import triangulate_projections

THRESHOLD = 15.0
"""Reprojection error below which a view agrees; 30 px apart."""
_ITERATIONS = 20
"""Of the robust refinement."""
_STRAIGHTENED = 0.98
"""Share of a view's curvature along its own error that is taken away beyond the bend of Huber's loss."""


class Consensus(NamedTuple):
    """Points and the views that they rest on."""

    positions: Tensor
    """(B, J, 3), NaN where fewer than two views saw the point."""
    inliers: Tensor
    """(V, B, J) boolean."""


def ransac(
    points: Tensor,
    projections: Tensor,
    *,
    pairs: Tensor | None = None,
    threshold: float = THRESHOLD,
    refine: bool = True,
) -> Consensus:
    """Triangulate points from the largest set of views that agree with a pair of them.

    Args:
        points: (V, B, J, 2) pixels without distortion; NaN = not seen.
        projections: (V, B, 3, 4).
        pairs: (B, J, K, 2) views to try, in this order; None: every pair of views. Of equally large sets the first
            counts.
        threshold: half the distance in pixels below which a view agrees.
        refine: minimise the reprojection errors of the agreeing views under Huber's loss (scale 1).

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: there is only one view.
    """
    views, batch, joints = points.shape[:-1] if points.ndim == 4 else (0, 0, 0)
    if points.ndim != 4 or points.shape[-1] != 2:
        raise ShapeError(f"points: expected (V, B, J, 2), got {tuple(points.shape)}")
    if views < 2:
        raise InputError(
            "RANSAC needs two or more views and got one; for one view use method 'volumetric' or 'monocular'"
        )
    if pairs is None:
        every = torch.tensor(list(combinations(range(views), 2)), device=points.device)
        pairs = every.expand(batch, joints, -1, 2)
    inliers = _largest_agreement(points, projections, pairs, threshold)
    start = triangulate_projections(points, projections, weights=inliers.to(points.dtype)).positions
    if refine:
        start = _refine(start, points, projections, inliers)
    return Consensus(start, inliers)


def reprojection_errors(positions: Tensor, points: Tensor, projections: Tensor) -> Tensor:
    """Half the distances (V, B, J...) in pixels between points (V, B, J, 2) and positions (B, J, 3) as projected."""
    residual, _ = _residuals(positions, points, projections)
    return (residual.square().sum(-1)).sqrt() / 2


def _largest_agreement(points: Tensor, projections: Tensor, pairs: Tensor, threshold: float) -> Tensor:
    views, batch, joints, _ = points.shape
    trials = pairs.shape[2]
    chosen = pairs.permute(3, 0, 1, 2).flatten(2)  # (2, B, J K)
    used = torch.zeros(views, batch, joints * trials, dtype=torch.bool, device=points.device)
    used = used.scatter(0, chosen, torch.ones_like(chosen, dtype=torch.bool))
    spread = points.repeat_interleave(trials, dim=2)
    proposals = triangulate_projections(spread, projections, weights=used.to(points.dtype)).positions
    agree = (reprojection_errors(proposals, spread, projections) < threshold) | used
    agree = agree & spread.isfinite().all(-1)
    agree = agree.view(views, batch, joints, trials)
    best = agree.sum(0).argmax(-1)  # the first of the largest
    return agree.gather(-1, best.expand(views, -1, -1)[..., None])[..., 0]


def _refine(start: Tensor, points: Tensor, projections: Tensor, inliers: Tensor) -> Tensor:
    """Minimise Huber's loss of half the image distances.

    Two steps are tried at a time and the better one is taken: reweighted least squares, which never gets worse but
    crawls where a view lies beyond the bend of the loss, and Newton's, which has nearly no curvature along the error of
    such a view and is fast near the minimum.
    """
    known = inliers & points.isfinite().all(-1)
    positions = start
    for _ in range(_ITERATIONS):
        residual, jacobian = _residuals(positions, points, projections)
        residual = torch.where(known[..., None], residual, 0.0)
        distance = residual.square().sum(-1, keepdim=True).sqrt()
        slope = jacobian * (known[..., None] / (distance / 2).clamp_min(1.0))[..., None]
        along = residual / distance.clamp_min(torch.finfo(residual.dtype).tiny)
        bent = (along * torch.where(distance > 2, _STRAIGHTENED, 0.0))[..., None]
        gradient = torch.einsum("vbjki,vbjk->bji", slope, residual)
        normal = torch.einsum(
            "svbjki,vbjkl->sbjil", torch.stack((slope, slope - bent * (along[..., None, :] @ slope))), jacobian
        )
        tried = positions - solve_3x3_symmetric(normal, gradient.expand(2, -1, -1, -1))
        losses = torch.stack([_huber(candidate, points, projections, known) for candidate in tried])
        positions = torch.where((losses[1] < losses[0])[..., None], tried[1], tried[0])
    return torch.where(positions.isfinite().all(-1, keepdim=True), positions, start)


def _huber(positions: Tensor, points: Tensor, projections: Tensor, known: Tensor) -> Tensor:
    """The loss (B, J) of the views that count."""
    error = reprojection_errors(positions, points, projections)
    return torch.where(known, torch.where(error <= 1, error.square(), 2 * error - 1), 0.0).sum(0)


def _residuals(positions: Tensor, points: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
    """Image errors (V, B, J, 2) and their derivatives (V, B, J, 2, 3) with respect to the positions."""
    linear, shift = projections[..., :3], projections[..., 3]
    homogeneous = torch.einsum("vbik,bjk->vbji", linear, positions) + shift[:, :, None]
    depth = homogeneous[..., 2:]
    projected = homogeneous[..., :2] / depth
    rows = linear[:, :, None]
    jacobian = (rows[..., :2, :] - projected[..., None] * rows[..., 2:, :]) / depth[..., None]
    return projected - points, jacobian

"""Triangulation by random sample consensus: pairs of views propose points, the views that agree are used.

As in Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019, section 3.1), for all points, pairs and views at
once. Half the distance in the image is called the reprojection error there, and here.

A view's share of the normal equations does not depend on the views beside it: it is computed once, and every proposal
solves the sum of two shares. All in double precision, whatever the inputs have.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.geometry.small import solve_3x3_symmetric
from marey.geometry.triangulation import EXACT_STEPS
from marey.geometry.triangulation_kernels import linear_solution

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
    if points.ndim != 4 or points.shape[-1] != 2:
        raise ShapeError(f"points: expected (V, B, J, 2), got {tuple(points.shape)}")
    if points.shape[0] < 2:
        raise InputError(
            "RANSAC needs two or more views and got one; for one view use method 'volumetric' or 'monocular'"
        )
    scene = _Scene.of(points, projections)
    inliers = _largest_agreement(scene, pairs, threshold)
    start = _solved((scene.shares * inliers).sum(2)).movedim(0, -1).to(points.dtype)
    start = start.masked_fill((inliers.sum(0) < 2)[..., None], torch.nan)
    if refine:
        start = _refine(start, points, projections, inliers)
    return Consensus(start, inliers)


class _Scene(NamedTuple):
    """What proposals are made of and judged by, in double precision."""

    points: Tensor
    """(V, B, J, 2) pixels."""
    projections: Tensor
    """(V, B, 3, 4)."""
    shares: Tensor
    """What each view adds to the normal equations (4, 4, V, B, J); zero where a point is not seen."""
    seen: Tensor
    """(V, B, J) boolean."""

    @classmethod
    def of(cls, points: Tensor, projections: Tensor) -> _Scene:
        """Prepare points and projections."""
        points, projections = points.double(), projections.double()
        seen = points.isfinite().all(-1)
        matrices = projections.movedim(-1, 0)[..., None]  # (4, V, B, 3, 1)
        rows = matrices[:, :, :, :2] - matrices[:, :, :, 2:] * points.transpose(-1, -2)[None]
        rows = rows.masked_fill(seen.logical_not()[:, :, None], 0.0)
        return cls(points, projections, (rows[:, None] * rows).sum(4), seen)


def reprojection_errors(positions: Tensor, points: Tensor, projections: Tensor) -> Tensor:
    """Half the distances (V, B, J...) in pixels between points (V, B, J, 2) and positions (B, J, 3) as projected."""
    residual, _ = _residuals(positions, points, projections)
    return (residual.square().sum(-1)).sqrt() / 2


def _solved(normal: Tensor) -> Tensor:
    """The positions (3, ...) of normal equations (4, 4, ...)."""
    _, opposite = linear_solution(normal.flatten(2), EXACT_STEPS)
    return opposite.neg().view(3, *normal.shape[2:])


def _largest_agreement(scene: _Scene, pairs: Tensor | None, threshold: float) -> Tensor:
    """The views (V, B, J) of the largest set, of the first of several."""
    views, batch, joints = scene.seen.shape
    every = torch.tensor(list(combinations(range(views), 2)), device=scene.seen.device).T
    if pairs is None:
        agree = _agreement(scene, every[..., None, None], threshold)
        best = agree.sum(0).argmax(0, keepdim=True)  # the first of the largest
    elif pairs.shape[2] < every.shape[1]:
        agree = _agreement(scene, pairs.permute(3, 2, 0, 1), threshold)
        best = agree.sum(0).argmax(0, keepdim=True)
    else:  # some are tried again: every pair once, looked up in the order asked for
        agree = _agreement(scene, every[..., None, None], threshold)
        place = torch.zeros(views, views, dtype=torch.int64, device=every.device)
        place[every[0], every[1]] = place[every[1], every[0]] = torch.arange(every.shape[1], device=every.device)
        order = place[pairs[..., 0], pairs[..., 1]].permute(2, 0, 1)
        best = order.gather(0, agree.sum(0).gather(0, order).argmax(0, keepdim=True))
    return agree.gather(1, best.expand(views, 1, batch, joints))[:, 0]


def _agreement(scene: _Scene, pairs: Tensor, threshold: float) -> Tensor:
    """Which views (V, K, B, J) agree with what pairs of them (2, K, B or 1, J or 1) propose."""
    points, projections, shares, seen = scene
    views, batch, joints = seen.shape
    if pairs.shape[2:] == (1, 1):  # the same for all points
        proposed = _solved(shares[:, :, pairs[0, :, 0, 0]] + shares[:, :, pairs[1, :, 0, 0]])
    else:
        first, second = (shares.gather(2, chosen.expand(4, 4, *chosen.shape)) for chosen in pairs)
        proposed = _solved(first + second)
    trials = proposed.shape[1]
    linear, shift = projections.transpose(0, 1).flatten(1, 2).split_with_sizes((3, 1), dim=-1)
    homogeneous = torch.baddbmm(shift, linear, proposed.permute(2, 0, 1, 3).reshape(batch, 3, -1))
    x, y, depth = homogeneous.view(batch, views, 3, trials, joints).unbind(2)
    u, v = points.permute(3, 1, 0, 2)[:, :, :, None]  # (2, B, V, 1, J)
    apart = (x / depth - u).square() + (y / depth - v).square()
    close = (apart < 4 * threshold * threshold).permute(1, 2, 0, 3)  # twice the error apart
    used = (torch.arange(views, device=seen.device).view(-1, 1, 1, 1, 1) == pairs).any(1)
    determined = (seen[:, None] | used.logical_not()).all(0)
    agree: Tensor = ((close & determined) | used) & seen[:, None]
    return agree


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

"""The kernels of triangulation: tensors only, points along the last dimension, no branch on data, exportable.

Every kernel takes intrinsics (V, 3, 3), rotation (V, 3, 3), translation (V, 3), ideal pixels (2, V, N), their
covariance (2, 2, V or 1, N or 1) and prior weights (V or 1, N or 1) or None, and returns positions (3, N), covariance
(3, 3, N) and weights (V, N).

Each view has two rows, of x and of y; all x rows stand before all y rows, R = 2 V in all. The layout and the order of
operations are chosen for the number of operations (a single frame) and for contiguous sums (many): both are measured
by `benchmarks/triangulation_speed.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor

INLIER_BOUND = 16.0
"""Squared Mahalanobis distance up to which a view counts fully: 4 sigma, exceeded by 0.03 % of good keypoints."""
ITERATIONS = 3
"""Gauss-Newton steps. The linear start is close, and three reweightings come within 1 % of an oracle's error."""


def least_squares(
    intrinsics: Tensor,
    rotation: Tensor,
    translation: Tensor,
    observed: Tensor,
    spread: Tensor,
    prior: Tensor | None,
    *,
    robust: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise the whitened reprojection error, redescending beyond `INLIER_BOUND` if `robust`.

    With the rows a = W (P_12 - p P_3) of a view, W the inverse Cholesky factor of its covariance, a X is the whitened
    reprojection error times the depth P_3 X, and (a - (a X / P_3 X) P_3) / P_3 X its Jacobian.
    """
    projection, pairs = _rows(intrinsics, rotation, translation, observed)
    rows, trusted = _masked(_whiten(pairs, spread), prior)
    views, count = trusted.shape
    axis = projection[:, 2].repeat(1, 2, 1)
    linear, axial = axis[:3], axis[:3, :, 0].T
    inverse, step = _solve(_gram(rows[:3], rows))
    position = -step
    weights = trusted
    for _ in range(ITERATIONS):
        inverse_depth = torch.addmm(axis[3], axial, position).reciprocal()
        residual = ((rows[:3] * position[:, None]).sum(0) + rows[3]) * inverse_depth
        if robust:
            squared = (residual * residual).view(2, views, count).sum(0)
            ratio = INLIER_BOUND / squared.clamp_min(INLIER_BOUND)
            weights = trusted * (ratio * ratio.sqrt())
        jacobian = (rows[:3] - linear * residual) * inverse_depth
        weighted = torch.cat((jacobian, residual[None])) * weights.repeat(2, 1)
        inverse, step = _solve(_gram(jacobian, weighted))
        position = position - step
    return _where_determined(position, inverse, weights)


def dlt(
    intrinsics: Tensor,
    rotation: Tensor,
    translation: Tensor,
    observed: Tensor,
    spread: Tensor,
    prior: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimise |A X| over homogeneous X of unit norm, the rows A in pixels; the covariance is that of this estimator.

    The smallest eigenpair of the 4x4 normal matrix [[M, b], [b', c]] solves (M - s) x = -b with s = c + b' x. One
    Newton step on that secular equation from s = 0, where s is orders below the eigenvalues of M, reaches it to a
    micrometre at 5 px of noise.
    """
    projection, pairs = _rows(intrinsics, rotation, translation, observed)
    rows, trusted = _masked(pairs.flatten(1, 2), prior)
    if prior is not None:
        rows = rows * trusted.repeat(2, 1)
    normal = _gram(rows, rows)
    _, step = _solve(normal[:3])
    smallest = (normal[3, 3] - (step * normal[3, :3]).sum(0)) / (1 + (step * step).sum(0))
    identity = torch.eye(3, 4, dtype=rows.dtype, device=rows.device)[..., None]
    inverse, step = _solve(normal[:3] - smallest * identity)
    position = -step
    depth = torch.addmm(projection[3, 2], projection[:3, 2, :, 0].T, position)
    lever = rows[:3] * (depth if prior is None else depth * trusted).repeat(2, 1)
    pairs = lever.view(3, 1, 2, *trusted.shape)
    noisy = (pairs * spread).sum(2).flatten(1, 2)
    covariance = _product(_product(inverse, _gram(lever, noisy)), inverse)
    return _where_determined(position, covariance, trusted)


def _rows(intrinsics: Tensor, rotation: Tensor, translation: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Projection matrices (4, 3, V, 1) and the rows P_12 - p P_3 (4, 2, V, N)."""
    projection = (intrinsics @ torch.cat((rotation, translation[..., None]), dim=-1)).permute(2, 1, 0)[..., None]
    return projection, projection[:, :2] - projection[:, 2:] * observed


def _whiten(pairs: Tensor, spread: Tensor) -> Tensor:
    """Multiply the rows (4, 2, V, N) by the inverse Cholesky factor of the covariance; (4, R, N)."""
    variance, mixed = spread[0].unbind(0)
    first = variance.rsqrt()
    mixed = mixed * first
    x, y = pairs.unbind(1)
    x = x * first
    return torch.cat((x, (y - x * mixed) * (spread[1, 1] - mixed * mixed).rsqrt()), dim=1)


def _masked(rows: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows (4, R, N) with zeros where a view saw nothing, and each view's prior weight (V, N), zero there."""
    views = rows.shape[1] // 2
    seen = (rows[0, :views] + rows[0, views:]).isfinite()
    if prior is not None:
        seen = seen & (prior > 0)
    rows = torch.where(seen.repeat(2, 1), rows, 0.0)
    return rows, seen.to(rows.dtype) if prior is None else torch.where(seen, prior, 0.0)


def _gram(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over the rows: (i, R, N), (j, R, N) -> (i, j, N)."""
    return (left[:, None] * right).sum(2)


def _solve(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of a symmetric matrix (3, 3, N) by its adjugate, and its product with the fourth column of (3, 4, N)."""
    matrix, right = system[:, :3], system[:, 3]
    adjugate = torch.linalg.cross(matrix.roll(-1, 0), matrix.roll(-2, 0), dim=1)
    inverse = adjugate / (matrix[0] * adjugate[0]).sum(0)
    return inverse, (inverse * right).sum(1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of two (3, 3, N) matrices."""
    return (left[:, :, None] * right).sum(1)


def _where_determined(position: Tensor, covariance: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """NaN where fewer than two views count, or where they leave the point undetermined."""
    trace = covariance[0, 0] + covariance[1, 1] + covariance[2, 2]
    determined = ((weights > 0).sum(0) >= 2) & (trace > 0) & (trace < torch.inf)
    return torch.where(determined, position, torch.nan), torch.where(determined, covariance, torch.nan), weights

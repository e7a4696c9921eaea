"""The kernels of triangulation: tensors only, points along the last dimension, no branch on data, exportable.

Every kernel takes intrinsics (V, 3, 3), rotation (V, 3, 3), translation (V, 3), ideal pixels (2, V, N), their
covariance (2, 2, V or 1, N or 1) and prior weights (V or 1, N or 1) or None, and returns positions (3, N), covariance
(3, 3, N) and weights (V, N).
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
    reprojection error times the depth P_3 X.
    """
    projection, rows = _rows(intrinsics, rotation, translation, observed)
    rows, trusted = _masked(_whiten(rows, spread), prior)
    views, count = rows.shape[2:]
    flat = rows.reshape(4, 2 * views, count)
    linear, offset = rows[:3], rows[3]
    axis, shift = projection[:3, 2], projection[3, 2]
    covariance, step = _solve(_gram(flat[:3], flat))
    position = -step
    weights = trusted
    for _ in range(ITERATIONS):
        inverse_depth = torch.addmm(shift, axis[..., 0].T, position).reciprocal()
        residual = ((linear * position[:, None, None]).sum(0) + offset) * inverse_depth
        if robust:
            ratio = INLIER_BOUND / (residual * residual).sum(0).clamp_min(INLIER_BOUND)
            weights = trusted * ratio * ratio.sqrt()
        jacobian = (linear - axis[:, None] * residual) * inverse_depth
        augmented = torch.cat((jacobian, residual[None]))
        weighted = (augmented * weights).reshape(4, 2 * views, count)
        covariance, step = _solve(_gram(jacobian.reshape(3, 2 * views, count), weighted))
        position = position - step
    return _where_determined(position, covariance, weights)


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
    Newton step on that secular equation from s = 0, where s is many orders below the eigenvalues of M, reaches it.
    """
    projection, rows = _rows(intrinsics, rotation, translation, observed)
    rows, trusted = _masked(rows, prior)
    rows = rows * trusted
    views, count = rows.shape[2:]
    flat = rows.reshape(4, 2 * views, count)
    normal = _gram(flat, flat)
    inverse, step = _solve(normal[:3])
    smallest = (normal[3, 3] - (step * normal[3, :3]).sum(0)) / (1 + (step * step).sum(0))
    identity = torch.eye(3, 4, dtype=rows.dtype, device=rows.device)[..., None]
    inverse, step = _solve(normal[:3] - smallest * identity)
    position = -step
    depth = torch.addmm(projection[3, 2], projection[:3, 2, :, 0].T, position)
    lever = rows[:3] * trusted * depth
    noisy = (lever[:, None] * spread).sum(2)
    noise = _gram(lever.reshape(3, 2 * views, count), noisy.reshape(3, 2 * views, count))
    covariance = _product(_product(inverse, noise), inverse)
    return _where_determined(position, covariance, trusted)


def _rows(intrinsics: Tensor, rotation: Tensor, translation: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Projection matrices (4, 3, V, 1) and the rows P_12 - p P_3 (4, 2, V, N)."""
    projection = (intrinsics @ torch.cat((rotation, translation[..., None]), dim=-1)).permute(2, 1, 0)[..., None]
    return projection, projection[:, :2] - projection[:, 2:] * observed


def _whiten(rows: Tensor, spread: Tensor) -> Tensor:
    """Multiply the rows by the inverse Cholesky factor of the covariance (2, 2, V, N)."""
    first = spread[0, 0].rsqrt()
    mixed = spread[0, 1] * first
    second = (spread[1, 1] - mixed * mixed).rsqrt()
    x = rows[:, 0] * first
    return torch.stack((x, (rows[:, 1] - x * mixed) * second), dim=1)


def _masked(rows: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows with zeros where a view saw nothing, and each view's prior weight (V, N), zero there."""
    seen = (rows[0, 0] + rows[0, 1]).isfinite()
    if prior is not None:
        seen = seen & (prior > 0)
    return torch.where(seen, rows, 0.0), torch.where(seen, 1.0 if prior is None else prior, 0.0).to(rows.dtype)


def _gram(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over the rows: (i, R, N), (j, R, N) -> (i, j, N)."""
    return (left[:, None] * right).sum(2)


def _solve(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of a symmetric (3, 3, N) matrix by its adjugate, and its product with the fourth column."""
    matrix = system[:, :3]
    adjugate = torch.linalg.cross(matrix.roll(-1, 0), matrix.roll(-2, 0), dim=1)
    inverse = adjugate / (matrix[0] * adjugate[0]).sum(0)
    return inverse, (inverse * system[:, 3]).sum(1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of two (3, 3, N) matrices."""
    return (left[:, :, None] * right).sum(1)


def _where_determined(position: Tensor, covariance: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """NaN where fewer than two views count, or where they leave the point undetermined."""
    enough = (weights > 0).sum(0) >= 2
    variances = torch.stack((covariance[0, 0], covariance[1, 1], covariance[2, 2]))
    determined = enough & (variances > 0).all(0) & variances.isfinite().all(0)
    return torch.where(determined, position, torch.nan), torch.where(determined, covariance, torch.nan), weights

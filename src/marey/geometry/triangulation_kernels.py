"""The kernels of triangulation: tensors only, no branch on data, exportable.

Every kernel takes intrinsics (V, 3, 3), rotation (V, 3, 3) and translation (V, 3), or each of them per point as
(V, N, ...), ideal pixels (V, N, 2), their covariance (V or 1, N or 1, 2, 2) and prior weights (V or 1, N or 1) or None,
and returns positions (N, 3), covariance (N, 3, 3) and weights (V, N).

Inside, points run along the last dimension; the equations are rows (4, 2, V, N) in homogeneous coordinates, one of x
and one of y for each view. The layout, methods instead of index expressions and the order of operations are chosen for
the number of calls (a single frame) and for contiguous sums (many points): `benchmarks/triangulation_speed.py`
measures both.
"""

from __future__ import annotations

import torch
from torch import Tensor

INLIER_BOUND = 16.0
"""Squared Mahalanobis distance up to which a view counts fully: 4 sigma, exceeded by 0.03 % of good keypoints."""
ITERATIONS = 3
"""Reweightings. The linear start is close, and three of them come within about 1 % of an oracle's error."""


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
    reprojection error times the depth P_3 X. Rows divided by the depth of the last position and reweighted give the
    next one (Hartley and Zisserman, section 12.2, after Hartley and Sturm); the last step is one of Gauss-Newton, with
    the Jacobian (a - (a X / P_3 X) P_3) / P_3 X, and gives the covariance.
    """
    axis, x, y = _rows(intrinsics, rotation, translation, observed)
    variance, mixed, _, other = spread.flatten(2).unbind(2)
    scale = variance.rsqrt()
    x, mixed = x * scale, mixed * scale
    y = torch.addcmul(y, x, mixed, value=-1) * torch.addcmul(other, mixed, mixed, value=-1).rsqrt()
    rows, trusted = _masked(torch.stack((x, y), dim=1), prior)
    if prior is not None:
        rows = rows * trusted.sqrt()
    linear = rows.narrow(0, 0, 3)
    normal = (linear.unsqueeze(1) * rows).sum(2)  # of each view: (3, 4, V, N)
    axis = axis.unsqueeze(1)
    stacked = torch.cat((rows, axis.expand(4, 1, *trusted.shape)), dim=1)
    slope, offset = stacked.narrow(0, 0, 3), stacked.select(0, 3)
    _, opposite = _solve(normal.sum(2))  # the position, negative
    for _ in range(ITERATIONS - 1):
        residual, depth = _misfit(slope, offset, opposite)
        share = (_falloff(residual) if robust else 1.0) / (depth * depth)
        _, opposite = _solve((normal * share).sum(2))
    residual, depth = _misfit(slope, offset, opposite)
    jacobian = torch.addcmul(linear, axis.narrow(0, 0, 3), residual, value=-1) / depth
    weighted = torch.cat((jacobian, residual.unsqueeze(0)))
    trusted = trusted * (depth.squeeze(0) > 0)  # a camera does not see what is behind it
    count = (trusted if prior is None else trusted.sign()).sum(0)
    if robust:
        weights = _falloff(residual) * INLIER_BOUND**1.5
        weighted, trusted = weighted * weights, trusted * weights
    inverse, step = _solve(_gram(jacobian, weighted))
    return _points_first((opposite + step).neg(), inverse, trusted, count)


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
    micrometre at 5 px of noise. Where rays meet nowhere such a step may go too far: see `dlt_of_rows`.
    """
    axis, x, y = _rows(intrinsics, rotation, translation, observed)
    return _dlt(axis, torch.stack((x, y), dim=1), spread, prior, steps=1, behind=False)


def dlt_of_rows(
    axis: Tensor, rows: Tensor, spread: Tensor | None, prior: Tensor | None, *, steps: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, exactly, whatever the matrices of the views are; points behind their cameras are results like others.

    Args:
        axis: (4, V, 1 or N) the last rows P_3 of the matrices.
        rows: (4, 2, V, N) P_1 - u P_3 and P_2 - v P_3.
        spread: covariance of the pixels (V or 1, N or 1, 2, 2); None: 1 square pixel.
        prior: weights (V or 1, N or 1) or None.
        steps: see `linear_solution`.
    """
    solved = _dlt(axis, rows, spread, prior, steps=steps, behind=True)
    if not solved[0].requires_grad:
        return solved
    open_ = solved[0].detach().isnan().any(1)
    if not open_.any():
        return solved
    # where nothing is determined derivatives are not finite, and zero times that is not zero: such points are solved
    # anew from equations that nobody learns from
    rows = torch.where(open_, _determined(rows), rows)
    if spread is not None:
        identity = torch.eye(2, dtype=spread.dtype, device=spread.device)
        spread = torch.where(open_[:, None, None], identity, spread)
    prior = None if prior is None else torch.where(open_, 1.0, prior)
    position, covariance, weights = _dlt(axis, rows, spread, prior, steps=steps, behind=True)
    return (
        position.masked_fill(open_[:, None], torch.nan),
        covariance.masked_fill(open_[:, None, None], torch.nan),
        weights.masked_fill(open_, 0.0),
    )


def _determined(like: Tensor) -> Tensor:
    """Equations (4, 2, V, 1) of two views or more that the origin solves, and nothing else."""
    rows = torch.zeros(*like.shape[:3], 1, dtype=like.dtype, device=like.device)
    rows[0, 0], rows[1, 1], rows[2, 1, 1:] = 1.0, 1.0, 1.0
    return rows


def _dlt(
    axis: Tensor, rows: Tensor, spread: Tensor | None, prior: Tensor | None, *, steps: int, behind: bool
) -> tuple[Tensor, Tensor, Tensor]:
    if spread is not None:
        rows = rows + spread.flatten(2).sum(2) * 0  # NaN where the covariance is: such a view is not seen
    rows, trusted = _masked(rows, prior)
    if prior is not None:
        rows = rows * trusted
    normal = _gram(rows, rows)
    inverse, step = _nearly_linear_solution(normal) if steps == 1 else linear_solution(normal, steps)
    slope, shift = axis.split_with_sizes((3, 1))
    depth = shift.squeeze(0) - (slope * step.unsqueeze(1)).sum(0)
    lever = rows.narrow(0, 0, 3) * (depth if prior is None else depth * trusted)
    noisy = lever
    if spread is not None:
        noisy = (lever.unsqueeze(1) * spread.permute(2, 3, 0, 1).masked_fill(trusted == 0, 0.0)).sum(2)
    covariance = _product(_product(inverse, _gram(lever, noisy)), inverse)
    if not behind:
        trusted = trusted * (depth > 0)
    return _points_first(step.neg(), covariance, trusted, trusted.sign().sum(0))


def linear_solution(normal: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The direction that normal matrices (4, 4, N) magnify least, exactly.

    Newton's steps on the characteristic polynomial rise from zero to its smallest root s and never pass it, for all of
    its roots are real. Of s only a few digits count: it is orders below the eigenvalues of M.

    Returns:
        (M - s)^-1 (3, 3, N), and the position, negative (3, N).
    """
    system, last = normal.split_with_sizes((3, 1))
    matrix = system.narrow(1, 0, 3)
    mixed, corner = last.squeeze(0).split_with_sizes((3, 1))
    corner = corner.squeeze(0)
    adjugate = _adjugate(matrix)
    trace, minors = (part.diagonal().sum(1) for part in (matrix, adjugate))
    determinant = (matrix.select(0, 0) * adjugate.select(0, 0)).sum(0)
    square = (mixed * mixed).sum(0)
    once, twice = ((mixed * (part * mixed).sum(1)).sum(0) for part in (matrix, adjugate))
    # det(M - s) (c - s) - b' adj(M - s) b, powers of s upwards; that of the fourth is 1
    constant = determinant * corner - twice
    first = trace * square - once - determinant - minors * corner
    second = minors + trace * corner - square
    third = -(trace + corner)
    smallest = -constant / first
    for _ in range(steps - 1):
        rise = torch.addcmul(second, smallest, third + smallest)
        value = torch.addcmul(constant, smallest, torch.addcmul(first, smallest, rise))
        bend = torch.addcmul(2 * second, smallest, torch.add(4 * smallest, third, alpha=3))
        smallest = smallest - value / torch.addcmul(first, smallest, bend)
    return _solve(system - smallest * _unit(normal))


def _nearly_linear_solution(normal: Tensor) -> tuple[Tensor, Tensor]:
    """The same after one step on the secular equation."""
    system, last = normal.split_with_sizes((3, 1))
    mixed, corner = last.squeeze(0).split_with_sizes((3, 1))
    _, step = _solve(system)
    smallest = (corner - (step * mixed).sum(0)) / (1 + (step * step).sum(0))
    return _solve(system - smallest * _unit(normal))


def _unit(like: Tensor) -> Tensor:
    """(3, 4, 1), ones on the diagonal."""
    return torch.eye(3, 4, dtype=like.dtype, device=like.device).unsqueeze(2)


def _rows(intrinsics: Tensor, rotation: Tensor, translation: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows P_3 (4, V, 1 or N) of the projection matrices, and P_1 - u P_3 and P_2 - v P_3 (4, V, N)."""
    if intrinsics.ndim == 3:  # the same for all points
        intrinsics, rotation, translation = (part.unsqueeze(1) for part in (intrinsics, rotation, translation))
    pose = torch.cat((rotation, translation.unsqueeze(3)), dim=3).permute(3, 2, 0, 1)  # (4, 3, V, N)
    projection = (intrinsics.permute(2, 3, 0, 1) * pose.unsqueeze(1)).sum(2)
    horizontal, vertical, axis = projection.unbind(1)
    u, v = observed.unbind(2)
    return axis, torch.addcmul(horizontal, axis, u, value=-1), torch.addcmul(vertical, axis, v, value=-1)


def _masked(rows: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows with zeros where a view saw nothing, and each view's prior weight (V, N), zero there."""
    probe = rows.select(0, 0).sum(0)
    seen = (probe - probe) == 0  # finite; faster than isfinite
    if prior is not None:
        seen = seen & (prior > 0)
    rows = rows.masked_fill(seen.logical_not(), 0.0)
    return rows, seen.to(rows.dtype) if prior is None else torch.where(seen, prior, 0.0)


def _misfit(slope: Tensor, offset: Tensor, opposite: Tensor) -> tuple[Tensor, Tensor]:
    """Whitened residuals (2, V, N) and depths (1, V, N) of the positions `-opposite` (3, N)."""
    error, depth = (offset - (slope * opposite.view(3, 1, 1, -1)).sum(0)).split_with_sizes((2, 1))
    return error / depth, depth


def _falloff(residual: Tensor) -> Tensor:
    """The robust weights (V, N), up to the factor `INLIER_BOUND^1.5`."""
    return (residual * residual).sum(0).clamp_min(INLIER_BOUND).rsqrt() ** 3


def _gram(left: Tensor, right: Tensor) -> Tensor:
    """Sum of outer products over the rows: (i, 2, V, N), (j, 2, V, N) -> (i, j, N)."""
    return (left.flatten(1, 2).unsqueeze(1) * right.flatten(1, 2)).sum(2)


def _solve(system: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of a symmetric matrix (3, 3, N) by its adjugate, and its product with the fourth column of (3, 4, N)."""
    matrix, right = system.split_with_sizes((3, 1), dim=1)
    adjugate = _adjugate(matrix)
    inverse = adjugate / (matrix * adjugate).sum(1, keepdim=True)
    return inverse, (inverse * right).sum(0)


def _adjugate(matrix: Tensor) -> Tensor:
    """Of symmetric matrices (3, 3, N)."""
    cycle = torch.cat((matrix, matrix.narrow(0, 0, 2)))
    adjugate: Tensor = torch.linalg.cross(cycle.narrow(0, 1, 3), cycle.narrow(0, 2, 3), dim=1)
    return adjugate


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product of two (3, 3, N) matrices."""
    return (left.unsqueeze(2) * right).sum(1)


def _points_first(
    position: Tensor, covariance: Tensor, weights: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Points along the first dimension; NaN where fewer than two views count or leave the point undetermined."""
    # positive: two views or more, and a trace that is positive and finite
    known = count // 2 / covariance.diagonal().sum(1) > 0
    unknown = known.logical_not()
    position, covariance = position.masked_fill(unknown, torch.nan), covariance.masked_fill(unknown, torch.nan)
    return position.T, covariance.permute(2, 0, 1), weights.masked_fill(unknown, 0.0)

"""Two views of one point: essential and fundamental matrices, epipolar distances, rays that meet, relative poses.

A matrix M from view i (source) to view j (target) satisfies `x_j^T M x_i = 0`: in normalised coordinates for the
essential matrix, in ideal pixels (lens taken out, see `undistort_pixels`) for the fundamental one. Matrices of all
pairs of views are indexed [i, j]. Source: Hartley and Zisserman, Multiple View Geometry, 2nd ed., chapters 9 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, ShapeError
from marey.geometry.rotations import skew
from marey.geometry.small import rotation_from_correlation


def relative_poses(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """The motion from each camera's frame to each other's, of cameras (..., V).

    Returns:
        Rotations (..., V, V, 3, 3) and translations (..., V, V, 3), metres: `x_j = R[i, j] x_i + t[i, j]`.

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    rotation, translation = cameras.extrinsics
    turn = rotation[..., None, :, :, :] @ rotation[..., :, None, :, :].transpose(-1, -2)
    shift = translation[..., None, :, :] - (turn @ translation[..., :, None, :, None])[..., 0]
    return turn, shift


def essential_matrices(cameras: Cameras) -> Tensor:
    """Essential matrices (..., V, V, 3, 3) of all ordered pairs of cameras (..., V), indexed [source, target].

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    turn, shift = relative_poses(cameras)
    return skew(shift) @ turn


def fundamental_matrices(cameras: Cameras) -> Tensor:
    """Fundamental matrices (..., V, V, 3, 3), for ideal pixels, of all ordered pairs of cameras (..., V).

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    K = cameras.intrinsics
    fx, skewness, cx, fy, cy = K[..., 0, 0], K[..., 0, 1], K[..., 0, 2], K[..., 1, 1], K[..., 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = (
        (1 / fx, -skewness / (fx * fy), (skewness * cy - cx * fy) / (fx * fy)),
        (zero, 1 / fy, -cy / fy),
        (zero, zero, one),
    )
    inverse = torch.stack([torch.stack(row, -1) for row in rows], -2)
    left, right = inverse.transpose(-1, -2)[..., None, :, :, :], inverse[..., :, None, :, :]
    return left @ essential_matrices(cameras) @ right


def epipolar_lines(points: Tensor, matrix: Tensor) -> Tensor:
    """The lines (..., 3) in the target view on which the source points (..., 2) can lie.

    `a u + b v + c = 0` with a^2 + b^2 = 1, so that the left side is the signed distance. `matrix` is (..., 3, 3); the
    batch dimensions broadcast. For the lines in the source view of target points, pass the transposed matrix.
    """
    a, b, c = _lines(points, matrix)
    return torch.stack((a, b, c), -1) * (a * a + b * b).rsqrt()[..., None]


def sampson_distance(source: Tensor, target: Tensor, matrix: Tensor) -> Tensor:
    """How far (...) pairs of points are from fulfilling the epipolar constraint, in the unit of the points.

    The first-order approximation of the least root sum of squares by which both points must move (Sampson).

    Args:
        source: (..., 2)
        target: (..., 2)
        matrix: (..., 3, 3), fundamental for ideal pixels or essential for normalised coordinates. All batch
            dimensions broadcast; with points (V, 1, N, 2), (1, V, N, 2) and matrices (V, V, 1, 3, 3) the result is
            that of all pairs of views.
    """
    a, b, c = _lines(source, matrix)
    d, e, _ = _lines(target, matrix.transpose(-1, -2))
    u, v = target.unbind(-1)
    return (a * u + b * v + c).abs() * (a * a + b * b + d * d + e * e).rsqrt()


def pairwise_sampson_distance(points: Tensor, cameras: Cameras) -> Tensor:
    """The Sampson distance between all pairs of views, in pixels.

    Args:
        points: (V, ..., 2) ideal pixels; place k is the same point in every view.
        cameras: (V,) with extrinsics.

    Returns:
        (V, V, ...), symmetric; NaN where either view misses the point, and on the diagonal.
    """
    views = points.shape[0]
    matrix = fundamental_matrices(cameras).to(points.dtype)
    if matrix.ndim != 4 or len(matrix) != views:
        raise ShapeError(f"points: expected ({cameras.batch_shape[-1]}, ..., 2), got {tuple(points.shape)}")
    same = torch.eye(views, dtype=torch.bool, device=points.device)[..., None, None]
    matrix = torch.where(same, torch.nan, matrix)
    matrix = matrix.reshape(views, views, *(1,) * (points.ndim - 2), 3, 3)
    return sampson_distance(points[:, None], points[None], matrix)


@dataclass(frozen=True, kw_only=True)
class RayMeeting:
    """Where two lines come closest."""

    midpoint: Tensor
    """(..., 3) halfway between the closest points; NaN for parallel lines."""
    distance: Tensor
    """(...) between the lines, for parallel ones too."""
    depths: Tensor
    """(..., 2) of the closest points along the first and the second direction, in the unit of the directions; negative
    behind the origin, NaN for parallel lines."""


def closest_points_of_rays(
    first_origin: Tensor, first_direction: Tensor, second_origin: Tensor, second_direction: Tensor
) -> RayMeeting:
    """Find where lines through origins (..., 3) along directions (..., 3) of any length come closest.

    The batch dimensions broadcast. Directions whose angle is below the square root of the rounding are parallel.
    """
    between = second_origin - first_origin
    aa, bb = first_direction.square().sum(-1), second_direction.square().sum(-1)
    ab = (first_direction * second_direction).sum(-1)
    a0, b0 = (first_direction * between).sum(-1), (second_direction * between).sum(-1)
    normal = torch.linalg.cross(first_direction, second_direction)
    square = normal.square().sum(-1)
    parallel = square <= torch.finfo(square.dtype).eps * aa * bb
    safe = torch.where(parallel, 1.0, square)
    first, second = (bb * a0 - ab * b0) / safe, (ab * a0 - aa * b0) / safe
    apart = (normal * between).sum(-1).abs() * safe.rsqrt()
    beside = between - (a0 / aa)[..., None] * first_direction
    middle = first_origin + first[..., None] * first_direction + second_origin + second[..., None] * second_direction
    depths = torch.stack((first, second), -1)
    return RayMeeting(
        midpoint=torch.where(parallel[..., None], torch.nan, middle / 2),
        distance=torch.where(parallel, beside.square().sum(-1).sqrt(), apart),
        depths=torch.where(parallel[..., None], torch.nan, depths),
    )


def essential_from_points(source: Tensor, target: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Estimate essential matrices (..., 3, 3) from pairs of normalised points by the linear eight-point algorithm.

    The points are brought to zero mean and unit spread first (Hartley 1997); the result has the singular values
    1, 1, 0. Works in float64 whatever the input, through `torch.linalg` (9x9 eigenvectors): for calibration, not for
    inference graphs. Points on a plane, or cameras at one place, leave it undetermined.

    Args:
        source: (..., N, 2); NaN = missing.
        target: (..., N, 2); NaN = missing.
        weights: (..., N), not negative.

    Returns:
        Matrices of the input's precision; NaN where fewer than eight pairs are there.
    """
    seen = (source + target).sum(-1).isfinite()
    share = seen.double() if weights is None else torch.where(seen, weights, 0.0).double()
    keep = (share > 0)[..., None]
    source_normal, source_map = _normalised(torch.where(keep, source, 0.0).double(), share)
    target_normal, target_map = _normalised(torch.where(keep, target, 0.0).double(), share)
    rows = (target_normal[..., :, None] * source_normal[..., None, :]).flatten(-2)
    normal = (share[..., None] * rows).transpose(-1, -2) @ rows
    few = keep[..., 0].sum(-1) < 8
    normal = torch.where(few[..., None, None], torch.eye(9, dtype=normal.dtype, device=normal.device), normal)
    vector = torch.linalg.eigh(normal).eigenvectors[..., 0]
    estimate = target_map.transpose(-1, -2) @ vector.reshape(*vector.shape[:-1], 3, 3) @ source_map
    U, _, Vt = torch.linalg.svd(estimate)
    essential = U[..., :2] @ Vt[..., :2, :]
    return torch.where(few[..., None, None], torch.nan, essential).to(source.dtype)


def pose_from_essential(
    essential: Tensor, source: Tensor, target: Tensor, *, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the motion behind essential matrices (..., 3, 3) that puts the most points in front of both cameras.

    The four candidates come from the cofactors of the matrix (Horn 1990, "Recovering baseline and orientation from
    essential matrix").

    Args:
        essential: from source to target.
        source: (..., N, 2) normalised points; NaN = missing.
        target: (..., N, 2) normalised points; NaN = missing.
        weights: (..., N) votes.

    Returns:
        Rotations (..., 3, 3), unit translations (..., 3), `x_target = R x_source + t` up to scale, and the share of
        the votes (...) for points in front of both: near 1 for a sound matrix.
    """
    rotations, baselines = _candidates(essential)
    rays = torch.cat((source, torch.ones_like(source[..., :1])), -1)[..., None, :, :] @ rotations.transpose(-1, -2)
    ahead = torch.cat((target, torch.ones_like(target[..., :1])), -1)[..., None, :, :]
    # in the target's frame the source camera stands at the baseline, the target camera at the origin
    meeting = closest_points_of_rays(baselines[..., None, :], rays, torch.zeros_like(baselines)[..., None, :], ahead)
    seen = meeting.depths.isfinite().all(-1)
    votes = seen.to(essential.dtype) if weights is None else torch.where(seen, weights[..., None, :], 0.0)
    total = votes.sum(-1)
    share = torch.where((meeting.depths > 0).all(-1), votes, 0.0).sum(-1) / torch.where(total > 0, total, 1.0)
    best = share.argmax(-1, keepdim=True)
    rotation = rotations.take_along_dim(best[..., None, None], -3)[..., 0, :, :]
    baseline = baselines.take_along_dim(best[..., None], -2)[..., 0, :]
    return rotation, baseline, share.take_along_dim(best, -1)[..., 0]


def _candidates(essential: Tensor) -> tuple[Tensor, Tensor]:
    """The four motions (..., 4, 3, 3) and (..., 4, 3) that have the essential matrix up to sign."""
    gram = essential @ essential.transpose(-1, -2)
    half = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] / 2
    outer = half * torch.eye(3, dtype=essential.dtype, device=essential.device) - gram  # b b^T
    place = outer.diagonal(dim1=-2, dim2=-1).argmax(-1, keepdim=True)
    column = outer.take_along_dim(place[..., None, :], -1)[..., 0]
    baseline = column * column.square().sum(-1, keepdim=True).rsqrt()
    scaled = essential * half.rsqrt()  # |b| = 1
    a, b, c = scaled.unbind(-2)
    cofactors = torch.stack((torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), -2)
    product = skew(baseline) @ scaled
    # [b] R = E gives R = cof(E) - [b] E; the other sign of E the other rotation
    straight, _ = rotation_from_correlation(cofactors - product)
    twisted, _ = rotation_from_correlation(cofactors + product)
    rotations = torch.stack((straight, straight, twisted, twisted), -3)
    return rotations, torch.stack((baseline, -baseline, baseline, -baseline), -2)


def _normalised(points: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Homogeneous points (..., N, 3) of zero mean and unit spread, and the matrix that made them."""
    total = share.sum(-1).clamp(min=torch.finfo(share.dtype).tiny)
    mean = (share[..., None] * points).sum(-2) / total[..., None]
    centred = points - mean[..., None, :]
    variance = (share[..., None] * centred.square()).sum((-1, -2)) / total / 2
    scale = torch.where(variance > 0, variance, 1.0).rsqrt()
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    x, y = (-scale[..., None] * mean).unbind(-1)
    rows = ((scale, zero, x), (zero, scale, y), (zero, zero, one))
    matrix = torch.stack([torch.stack(row, -1) for row in rows], -2)
    spread = scale[..., None, None] * centred
    return torch.cat((spread, torch.ones_like(spread[..., :1])), -1), matrix


def _lines(points: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The components of M (u, v, 1)."""
    u, v = points.unbind(-1)
    a, b, c = (
        torch.addcmul(torch.addcmul(matrix[..., row, 2], matrix[..., row, 0], u), matrix[..., row, 1], v)
        for row in range(3)
    )
    return a, b, c

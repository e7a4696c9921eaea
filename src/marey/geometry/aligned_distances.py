"""Distances that an alignment leaves, for large batches: what Procrustes-aligned errors are made of."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from marey.geometry.alignment import (
    BLOCK,
    TURNING,
    Transform,
    align,
    better,
    check_shapes,
    check_transform,
    needs_derivative,
)
from marey.geometry.closest_rotation import quick_rotation
from marey.geometry.components import Columns, Vector, dot, opposite, scaled

FEW = 16
"""Fewer sets are not worth a second way."""


def aligned_distances(
    source: Tensor, target: Tensor, *, transform: Transform = "similarity", reflection: bool = False
) -> Tensor:
    """Distances (..., N) that are left between points when `align` has brought the source onto the target.

    The same as the distances of `align(...).apply(source)` to the target, with less rounding where the points are far
    from the origin, and faster: sets in which every point is known and the rotation well determined go through a
    formula without branches (`marey.geometry.closest_rotation`), the others through `align`, and so does everything of
    which a derivative may be asked.

    Args:
        source: (..., N, 3); NaN = missing.
        target: (..., N, 3); NaN = missing. The batch dimensions of the two broadcast.
        transform: as in `align`.
        reflection: as in `align`.

    Returns:
        Distances, NaN where either point is missing, infinite where one is. Once differentiable.

    Raises:
        ShapeError, InputError: as `align`.
    """
    check_transform(transform)
    check_shapes(source, target, None)
    batch = np.broadcast_shapes(source.shape[:-2], target.shape[:-2])
    few = torch.compiler.is_compiling() or math.prod(batch) < FEW
    if few or transform not in TURNING or needs_derivative(source, target):
        return _by_align(source, target, transform, reflection)
    dtype = torch.promote_types(source.dtype, target.dtype)
    x, y = (value.expand(*batch, -1, 3).reshape(-1, *value.shape[-2:]).to(dtype) for value in (source, target))
    blocks = zip(torch.split(x, BLOCK), torch.split(y, BLOCK), strict=True)
    parts = [_by_formula(*sets, transform, reflection) for sets in blocks]
    found, rest = torch.cat([part[0] for part in parts], -1).T, ~torch.cat([part[1] for part in parts])
    if rest.any():
        found[rest] = _by_align(x[rest], y[rest], transform, reflection)
    return found.reshape(*batch, -1)


def _by_align(source: Tensor, target: Tensor, transform: Transform, reflection: bool) -> Tensor:
    unknown = (source.isnan() | target.isnan()).any(-1)
    known = (source.isfinite() & target.isfinite()).all(-1)
    if transform in TURNING:  # near the origin there is less to round
        middle, aim = (value.detach().nanmean(-2, keepdim=True).nan_to_num(0, 0, 0) for value in (source, target))
        source, target = source - middle, target - aim
    alignment = align(source, target, transform=transform, reflection=reflection)
    x, y = (torch.where(known[..., None], value, 0) for value in (source, target))  # no derivative by what is missing
    distances: Tensor = torch.linalg.vector_norm(alignment.apply(x) - y, dim=-1)
    return torch.where(known, distances, torch.where(unknown, torch.nan, torch.inf))


def _by_formula(source: Tensor, target: Tensor, transform: Transform, reflection: bool) -> tuple[Tensor, Tensor]:
    """The distances (N, B) of a block (B, N, 3), and in which sets (B) to believe them; missing points make NaN."""
    x, y = (value.permute(2, 1, 0).contiguous() for value in (source, target))  # sums run along contiguous memory
    middle = x.mean(1)
    x, y = x - middle[:, None], y - y.mean(1, keepdim=True)
    (x0, x1, x2), (y0, y1, y2) = x, y
    first, second, third = ((y * axis).sum(1) for axis in x)
    correlation = (first[0], first[1], first[2]), (second[0], second[1], second[2]), (third[0], third[1], third[2])
    rotation, trusted = _rotation(correlation, reflection)
    extent = (x * x).sum((0, 1))
    rounding = (8 * torch.finfo(extent.dtype).eps) ** 2 * x.shape[1] * (middle * middle).sum(0)
    if transform == "similarity":
        matched = [dot(ours, theirs) for ours, theirs in zip(rotation, correlation, strict=True)]
        rotation = _times(rotation, (matched[0] + matched[1] + matched[2]) / extent)
    if transform == "symmetric":
        rotation = _times(rotation, ((y * y).sum((0, 1)) / extent).sqrt())
    left = _left(rotation, (x0, x1, x2), (y0, y1, y2))
    return dot(left, left).sqrt(), trusted & (extent > rounding)


def _rotation(correlation: Columns, reflection: bool) -> tuple[Columns, Tensor]:
    rotation, trusted = quick_rotation(correlation)
    if not reflection:
        return rotation, trusted
    a, b, c = (opposite(column) for column in correlation)
    mirrored, both = quick_rotation((a, b, c))
    return better(rotation, mirrored, correlation)[0], trusted & both


def _times(matrix: Columns, factor: Tensor) -> Columns:
    return scaled(matrix[0], factor), scaled(matrix[1], factor), scaled(matrix[2], factor)


def _left(linear: Columns, x: Vector, y: Vector) -> Vector:
    """What a linear map of x leaves of y."""
    for column, entry in zip(linear, x, strict=True):
        y = (
            torch.addcmul(y[0], column[0], entry, value=-1),
            torch.addcmul(y[1], column[1], entry, value=-1),
            torch.addcmul(y[2], column[2], entry, value=-1),
        )
    return y

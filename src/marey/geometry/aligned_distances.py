"""Distances that an alignment leaves, for large batches: what Procrustes-aligned errors are made of."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from marey.geometry.alignment import BLOCK, TURNING, Transform, align, check_shapes, check_transform, may_use_formula
from marey.geometry.alignment_formula import fit_block
from marey.geometry.components import Columns, Vector, dot


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
    if not may_use_formula(source, target, transform, math.prod(batch)):
        return _by_align(source, target, transform, reflection)
    dtype = torch.promote_types(source.dtype, target.dtype)
    x, y = (value.expand(*batch, -1, 3).reshape(-1, *value.shape[-2:]).to(dtype) for value in (source, target))
    found = x.new_empty(x.shape[:-1])
    trusted = torch.empty(len(x), dtype=torch.bool, device=x.device)
    for sets in zip(*(torch.split(value, BLOCK) for value in (found, trusted, x, y)), strict=True):
        _by_formula(*sets, transform=transform, reflection=reflection)
    rest = ~trusted
    if rest.any():
        found[rest] = _by_align(x[rest], y[rest], transform, reflection)
    return found.reshape(*batch, -1)


def _by_align(source: Tensor, target: Tensor, transform: Transform, reflection: bool) -> Tensor:
    unknown = (source.isnan() | target.isnan()).any(-1)
    known = (source.isfinite() & target.isfinite()).all(-1)
    if transform in TURNING:  # near the origin there is less to round
        middle, aim = (value.detach().nanmean(-2, keepdim=True).nan_to_num(0, 0, 0) for value in (source, target))
        source, target = source - middle, target - aim
    weights = known.to(source.dtype)  # with weights there is no second try by the formula
    alignment = align(source, target, transform=transform, weights=weights, reflection=reflection)
    x, y = (torch.where(known[..., None], value, 0) for value in (source, target))  # no derivative by what is missing
    distances: Tensor = torch.linalg.vector_norm(alignment.apply(x) - y, dim=-1)
    return torch.where(known, distances, torch.where(unknown, torch.nan, torch.inf))


def _by_formula(
    distances: Tensor, trusted: Tensor, source: Tensor, target: Tensor, *, transform: Transform, reflection: bool
) -> None:
    """Fill in the distances (B, N) of a block (B, N, 3), and in which sets (B) to believe them."""
    fit = fit_block(source, target, transform=transform, reflection=reflection)
    left = _left(fit.linear(), fit.source, fit.target)
    distances.copy_(dot(left, left).sqrt().T)
    trusted.copy_(fit.trusted)


def _left(linear: Columns, x: Vector, y: Vector) -> Vector:
    """What a linear map of x leaves of y."""
    for column, entry in zip(linear, x, strict=True):
        y = (
            torch.addcmul(y[0], column[0], entry, value=-1),
            torch.addcmul(y[1], column[1], entry, value=-1),
            torch.addcmul(y[2], column[2], entry, value=-1),
        )
    return y

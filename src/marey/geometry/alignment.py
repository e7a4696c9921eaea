"""Bring one set of points onto another: rigid, similarity, scale only or translation only.

Closed forms (Horn 1987; Umeyama 1991) over any batch, weighted, with missing points, and without a reflection unless
one is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.alignment_formula import better, fit_block
from marey.geometry.components import Columns, Vector, combined, dot, opposite
from marey.geometry.small import rotation_of_columns

Transform = Literal["rigid", "similarity", "symmetric", "scale", "translation"]
FEW = 16
"""Fewer sets are not worth a formula that cannot do all of them."""
TURNING: tuple[Transform, ...] = ("rigid", "similarity", "symmetric")
"""Those with a rotation."""

BLOCK = 4096
"""Sets handled at once without compilation: the intermediates of some twenty points each then stay in the cache."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The map `x -> scale rotation x + translation`, one for each element of the batch."""

    rotation: Tensor
    """(..., 3, 3)"""
    translation: Tensor
    """(..., 3)"""
    scale: Tensor
    """(...)"""
    degenerate: Tensor
    """(...) boolean: the points do not determine the map (too few, on a line, or without extent). It is then one of the
    best ones; NaN where there was no point at all."""

    def apply(self, points: Tensor) -> Tensor:
        """Move points (..., N, 3)."""
        linear = self.scale[..., None, None] * self.rotation
        return points @ linear.transpose(-1, -2) + self.translation[..., None, :]

    def apply_to_covariance(self, covariance: Tensor) -> Tensor:
        """Carry covariances (..., N, 3, 3) of points along."""
        linear = (self.scale[..., None, None] * self.rotation)[..., None, :, :]
        return linear @ covariance @ linear.transpose(-1, -2)

    def inverse(self) -> Alignment:
        """The map back."""
        rotation, scale = self.rotation.transpose(-1, -2), self.scale.reciprocal()
        moved = (rotation @ self.translation[..., None])[..., 0]
        return Alignment(
            rotation=rotation, translation=-scale[..., None] * moved, scale=scale, degenerate=self.degenerate
        )


def align(
    source: Tensor,
    target: Tensor,
    *,
    transform: Transform = "rigid",
    weights: Tensor | None = None,
    reflection: bool = False,
) -> Alignment:
    """Find the map of `source` onto `target` with the least weighted sum of squared distances.

    Differentiable once in points and weights.

    Args:
        source: (..., N, 3); NaN = missing.
        target: (..., N, 3); NaN = missing. The batch dimensions of the two broadcast.
        transform: `rigid` rotates and translates; `similarity` scales too; `scale` scales about the origin and does
            nothing else; `translation` moves the centroid. `symmetric` is `similarity` but for the scale, the ratio of
            the root mean squares of the distances to the centroids (Horn 1987, section 2.E): not the least squares, but
            the way back is the inverse.
        weights: (..., N), not negative.
        reflection: whether rotations may be improper where that fits better.

    Raises:
        ShapeError: the sets do not have the same number of points, or the weights another.
        InputError: there is no such transform.
    """
    check_transform(transform)
    check_shapes(source, target, weights)
    leading = [source.shape[:-2], target.shape[:-2], *([] if weights is None else [weights.shape[:-1]])]
    batch = np.broadcast_shapes(*leading)
    if weights is None and may_use_formula(source, target, transform, math.prod(batch)):
        return _align_many(source, target, transform, reflection)
    if torch.compiler.is_compiling() or math.prod(batch) <= BLOCK:
        return _align(source, target, weights, transform, reflection)
    sets = [torch.split(value.expand(*batch, -1, 3).flatten(0, -3), BLOCK) for value in (source, target)]
    shares: Sequence[Tensor | None] = [None] * len(sets[0])
    if weights is not None:
        shares = torch.split(weights.expand(*batch, -1).flatten(0, -2), BLOCK)
    parts = [_align(x, y, w, transform, reflection) for x, y, w in zip(*sets, shares, strict=True)]
    return _shaped(_joined(parts), batch)


def may_use_formula(source: Tensor, target: Tensor, transform: Transform, count: int) -> bool:
    """Whether the formula for large batches is worth its while, and no derivative or graph is asked for."""
    derivative = torch.is_grad_enabled() and (source.requires_grad or target.requires_grad)
    return count >= FEW and transform in TURNING and not derivative and not torch.compiler.is_compiling()


def check_transform(transform: str) -> None:
    """Raise an InputError unless there is such a transform."""
    if transform not in get_args(Transform):
        raise InputError(f"transform: expected one of {', '.join(get_args(Transform))}, got '{transform}'")


def _align_many(source: Tensor, target: Tensor, transform: Transform, reflection: bool) -> Alignment:
    """By the formula where it may be trusted, else as a few are aligned."""
    batch = np.broadcast_shapes(source.shape[:-2], target.shape[:-2])
    dtype = torch.promote_types(source.dtype, target.dtype)
    x, y = (value.expand(*batch, -1, 3).reshape(-1, *value.shape[-2:]).to(dtype) for value in (source, target))
    blocks = zip(torch.split(x, BLOCK), torch.split(y, BLOCK), strict=True)
    parts = [_by_formula(*sets, transform, reflection) for sets in blocks]
    found = _joined([part[0] for part in parts])
    rest = ~torch.cat([part[1] for part in parts])
    if rest.any():
        blocks = zip(torch.split(x[rest], BLOCK), torch.split(y[rest], BLOCK), strict=True)
        others = _joined([_align(*sets, None, transform, reflection) for sets in blocks])
        for field in fields(Alignment):
            getattr(found, field.name)[rest] = getattr(others, field.name)
    return _shaped(found, batch)


def _by_formula(source: Tensor, target: Tensor, transform: Transform, reflection: bool) -> tuple[Alignment, Tensor]:
    """The maps of a block (B, N, 3), and which of them (B) to believe."""
    fit = fit_block(source, target, transform=transform, reflection=reflection)
    turned = combined(fit.linear(), fit.middle)
    found = Alignment(
        rotation=torch.stack([torch.stack(column, -1) for column in fit.rotation], -1),
        translation=torch.stack([there - here for there, here in zip(fit.aim, turned, strict=True)], -1),
        scale=torch.ones_like(fit.aim[0]) if fit.scale is None else fit.scale,
        degenerate=torch.zeros_like(fit.trusted),
    )
    return found, fit.trusted


def _joined(parts: Sequence[Alignment]) -> Alignment:
    return Alignment(
        **{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Alignment)}
    )


def _shaped(alignment: Alignment, batch: tuple[int, ...]) -> Alignment:
    values = {field.name: getattr(alignment, field.name) for field in fields(Alignment)}
    return Alignment(**{name: value.reshape(*batch, *value.shape[1:]) for name, value in values.items()})


def _align(source: Tensor, target: Tensor, weights: Tensor | None, transform: Transform, reflection: bool) -> Alignment:
    x, y, weights = _cleaned(source, target, weights)
    total = weights.sum(0)
    empty = total <= 0
    share = weights / torch.where(empty, 1.0, total)
    identity = torch.eye(3, dtype=x.dtype, device=x.device).expand(*total.shape, 3, 3)
    one = torch.ones_like(total)
    if transform == "scale":
        extent, flat = _extent(x, x, share)
        scale = torch.where(flat, one, (share * (x * y).sum(0)).sum(0) / extent)
        return _masked(identity, torch.zeros_like(x[:, 0]), scale, flat, empty)
    middle, aim = (share * x).sum(1), (share * y).sum(1)
    if transform == "translation":
        return _masked(identity, aim - middle, one, empty, empty)
    centred, weighted = x - middle[:, None], share * (y - aim[:, None])
    first, second, third = (_components((weighted * centred[axis]).sum(1)) for axis in range(3))
    (a, b, c), loose = _best_rotation((first, second, third), reflection)
    extent, flat = _extent(centred, x, share)
    scale = one
    if transform == "similarity":
        scale = torch.where(flat, one, (dot(a, first) + dot(b, second) + dot(c, third)) / extent)
    if transform == "symmetric":
        spread = (share * (y - aim[:, None]).square().sum(0)).sum(0)
        scale = torch.where(flat, one, (spread / extent).sqrt())
    turned = torch.stack(combined((a, b, c), _components(middle)))
    rotation = torch.stack([torch.stack(column, -1) for column in (a, b, c)], -1)
    return _masked(rotation, aim - scale * turned, scale, loose | flat, empty)


def check_shapes(source: Tensor, target: Tensor, weights: Tensor | None) -> None:
    """Raise a ShapeError unless the sets are (..., N, 3) twice and the weights (..., N)."""
    if source.shape[-1:] != (3,) or source.ndim < 2 or source.shape[-2:] != target.shape[-2:]:
        raise ShapeError(
            f"source and target: expected (..., N, 3) twice, got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    if weights is not None and weights.shape[-1:] != source.shape[-2:-1]:
        raise ShapeError(f"weights: expected (..., {source.shape[-2]}), got {tuple(weights.shape)}")


def _cleaned(source: Tensor, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Points as (3, N, ...) and weights as (N, ...): zeros with weight zero where either set misses a point.

    With the batch last, sums over points and coordinates run along contiguous memory.
    """
    dims = max(source.ndim, target.ndim, 0 if weights is None else weights.ndim + 1)
    order = (dims - 1, dims - 2, *range(dims - 2))
    x, y = (_filled_up(value, dims).permute(order).contiguous() for value in (source, target))
    seen = (x + y).sum(0).isfinite()  # a sum is finite where its terms are
    given = seen.to(x.dtype) if weights is None else _filled_up(weights, dims - 1).movedim(-1, 0)
    given = torch.where(seen & (given > 0), given, 0.0)
    return torch.where(given > 0, x, 0.0), torch.where(given > 0, y, 0.0), given


def _filled_up(value: Tensor, dims: int) -> Tensor:
    """With as many dimensions as the widest argument has."""
    return value.reshape(*(1,) * (dims - value.ndim), *value.shape)


def _components(vectors: Tensor) -> Vector:
    x, y, z = vectors.unbind(0)
    return x, y, z


def _best_rotation(correlation: Columns, reflection: bool) -> tuple[Columns, Tensor]:
    """The closest rotation, or if asked for the closest orthogonal matrix, and whether it is undetermined."""
    loose = torch.finfo(correlation[0][0].dtype).eps ** 0.5
    rotation, determined = rotation_of_columns(correlation)
    if reflection:
        a, b, c = (opposite(column) for column in correlation)
        mirrored, mirrored_determined = rotation_of_columns((a, b, c))
        rotation, improper = better(rotation, mirrored, correlation)
        determined = torch.where(improper, mirrored_determined, determined)
    return rotation, ~(determined > loose)


def _extent(points: Tensor, source: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The mean squared extent (...) of points (3, N, ...), and whether it is only rounding; then it reads 1."""
    extent = (share * points.square().sum(0)).sum(0)
    noise = (8 * torch.finfo(extent.dtype).eps) ** 2 * (share * source.square().sum(0)).sum(0)
    flat = extent <= noise
    return torch.where(flat, 1.0, extent), flat


def _masked(rotation: Tensor, translation: Tensor, scale: Tensor, degenerate: Tensor, empty: Tensor) -> Alignment:
    """NaN where there was no point; the translation comes as (3, ...)."""
    return Alignment(
        rotation=torch.where(empty[..., None, None], torch.nan, rotation),
        translation=torch.where(empty, torch.nan, translation).movedim(0, -1),
        scale=torch.where(empty, torch.nan, scale),
        degenerate=degenerate | empty,
    )

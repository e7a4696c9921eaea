"""Bring one set of points onto another: rigid, similarity, scale only or translation only.

Closed forms (Horn 1987; Umeyama 1991) over any batch, weighted, with missing points, and without a reflection unless
one is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.small import rotation_from_correlation

Transform = Literal["rigid", "similarity", "scale", "translation"]


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
            nothing else; `translation` moves the centroid.
        weights: (..., N), not negative.
        reflection: whether rotations may be improper where that fits better.

    Raises:
        ShapeError: the sets do not have the same number of points, or the weights another.
        InputError: there is no such transform.
    """
    if transform not in get_args(Transform):
        raise InputError(f"transform: expected one of {', '.join(get_args(Transform))}, got '{transform}'")
    source, target, weights = _cleaned(source, target, weights)
    total = weights.sum(-1)
    empty = total <= 0
    share = (weights / torch.where(empty, 1.0, total)[..., None])[..., None]
    if transform == "scale":
        extent, flat = _extent(source, source, share)
        scale = torch.where(flat, 1.0, (share * source * target).sum((-1, -2)) / extent)
        return _masked(_identity(scale), torch.zeros_like(source[..., 0, :]), scale, flat, empty)
    middle, aim = (share * source).sum(-2), (share * target).sum(-2)
    if transform == "translation":
        return _masked(_identity(total), aim - middle, torch.ones_like(total), empty, empty)
    centred = source - middle[..., None, :]
    correlation = (share * (target - aim[..., None, :])).transpose(-1, -2) @ centred
    rotation, loose = _best_rotation(correlation, reflection)
    extent, flat = _extent(centred, source, share)
    scale = torch.ones_like(total)
    if transform == "similarity":
        scale = torch.where(flat, 1.0, (rotation * correlation).sum((-1, -2)) / extent)
    translation = aim - scale[..., None] * (rotation @ middle[..., None])[..., 0]
    return _masked(rotation, translation, scale, loose | flat, empty)


def _cleaned(source: Tensor, target: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros with weight zero where a point is missing in either set."""
    if source.shape[-1:] != (3,) or source.ndim < 2 or source.shape[-2:] != target.shape[-2:]:
        raise ShapeError(
            f"source and target: expected (..., N, 3) twice, got {tuple(source.shape)} and {tuple(target.shape)}"
        )
    if weights is not None and weights.shape[-1:] != source.shape[-2:-1]:
        raise ShapeError(f"weights: expected (..., {source.shape[-2]}), got {tuple(weights.shape)}")
    # a sum is finite where its terms are
    seen = (source + target).sum(-1).isfinite()
    given = seen.to(source.dtype) if weights is None else torch.where(seen & (weights > 0), weights, 0.0)
    keep = (given > 0)[..., None]
    return torch.where(keep, source, 0.0), torch.where(keep, target, 0.0), given


def _best_rotation(correlation: Tensor, reflection: bool) -> tuple[Tensor, Tensor]:
    """The closest rotation, or if asked for the closest orthogonal matrix, and whether it is undetermined."""
    loose = torch.finfo(correlation.dtype).eps ** 0.5
    rotation, determined = rotation_from_correlation(correlation)
    if not reflection:
        return rotation, ~(determined > loose)
    mirrored, mirrored_determined = rotation_from_correlation(-correlation)
    improper = ((-mirrored - rotation) * correlation).sum((-1, -2)) > 0
    determined = torch.where(improper, mirrored_determined, determined)
    return torch.where(improper[..., None, None], -mirrored, rotation), ~(determined > loose)


def _extent(points: Tensor, source: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """The mean squared extent of the points, and whether it is but the rounding of the source; then it reads 1."""
    extent = (share * points.square()).sum((-1, -2))
    noise = (8 * torch.finfo(extent.dtype).eps) ** 2 * (share * source.square()).sum((-1, -2))
    flat = extent <= noise
    return torch.where(flat, 1.0, extent), flat


def _identity(like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device).expand(*like.shape, 3, 3)


def _masked(rotation: Tensor, translation: Tensor, scale: Tensor, degenerate: Tensor, empty: Tensor) -> Alignment:
    """NaN where there was no point."""
    return Alignment(
        rotation=torch.where(empty[..., None, None], torch.nan, rotation),
        translation=torch.where(empty[..., None], torch.nan, translation),
        scale=torch.where(empty, torch.nan, scale),
        degenerate=degenerate | empty,
    )

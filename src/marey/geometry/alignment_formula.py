"""Alignment of blocks of point sets by a formula without branches, where every point is known.

What `align` and `aligned_distances` do for large batches; it says for which sets to believe it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.geometry.closest_rotation import quick_rotation
from marey.geometry.components import Columns, Vector, dot, opposite, scaled, select


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A block of B sets of N points, batch last, and the map of the source onto the target."""

    source: Vector
    """(N, B) each, about the centroid."""
    target: Vector
    """(N, B) each, about the centroid."""
    middle: Vector
    """(B) each, the centroid of the source."""
    aim: Vector
    """(B) each, the centroid of the target."""
    rotation: Columns
    scale: Tensor | None
    """(B); None: 1."""
    trusted: Tensor
    """(B) boolean. Sets with missing points never are."""

    def linear(self) -> Columns:
        """The rotation times the scale."""
        if self.scale is None:
            return self.rotation
        a, b, c = (scaled(column, self.scale) for column in self.rotation)
        return a, b, c


def fit_block(source: Tensor, target: Tensor, *, transform: str, reflection: bool) -> Fit:
    """Fit `rigid`, `similarity` or `symmetric` maps to sets (B, N, 3). No derivative passes."""
    # sums run along contiguous memory; what is turned round was copied, in order, into the cache: a third off the time
    x, y = (value.clone().permute(2, 1, 0).contiguous() for value in (source, target))
    middle, aim = x.mean(1), y.mean(1)
    x, y = x - middle[:, None], y - aim[:, None]
    first, second, third = (_vector((y * axis).sum(1)) for axis in x)
    correlation = first, second, third
    rotation, trusted = _rotation(correlation, reflection)
    extent = (x * x).sum((0, 1))
    rounding = (8 * torch.finfo(extent.dtype).eps) ** 2 * x.shape[1] * (middle * middle).sum(0)
    scale = None
    if transform == "similarity":
        matched = [dot(ours, theirs) for ours, theirs in zip(rotation, correlation, strict=True)]
        scale = (matched[0] + matched[1] + matched[2]) / extent
    if transform == "symmetric":
        scale = ((y * y).sum((0, 1)) / extent).sqrt()
    return Fit(
        source=_vector(x),
        target=_vector(y),
        middle=_vector(middle),
        aim=_vector(aim),
        rotation=rotation,
        scale=scale,
        trusted=trusted & (extent > rounding),
    )


def better(rotation: Columns, mirrored: Columns, correlation: Columns) -> tuple[Columns, Tensor]:
    """The rotation or the opposite of that of the opposite matrix, whichever fits better, and whether it is this."""
    pairs = zip(rotation, mirrored, correlation, strict=True)
    improper = torch.stack([-dot(ours, theirs) - dot(plain, theirs) for plain, ours, theirs in pairs]).sum(0) > 0
    a, b, c = (select(improper, opposite(ours), plain) for plain, ours in zip(rotation, mirrored, strict=True))
    return (a, b, c), improper


def _rotation(correlation: Columns, reflection: bool) -> tuple[Columns, Tensor]:
    rotation, trusted = quick_rotation(correlation)
    if not reflection:
        return rotation, trusted
    a, b, c = (opposite(column) for column in correlation)
    mirrored, both = quick_rotation((a, b, c))
    return better(rotation, mirrored, correlation)[0], trusted & both


def _vector(components: Tensor) -> Vector:
    x, y, z = components
    return x, y, z

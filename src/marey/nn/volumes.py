"""Volumes filled from several views: a grid in space, features of the images sampled at it, views brought together.

The way of Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019, section 3.3). Features lie channels-last,
so that a tap of the bilinear sampling is one short run of memory, and voxels go by in blocks that stay in the cache:
no view's whole volume is ever held.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from marey.core.errors import InputError, ShapeError

Aggregation = Literal["sum", "mean", "max", "softmax", "confidence"]
"""How views become one: their sum, their mean over the views that see the voxel, the largest, weighted by the softmax
of the values themselves, or weighted by given confidences."""

BLOCK = 4096
"""Voxels at once: with four views of 32 channels 2 MB."""


class Places(NamedTuple):
    """Where voxels lie in maps."""

    pixels: Tensor
    """(B, V, N, 2) x, y in pixels of the map, centres at integers."""
    in_front: Tensor
    """(B, V, N) whether the voxel lies in front of the camera."""


def cuboid_grid(center: Tensor, *, side: float, size: int) -> Tensor:
    """Place the voxels of cubes, both faces included.

    Args:
        center: (..., 3).
        side: of the cube, in the units of the centre.
        size: voxels along a side, at least 2.

    Returns:
        (..., size, size, size, 3): entry [i, j, k] has the i-th x, the j-th y and the k-th z.
    """
    if size < 2:
        raise InputError(f"size: expected at least 2 voxels along a side, got {size}")
    steps = torch.linspace(-side / 2, side / 2, size, dtype=center.dtype, device=center.device)
    axes = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij"), dim=-1)
    return center[..., None, None, None, :] + axes


def rotate_grid(grid: Tensor, rotation: Tensor, center: Tensor) -> Tensor:
    """Turn grids (..., X, Y, Z, 3) about their centres (..., 3) by rotations (..., 3, 3)."""
    middle = center[..., None, None, None, :]
    flat = (grid - middle).flatten(-4, -2) @ rotation.transpose(-1, -2)
    return flat.reshape(grid.shape) + middle


def project_voxels(points: Tensor, projections: Tensor) -> Places:
    """Project points (B, N, 3) by matrices (B, V, 3, 4) that end in pixels of the maps.

    What lies behind a camera is not in front; its pixels are finite and mean nothing.
    """
    homogeneous = torch.einsum("bvij,bnj->bvni", projections[..., :3], points) + projections[..., None, :, 3]
    depth = homogeneous[..., 2]
    pixels = homogeneous[..., :2] / torch.where(depth == 0, 1.0, depth)[..., None]
    return Places(pixels, depth > 0)


def unproject(
    features: Tensor,
    projections: Tensor,
    grid: Tensor,
    *,
    aggregation: Aggregation = "softmax",
    confidences: Tensor | None = None,
    map_scale: Tensor | None = None,
    skip_unseen: bool = True,
) -> Tensor:
    """Fill volumes with what the views see at their voxels.

    Bilinear, zero outside a map and behind a camera. Differentiable in features, confidences, projections and grid.
    Cost: linear in views, voxels and channels; memory beyond the result is that of one block.

    Args:
        features: (B, V, C, h, w).
        projections: (B, V, 3, 4) from the grid's units to pixels of the maps.
        grid: (B, X, Y, Z, 3).
        aggregation: see `Aggregation`.
        confidences: (B, V, C) for `confidence`.
        map_scale: (2,) factors on the projected x and y, for networks that were trained with another mapping.
        skip_unseen: views that do not see a voxel have no share in its `softmax` or `max`; else they take part with
            the value zero.

    Returns:
        (B, C, X, Y, Z), channels last in memory.

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: there are no confidences, or no such aggregation.
    """
    _check(features, projections, grid)
    if aggregation not in _AGGREGATIONS:
        raise InputError(f"aggregation: expected one of {', '.join(_AGGREGATIONS)}, got '{aggregation}'")
    if (aggregation == "confidence") != (confidences is not None):
        raise InputError("confidences belong to the aggregation 'confidence', and to no other")
    table = _table(features)
    points = grid.flatten(1, 3)
    blocks = []
    for start in range(0, points.shape[1], BLOCK):
        places = project_voxels(points[:, start : start + BLOCK], projections)
        if map_scale is not None:
            places = places._replace(pixels=places.pixels * map_scale)
        values, seen = _sample(table, places, features.shape)
        blocks.append(_aggregate(values, seen if skip_unseen else None, aggregation, confidences))
    return torch.cat(blocks, dim=1).reshape(*grid.shape[:4], -1).permute(0, 4, 1, 2, 3)


def _check(features: Tensor, projections: Tensor, grid: Tensor) -> None:
    if features.ndim != 5:
        raise ShapeError(f"features: expected (B, V, C, h, w), got {tuple(features.shape)}")
    batch, views = features.shape[:2]
    if projections.shape != (batch, views, 3, 4):
        raise ShapeError(f"projections: expected {(batch, views, 3, 4)}, got {tuple(projections.shape)}")
    if grid.ndim != 5 or grid.shape[0] != batch or grid.shape[-1] != 3:
        raise ShapeError(f"grid: expected ({batch}, X, Y, Z, 3), got {tuple(grid.shape)}")


def _table(features: Tensor) -> Tensor:
    """Pixels of all maps as rows (B V (h + 3) (w + 3), C), each map within a frame of zeros."""
    framed = functional.pad(features.permute(0, 1, 3, 4, 2), (0, 0, 1, 2, 1, 2))
    return framed.flatten(0, 3)


def _sample(table: Tensor, places: Places, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Values (B, V, N, C) at places, and whether the map shows them (B, V, N)."""
    batch, views, channels, height, width = shape
    x, y = places.pixels.unbind(-1)
    # comparisons are false for NaN, so that no index comes from one
    seen = (x > -1) & (x < width) & (y > -1) & (y < height) & places.in_front
    x, y = torch.where(seen, x, -1.0), torch.where(seen, y, -1.0)  # there the frame is
    left, top = x.floor(), y.floor()
    right_share, lower_share = x - left, y - top
    left_share, upper_share = 1 - right_share, 1 - lower_share
    shares = torch.stack(
        (upper_share * left_share, upper_share * right_share, lower_share * left_share, lower_share * right_share),
        dim=-1,
    )
    stride = width + 3
    maps = torch.arange(batch * views, device=table.device).view(batch, views, 1) * ((height + 3) * stride)
    corner = (top.to(torch.int64) + 1) * stride + left.to(torch.int64) + (maps + 1)
    taps = corner[..., None] + torch.tensor((0, 1, stride, stride + 1), device=table.device)
    # a weighted sum of four rows each: what an embedding bag is made for
    values = functional.embedding_bag(taps.view(-1, 4), table, per_sample_weights=shares.view(-1, 4), mode="sum")
    return values.view(batch, views, -1, channels), seen


def _aggregate(values: Tensor, seen: Tensor | None, aggregation: str, confidences: Tensor | None) -> Tensor:
    """(B, V, N, C) -> (B, N, C); a voxel that no view sees is zero."""
    if aggregation == "sum":
        return values.sum(1)
    if aggregation == "confidence":
        assert confidences is not None
        return torch.einsum("bvnc,bvc->bnc", values, confidences)
    if aggregation == "mean":
        count = values.shape[1] if seen is None else seen.sum(1).clamp_min(1)[..., None]
        return values.sum(1) / count
    hidden = None if seen is None else seen.logical_not()[..., None]
    if aggregation == "max":
        largest = (values if hidden is None else values.masked_fill(hidden, -torch.inf)).amax(1)
        return largest if hidden is None else largest.masked_fill(hidden.all(1), 0.0)
    scores = values if hidden is None else values.masked_fill(hidden, torch.finfo(values.dtype).min)
    return (values * scores.softmax(1)).sum(1)


_AGGREGATIONS = ("sum", "mean", "max", "softmax", "confidence")

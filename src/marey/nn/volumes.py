"""Volumes filled from several views: a grid in space, features of the images sampled at it, views brought together.

The way of Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019, section 3.3). Features lie channels-last,
so that a tap of the bilinear sampling is one short run of memory, and voxels go by in blocks that stay in the cache:
no view's whole volume is ever held. Where no derivative is asked for, blocks are written to the result in place and
the softmax takes powers of two: `benchmarks/learnable_triangulation.py` measures it.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from marey.core.errors import InputError, ShapeError
from marey.nn.volume_sampling import EXPORT_BLOCK, sample_maps

Aggregation = Literal["sum", "mean", "max", "softmax", "confidence"]
"""How views become one: their sum, their mean over the views that see the voxel, the largest, weighted by the softmax
of the values themselves, or weighted by given confidences."""

BLOCK = 4096
"""Voxels at once: with four views of 32 channels 2 MB."""

_PLACED = 4
"""Blocks whose voxels are projected together: that takes more operations on less memory."""
_LARGEST_POWER = 100.0
"""Of two, either way, up to which the sum over views of `2^x x` neither overflows nor vanishes."""


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
    linear, shift = projections.flatten(1, 2).split_with_sizes((3, 1), dim=-1)
    homogeneous = torch.baddbmm(shift, linear, points.transpose(1, 2)).view(*projections.shape[:2], 3, -1)
    depth = homogeneous[:, :, 2:]
    in_front = depth > 0
    pixels = homogeneous[:, :, :2] / torch.where(in_front, depth, 1.0)  # x of all points, then y: fast to work on
    return Places(pixels.transpose(-1, -2), in_front[:, :, 0])


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
    points = grid.flatten(1, 3)
    eyes = _Eyes(projections, map_scale, features.shape)
    views = _Views(aggregation, confidences, skip_unseen)
    fill = _fill_recorded if _is_recorded(features, projections, grid, confidences) else _fill
    if torch.compiler.is_exporting():
        fill = _fill_exported
    return fill(features, points, eyes, views).reshape(*grid.shape[:4], -1).permute(0, 4, 1, 2, 3)


class _Eyes(NamedTuple):
    """How places are seen."""

    projections: Tensor
    map_scale: Tensor | None
    shape: torch.Size
    """Of the features."""

    @property
    def stride(self) -> int:
        """Rows of the table from a pixel to the one below."""
        return self.shape[-1] + 3


class _Views(NamedTuple):
    """How views become one."""

    aggregation: Aggregation
    confidences: Tensor | None
    skip_unseen: bool


class _Spots(NamedTuple):
    """Where the four pixels around each voxel lie, (B, V, N) each."""

    row: Tensor
    """Of the table, that of the upper left pixel."""
    right: Tensor
    """Way to the pixels on the right, 0..1."""
    lower: Tensor
    """Way to the pixels below, 0..1."""
    seen: Tensor
    """Whether the map shows the place."""

    def block(self, start: int) -> _Spots:
        """Those of one block of voxels."""
        return _Spots(*(part[:, :, start : start + BLOCK] for part in self))


def _is_recorded(*tensors: Tensor | None) -> bool:
    """Whether operations are to be followed by others: for a derivative, or as a program."""
    derived = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
    return derived or torch.compiler.is_compiling()


def _fill_recorded(features: Tensor, points: Tensor, eyes: _Eyes, views: _Views) -> Tensor:
    """Values of voxels (B, N, C), nothing written in place."""
    table = _table(features)
    blocks = []
    for start in range(0, points.shape[1], BLOCK):
        spots = _spots(points[:, start : start + BLOCK], eyes)
        blocks.append(_aggregate(_values(table, spots, eyes.stride), spots.seen, views))
    return torch.cat(blocks, dim=1)


def _fill_exported(features: Tensor, points: Tensor, eyes: _Eyes, views: _Views) -> Tensor:
    """The same of operations that other runtimes know."""
    blocks = []
    for start in range(0, points.shape[1], EXPORT_BLOCK):
        places = project_voxels(points[:, start : start + EXPORT_BLOCK], eyes.projections)
        pixels = places.pixels if eyes.map_scale is None else places.pixels * eyes.map_scale
        values, seen = sample_maps(features, pixels, places.in_front)
        blocks.append(_aggregate(values, seen, views))
    return torch.cat(blocks, dim=1)


def _fill(features: Tensor, points: Tensor, eyes: _Eyes, views: _Views) -> Tensor:
    """The same without a derivative; the softmax by powers of two, a third of the time of exponentials."""
    table = _table(features)
    by_powers = views.aggregation == "softmax" and _is_moderate(features)
    if by_powers:
        table *= 1 / math.log(2)
    volume = _unwritten((*points.shape[:2], features.shape[2]), table)
    for start in range(0, points.shape[1], _PLACED * BLOCK):
        placed = _spots(points[:, start : start + _PLACED * BLOCK], eyes)
        for inner in range(0, placed.seen.shape[2], BLOCK):
            spots = placed.block(inner)
            values = _values(table, spots, eyes.stride)
            target = volume.narrow(1, start + inner, values.shape[2])
            if by_powers:
                _mean_by_powers(values, spots.seen if views.skip_unseen else None, target)
            else:
                target.copy_(_aggregate(values, spots.seen, views))
    return volume


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


def _spots(points: Tensor, eyes: _Eyes) -> _Spots:
    """Where points (B, N, 3) are seen."""
    batch, views, _, height, width = eyes.shape
    places = project_voxels(points, eyes.projections)
    pixels = places.pixels.transpose(-1, -2)  # (B, V, 2, N)
    if eyes.map_scale is not None:
        pixels = pixels * eyes.map_scale[:, None]
    # comparisons are false for NaN, so that no index comes from one
    within = (pixels > -1) & (pixels < torch.tensor(((width,), (height,)), device=pixels.device))
    seen = within[:, :, 0] & within[:, :, 1] & places.in_front
    pixels = torch.where(seen[:, :, None], pixels, -1.0)  # there the frame is
    corner = pixels.floor()
    right, lower = (pixels - corner).unbind(2)
    left, top = corner.to(torch.int32).unbind(2)
    maps = torch.arange(batch * views, dtype=torch.int32, device=points.device).view(batch, views, 1)
    first = maps * ((height + 3) * eyes.stride) + eyes.stride + 1
    return _Spots(torch.add(left + first, top, alpha=eyes.stride), right, lower, seen)


def _values(table: Tensor, spots: _Spots, stride: int) -> Tensor:
    """Values (B, V, N, C): a weighted sum of four rows each, what an embedding bag is made for."""
    row, right, lower, seen = spots
    rows = torch.stack((row, row + 1, row + stride, row + (stride + 1)), dim=-1)
    both = right * lower
    upper_left = 1 - right - (lower - both)
    shares = torch.stack((upper_left, right - both, lower - both, both), dim=-2).mT.contiguous()
    values = functional.embedding_bag(rows.view(-1, 4), table, per_sample_weights=shares.view(-1, 4), mode="sum")
    return values.view(*seen.shape, -1)


def _aggregate(values: Tensor, seen: Tensor, views: _Views) -> Tensor:
    """(B, V, N, C) -> (B, N, C); a voxel that no view sees is zero."""
    aggregation, confidences, skip_unseen = views
    if aggregation == "sum":
        return values.sum(1)
    if aggregation == "confidence":
        assert confidences is not None
        return torch.einsum("bvnc,bvc->bnc", values, confidences)
    if aggregation == "mean":
        return values.sum(1) / (seen.sum(1).clamp_min(1)[..., None] if skip_unseen else values.shape[1])
    hidden = seen.logical_not()[..., None] if skip_unseen else None
    if aggregation == "max":
        largest = (values if hidden is None else values.masked_fill(hidden, -torch.inf)).amax(1)
        return largest if hidden is None else largest.masked_fill(hidden.all(1), 0.0)
    scores = values if hidden is None else values.masked_fill(hidden, torch.finfo(values.dtype).min)
    return (values * scores.softmax(1)).sum(1)


def _unwritten(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory for a result: NumPy asks the system for large pages, which are there in a quarter of the time."""
    if like.device.type != "cpu" or like.dtype not in (torch.float32, torch.float64):
        return like.new_empty(shape)
    return torch.from_numpy(np.empty(shape, np.float32 if like.dtype == torch.float32 else np.float64))


def _is_moderate(features: Tensor) -> bool:
    """Whether `_mean_by_powers` holds; not if there are values that are no numbers."""
    if not features.numel():
        return False
    least, largest = features.aminmax()
    return bool(torch.maximum(-least, largest) < _LARGEST_POWER * math.log(2))


def _mean_by_powers(values: Tensor, seen: Tensor | None, out: Tensor) -> None:
    """Write the mean over views of values (B, V, N, C), given in units of ln 2, weighted by their exponentials."""
    weights = values.exp2()
    if seen is not None:
        weights *= seen.to(weights.dtype)[..., None]
    total = weights.sum(1)
    if seen is not None:
        total.clamp_min_(torch.finfo(total.dtype).tiny)
    torch.div(weights.mul_(values).sum(1).mul_(math.log(2)), total, out=out)


_AGGREGATIONS = ("sum", "mean", "max", "softmax", "confidence")

"""Pictures of what the networks make of people in several views: keypoints, heatmaps or volumes, confidences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Image
from marey.data.multiview import MultiViewSamples
from marey.methods.triangulation.model import AlgebraicOutput, VolumetricOutput
from marey.viz.figure_sketch import GUESS, HIDDEN, TRUTH, blank, draw_figure

Links = Sequence[tuple[int, int]]
Array = npt.NDArray[Any]

TILE = 192
"""Pixels along a side of a view's picture."""
MAP = 48
"""Of a heatmap's, or of a volume seen from one side."""
_GAP = 3
_GROUND = 24
_FOUND = (90, 160, 250)
"""Colour of keypoints that were found in a view."""
_NEAR = 0.05
"""Metres: corners of a cuboid that lie less far in front of a camera are not drawn."""
_EDGES = [(a, b) for a, b in combinations(range(8), 2) if (a ^ b).bit_count() == 1]
"""Of a cuboid whose corners are numbered by the bits of their coordinates."""


def multiview_preview(
    samples: MultiViewSamples, output: AlgebraicOutput | VolumetricOutput, truth: Tensor, links: Links
) -> dict[str, Image]:
    """Show some samples below each other.

    Args:
        samples: B people in V views.
        output: What the network says of them.
        truth: (B, J, 3) metres; NaN where unknown.
        links: Between joints.

    Returns:
        `keypoints`: a column for each view, truth green, estimate orange, keypoints found blue, cuboid grey.
        `heatmaps`: a row for each view, a column for each joint; or `volumes`: a column for each joint, its largest
        values along the three axes. `confidences`, if views have some: a column for each view, bars of its joints
        or channels.
    """
    found = {"keypoints": _keypoints(samples, output, truth, links)}
    if isinstance(output, AlgebraicOutput):
        found["heatmaps"] = _map_grid(output.heatmaps)
    else:
        sides = [output.volumes.amax(axis).transpose(-1, -2).flip(-2) for axis in (2, 3, 4)]
        found["volumes"] = _map_grid(torch.stack(sides, dim=1))
    if output.confidences is not None:
        found["confidences"] = _bars(output.confidences)
    return found


def _keypoints(
    samples: MultiViewSamples, output: AlgebraicOutput | VolumetricOutput, truth: Tensor, links: Links
) -> Image:
    """(B TILE, V TILE, 3) with gaps."""
    scale = TILE / samples.images.shape[-1]
    projected = [_pixels(points, samples.projections, scale) for points in (truth, output.joints)]
    found = _scaled(output.keypoints, scale) if isinstance(output, AlgebraicOutput) else None
    corners = (
        _pixels(_corners(output.grid), samples.projections, scale) if isinstance(output, VolumetricOutput) else None
    )
    pictures = samples.images.permute(0, 1, 3, 4, 2).numpy(force=True)
    height = round(TILE * pictures.shape[2] / pictures.shape[3])
    rows = []
    for sample, views in enumerate(pictures):
        row = []
        for view, picture in enumerate(views):
            tile = cv2.resize(np.ascontiguousarray(picture), (TILE, height), interpolation=cv2.INTER_AREA)
            tile = tile.astype(np.uint8)
            if corners is not None:
                draw_figure(tile, corners[sample, view], _EDGES, color=HIDDEN, shown=_shown(corners[sample, view]))
            for points, color in zip(projected, (TRUTH, GUESS), strict=True):
                draw_figure(tile, points[sample, view], links, color=color, shown=_shown(points[sample, view]))
            if found is not None:
                draw_figure(tile, found[sample, view], (), color=_FOUND, shown=_shown(found[sample, view]))
            row.append(tile)
        rows.append(row)
    return _laid_out(rows)


def _map_grid(maps: Tensor) -> Image:
    """Maps (B, R, J, h, w), each from dark to its largest value: R rows of J columns, sample below sample."""
    maps = maps.float()
    largest = maps.flatten(-2).amax(-1).clamp_min(1e-12)
    values = (255 * maps / largest[..., None, None]).clamp(0, 255).round().to(torch.uint8).numpy(force=True)
    rows = [[_coloured(joint) for joint in row] for sample in values for row in sample]
    return _laid_out(rows)


def _coloured(values: Array) -> Image:
    enlarged = cv2.resize(np.ascontiguousarray(values), (MAP, MAP), interpolation=cv2.INTER_AREA)
    colors = cv2.applyColorMap(enlarged.astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(colors[..., ::-1]).astype(np.uint8)


def _bars(confidences: Tensor) -> Image:
    """Confidences (B, V, C) as bars, the largest of a sample as high as the picture."""
    values = confidences.float().numpy(force=True)
    rows = []
    for sample in values:
        largest = max(float(np.nan_to_num(sample).max()), 1e-12)
        rows.append([_chart(np.nan_to_num(view) / largest) for view in sample])
    return _laid_out(rows)


def _chart(heights: Array) -> Image:
    chart = blank(TILE)[:MAP]
    edges = np.linspace(0, TILE, len(heights) + 1).round().astype(int).tolist()
    tops = ((1 - heights.clip(0, 1)) * MAP).round().astype(int).tolist()
    for left, right, top in zip(edges[:-1], edges[1:], tops, strict=True):
        chart[top:, left : max(right - 1, left + 1)] = GUESS
    return chart


def _laid_out(rows: Sequence[Sequence[Image]]) -> Image:
    """Pictures of one size in rows and columns with gaps."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full(
        (len(rows) * (height + _GAP) - _GAP, len(rows[0]) * (width + _GAP) - _GAP, 3), _GROUND, dtype=np.uint8
    )
    for (row, pictures), column in product(enumerate(rows), range(len(rows[0]))):
        top, left = row * (height + _GAP), column * (width + _GAP)
        sheet[top : top + height, left : left + width] = pictures[column]
    return sheet


def _corners(grid: Tensor) -> Tensor:
    """(B, 8, 3) of grids (B, S, S, S, 3)."""
    ends = grid[:, :: grid.shape[1] - 1, :: grid.shape[2] - 1, :: grid.shape[3] - 1]
    return ends.reshape(len(grid), 8, 3)


def _pixels(points: Tensor, projections: Tensor, scale: float) -> Array:
    """Points (B, N, 3) seen in views (B, V, 3, 4): (B, V, N, 2) pixels of tiles, NaN behind a camera."""
    rotated = torch.einsum("bvij,bnj->bvni", projections[..., :3], points.to(projections))
    rotated = rotated + projections[..., None, :, 3]
    depth = rotated[..., 2:]
    seen = torch.where(depth > _NEAR, rotated[..., :2] / torch.where(depth > _NEAR, depth, 1.0), torch.nan)
    return _scaled(seen, scale)


def _scaled(pixels: Tensor, scale: float) -> Array:
    found: Array = (pixels.float().numpy(force=True) + 0.5) * scale - 0.5
    return found


def _shown(points: Array) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(-1))

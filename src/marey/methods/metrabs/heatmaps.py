"""Heatmaps of keypoints and of joints, and what a place in them is in pixels and in metres.

A 2D heatmap covers the crop. A metric heatmap covers a box of known size around the person instead: its columns and
rows are those of the crop, but a person of whatever distance, and what the crop cuts off, has its place in it. Only
differences between its joints mean anything (Sarandi et al., Metric-Scale Truncation-Robust Heatmaps, FG 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.methods.metrabs.quirks import Quirks
from marey.nn.soft_argmax import covariance_2d, covariance_3d, soft_argmax_2d, soft_argmax_3d

_LEAST_VARIANCE = 1 / 12
"""Of a place in a heatmap, square cells: that of a cell."""


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """How heatmaps lie over the crop and the box of metres."""

    side: int = 256
    """Of the crop, pixels."""
    stride: int = 32
    """Pixels of the crop from cell to cell."""
    centered_stride: bool = True
    """The network looks at the middles of the cells, not at their upper left pixels; see `marey.nn.backbones`."""
    depth: int = 8
    """Bins of metric heatmaps."""
    box_size: float = 2.2
    """Metres that the crop and the bins span."""

    @property
    def cells(self) -> int:
        """Of a heatmap, along a side."""
        return (self.side - 1) // self.stride + 1

    @property
    def last(self) -> int:
        """Pixels from the first cell to the last."""
        return (self.cells - 1) * self.stride

    def shift(self, quirks: Quirks) -> int:
        """Pixel that the first cell is about."""
        return self.stride // 2 if self.centered_stride or quirks.uncentered_shift else 0


class Places(NamedTuple):
    """Means under heatmaps, and how the heatmaps spread around them."""

    positions: Tensor
    """(..., J, D): x, y or x, y, z, of heatmaps 0 at the first cell and 1 at the last; or in pixels or metres."""
    covariance: Tensor
    """(..., J, D, D) in squares of that."""


def decode_2d(logits: Tensor) -> Places:
    """Take the mean place of heatmaps, in 0..1.

    Args:
        logits: (..., J, H, W); single precision or more.
    """
    found = soft_argmax_2d(logits)
    unit = 1 / _spans(logits, (-1, -2))
    return _spread(found.positions * unit, covariance_2d(found) * unit * unit[:, None], unit)


def decode_3d(logits: Tensor, depth: int) -> Places:
    """Take the mean place of volumes, in 0..1.

    Args:
        logits: (..., D J, H, W) as a convolution gives them: all joints of the nearest bin, then of the next; single
            precision or more.
        depth: D.

    Raises:
        ShapeError: the channels are no multiple of the depth.
    """
    if logits.shape[-3] % depth:
        raise ShapeError(f"logits: expected a multiple of {depth} channels, got {logits.shape[-3]}; mind the depth")
    volumes = logits.unflatten(-3, (depth, -1)).movedim(-4, -3)  # type: ignore[no-untyped-call]
    z, y, x = torch.meshgrid(*(_grid(volumes, axis) for axis in (-3, -2, -1)), indexing="ij")
    grid = torch.stack((x, y, z), -1)
    found = soft_argmax_3d(volumes, coordinates=grid)
    return _spread(found.positions, covariance_3d(found, grid), 1 / _spans(volumes, (-1, -2, -3)))


def to_pixels(places: Places, config: HeatmapConfig, quirks: Quirks) -> Places:
    """Pixels of the crop from places in 2D heatmaps, or from the first two coordinates of places in volumes."""
    flat = Places(places.positions[..., :2], places.covariance[..., :2, :2])
    return _scaled(flat, (config.last, config.last), (config.shift(quirks),) * 2)


def to_metric(places: Places, config: HeatmapConfig, quirks: Quirks) -> Places:
    """Metres from places in volumes: right, down and away from the camera, of an origin of no meaning."""
    ratio = config.box_size / config.side
    across, shift = config.last * ratio, config.shift(quirks) * ratio
    return _scaled(places, (across, across, config.box_size), (shift, shift, 0.0))


def to_25d(places: Places, config: HeatmapConfig, quirks: Quirks) -> Places:
    """Pixels right and down and metres away, from places in volumes of the 2.5D model."""
    shift = config.shift(quirks)
    return _scaled(places, (config.last, config.last, config.box_size), (shift, shift, 0.0))


def is_reliable(keypoints: Tensor, config: HeatmapConfig, border: float) -> Tensor:
    """Whether keypoints (..., J, 2), pixels, are far enough from the border of the crop, (..., J).

    What lies out of view has its mean somewhere along the outermost cells.

    Args:
        keypoints: of the crop.
        config: of their heatmaps.
        border: pixels from the border of the crop; where the cells are not centred the bounds move with them.

    Raises:
        InputError: the border leaves nothing.
    """
    if not 0 <= 2 * border < config.side:
        raise InputError(f"border: expected from 0 to less than {config.side / 2:g} pixels, got {border:g}")
    start = border - (0.0 if config.centered_stride else config.stride / 2)
    return ((keypoints >= start) & (keypoints <= start + config.side - 2 * border)).all(-1)


def _spread(positions: Tensor, covariance: Tensor, cell: Tensor) -> Places:
    return Places(positions, covariance + torch.diag(cell.square() * _LEAST_VARIANCE))


def _spans(maps: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Cells from the first to the last along axes."""
    return maps.new_tensor([max(maps.shape[axis] - 1, 1) for axis in axes])


def _grid(maps: Tensor, axis: int) -> Tensor:
    count = maps.shape[axis]
    return torch.arange(count, dtype=maps.dtype, device=maps.device) / max(count - 1, 1)


def _scaled(places: Places, factors: tuple[float, ...], shifts: tuple[float, ...]) -> Places:
    factor, shift = (places.positions.new_tensor(values) for values in (factors, shifts))
    return Places(places.positions * factor + shift, places.covariance * factor * factor[:, None])

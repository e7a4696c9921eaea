"""Squares of pictures resampled as areas, in tensor operations alone: what `trunk_crops` does, for exported graphs.

The mean of an area is read off the sums of all that lies above and to the left: four values a pixel, however large the
area. These sums go on in straight lines beyond the edges, which is as if the picture's last pixels went on for ever.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_GREY = (124.0, 116.0, 104.0)
"""What `trunk_crops.letterbox` fills up with."""


class Pictures(NamedTuple):
    """B pictures, and what areas are read off."""

    images: Tensor
    """(B, 3, H, W) 0 to 255."""
    sums: Tensor
    """(B, 3, H + 1, W + 1) of the pixels above and to the left, double precision: whole numbers that stay exact."""
    size: Tensor
    """(2,) width and height, double precision."""

    @classmethod
    def of(cls, images: Tensor) -> Pictures:
        """Sum up pictures (B, 3, H, W)."""
        height, width = images.shape[-2:]
        sums = functional.pad(images.double().cumsum(-1).cumsum(-2), (1, 0, 1, 0))
        sides = [torch.full((), side, dtype=torch.float64, device=images.device) for side in (width, height)]
        return cls(images, sums, torch.stack(sides))


def area_crops(pictures: Pictures, squares: Tensor, side: int) -> Tensor:
    """Resample squares of whole pixels (B, N, 4), as `trunk_crops.whole_squares` gives them.

    The mean over areas where pixels are lost, linear between them elsewhere; beyond the picture its edge goes on.

    Returns:
        (B, N, 3, side, side) whole numbers, 0 to 255, single precision.
    """
    low = squares[..., :2] + 0.5
    step = (squares[..., 2:] - squares[..., :2]) / side
    edges = low[..., None] + step[..., None] * _count(side + 1, squares)
    middles = low[..., None] + step[..., None] * (_count(side, squares) + 0.5) - 0.5
    inside = torch.minimum(torch.maximum(middles, low[..., None]), squares[..., 2:, None] - 0.5)
    shrinks = (step[..., 0] > 1)[..., None, None, None]
    means = _means(pictures, edges[..., 0, :], edges[..., 1, :])
    between = _interpolated(pictures, inside[..., 0, :], inside[..., 1, :])
    return torch.where(shrinks, means, between).round().float()


def area_letterbox(pictures: Pictures, side: int) -> tuple[Tensor, Tensor]:
    """Pictures with the longer side brought to `side` pixels, at the top left of a grey square.

    `trunk_crops.letterbox` with the multiple `side`.

    Returns:
        (B, 3, side, side) whole numbers, single precision; and (2,) pixels of the picture per pixel of the square,
        across and down.
    """
    small = (pictures.size * (side / pictures.size.amax(0))).round().clamp_min(1.0)
    scale, batch = pictures.size / small, pictures.images.shape[0]
    edges = (scale[:, None] * _count(side + 1, small)).expand(batch, 1, 2, side + 1)
    middles = scale[:, None] * (_count(side, small) + 0.5) - 0.5
    middles = middles.expand(batch, 1, 2, side)
    means = _means(pictures, edges[..., 0, :], edges[..., 1, :])
    between = _interpolated(pictures, middles[..., 0, :], middles[..., 1, :])
    pixels = torch.where((scale > 1).any(0), means, between)[:, 0].round().float()
    shown = _count(side, small) < small[:, None]
    grey = pixels.new_tensor(_GREY)[:, None, None]
    return torch.where(shown[1][:, None] & shown[0], pixels, grey), scale


def _count(length: int, like: Tensor) -> Tensor:
    return torch.arange(length, dtype=like.dtype, device=like.device)


def _means(pictures: Pictures, across: Tensor, down: Tensor) -> Tensor:
    """(B, N, 3, h, w) between edges (B, N, w + 1) and (B, N, h + 1), which are counted from the pictures' own."""
    sums = _bilinear(pictures.sums, across, down, pictures.size - 1)
    area = down.diff(dim=-1)[..., None, :, None] * across.diff(dim=-1)[..., None, None, :]
    return sums.diff(dim=-1).diff(dim=-2) / area


def _interpolated(pictures: Pictures, across: Tensor, down: Tensor) -> Tensor:
    """(B, N, 3, h, w) at pixel centres (B, N, w) and (B, N, h), the nearest pixel beyond the edges."""
    last = pictures.size - 1
    near = [torch.minimum(places.clamp_min(0.0), last[axis]) for axis, places in enumerate((across, down))]
    # one more row and column, which count nothing: the cell of the last pixel needs them
    return _bilinear(functional.pad(pictures.images.float(), (0, 1, 0, 1)), near[0], near[1], last)


def _bilinear(values: Tensor, across: Tensor, down: Tensor, last: Tensor) -> Tensor:
    """Values (B, C, h', w') on a lattice (B, N, w) times (B, N, h), in straight lines beyond the first and last cell.

    Args:
        values: One more than cells, down and across.
        across: Places in the values.
        down: Likewise.
        last: (2,) number of the last cell, across and down.

    Returns:
        (B, N, C, h, w) double precision.
    """
    column, row = (
        torch.minimum(places.floor().clamp_min(0.0), last[axis]) for axis, places in enumerate((across, down))
    )
    right, below = (across - column)[..., None, None, :], (down - row)[..., None, :, None]
    width = values.shape[-1]
    first = row.long()[..., :, None] * width + column.long()[..., None, :]
    flat = values.flatten(2)

    def at(offset: int) -> Tensor:
        places = (first + offset).flatten(1)[:, None].expand(-1, flat.shape[1], -1)
        return flat.gather(2, places).reshape(*flat.shape[:2], *first.shape[1:]).transpose(1, 2).double()

    upper = at(0) * (1 - right) + at(1) * right
    lower = at(width) * (1 - right) + at(width + 1) * right
    return upper * (1 - below) + lower * below

"""Backgrounds that are no places: boxes or discs over a gradient, smooth noise, marble."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.patterns import draw_colors
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows
from marey.data.synthetic.views import Views

_PIECES = 24
_WAVES = 48
_LENGTHS = 40.0
"""Ratio of the longest to the shortest wave."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Collages(Rows):
    """Overlapping pieces over a gradient, in the unit of half the shorter side of the picture."""

    gradient: Tensor
    """(M, 4, 3) linear colours."""
    colors: Tensor
    """(M, pieces, 3) linear."""
    middle: Tensor
    """(M, pieces, 2)"""
    axes: Tensor
    """(M, pieces, 2, 2): turns an offset and measures it in the piece's own half widths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Noises(Rows):
    """Three fields of smooth noise, and two colours between which they lie."""

    rows: Tensor
    """(M, 3, 2 waves, 2): amplitude and phase of what varies down the picture."""
    frequency: Tensor
    """(M, waves, 2) radians a side, along x and y."""
    colors: Tensor
    """(M, 2, 3) linear."""
    turns: Tensor
    """(M,)"""


def draw_collages(draws: Draws, name: str) -> Collages:
    """Draw (M,) collages."""
    draws = draws.within(name)
    colors = draw_colors(draws, "colors", _PIECES + 4, muted=0.5)
    radius = 0.06 + 0.5 * draws.uniform("radius", _PIECES, 2).square()
    angle = draws.uniform("angle", _PIECES, high=math.pi) * (draws.uniform("turned", _PIECES) < 0.5)
    cosine, sine = angle.cos(), angle.sin()
    turn = torch.stack((torch.stack((cosine, sine), -1), torch.stack((-sine, cosine), -1)), -2)
    return Collages(
        gradient=colors[:, :4],
        colors=colors[:, 4:],
        middle=draws.uniform("middle", _PIECES, 2, low=-1.1, high=1.1),
        axes=turn / radius[..., None],
    ).float()


def paint_boxes(collages: Collages, views: Views) -> Tensor:
    """(M, 3, H, W) linear: overlapping boxes."""
    return _pieces(collages, views, box=True)


def paint_discs(collages: Collages, views: Views) -> Tensor:
    """(M, 3, H, W) linear: overlapping ellipses."""
    return _pieces(collages, views, box=False)


def draw_noises(draws: Draws, name: str, *, steep: float) -> Noises:
    """Draw (M,) noises whose amplitude falls with the frequency to half the power `steep`."""
    draws = draws.within(name)
    frequency = 1.5 * _LENGTHS ** draws.uniform("frequency", _WAVES)
    angle = draws.uniform("direction", _WAVES, high=2 * math.pi)
    amplitude = frequency ** (-steep / 2)
    amplitude = amplitude * (2 / amplitude.square().sum(-1, keepdim=True)).sqrt()
    phase = draws.uniform("phase", 3, _WAVES, high=2 * math.pi)
    return Noises(
        rows=torch.stack((amplitude[:, None].expand_as(phase), phase), -1),
        frequency=frequency[..., None] * torch.stack((angle.cos(), angle.sin()), -1),
        colors=draw_colors(draws, "colors", 2, muted=0.5),
        turns=draws.uniform("turns", low=1.0, high=5.0),
    ).float()


def paint_waves(noises: Noises, views: Views) -> Tensor:
    """(M, 3, H, W) linear: smooth noise of many directions and lengths."""
    return _between(noises, _fields(noises, views))


def paint_marble(noises: Noises, views: Views) -> Tensor:
    """(M, 3, H, W) linear: the veins where the sine of smooth noise turns."""
    return _between(noises, (noises.turns[:, None, None, None] * _fields(noises, views)).sin())


def _pieces(collages: Collages, views: Views, *, box: bool) -> Tensor:
    y, x = _grid(views, -1.0, 1.0)
    shape = (len(views.rays), *views.size)
    piece = torch.zeros(shape, dtype=torch.int64, device=x.device)
    light = torch.ones(shape, device=x.device)
    # an offset, turned and stretched, is a number a column and a number a row
    start = (collages.axes @ collages.middle[..., None])[..., 0, None, None]
    across, down = collages.axes[..., 0, None, None] * x - start, collages.axes[..., 1, None, None] * y
    for number in range(_PIECES):
        a, b = ((across[:, number, k] + down[:, number, k]).abs() for k in range(2))
        inside = torch.maximum(a, b) < 1 if box else torch.addcmul(a * a, b, b) < 1
        piece = torch.where(inside, number + 1, piece)
        light = torch.where(inside, 1 - 0.25 * b, light)
    first, second, third, fourth = collages.gradient[..., None, None].unbind(1)
    ramp, bowl = (0.5 + 0.5 * x).clamp(0, 1), (x * x).clamp_max(1)
    left, right = first + ramp * (second - first), third + bowl * (fourth - third)
    open_ground = left + (y * y).clamp_max(1) * (right - left)
    colors = torch.nn.functional.pad(collages.colors, (0, 0, 1, 0)).flatten(0, 1)
    owner = (_PIECES + 1) * torch.arange(len(piece), device=piece.device)[:, None, None]
    painted = colors.mT.contiguous().index_select(1, (owner + piece).flatten()).reshape(3, *shape).transpose(0, 1)
    return torch.where(piece[:, None] > 0, painted * light[:, None], open_ground)


def _fields(noises: Noises, views: Views) -> Tensor:
    """(M, 3, H, W) of about unit variance.

    cos(x + y) = cos x cos y - sin x sin y, so a sum of waves over the picture is one product of matrices.
    """
    y, x = _grid(views, 0.0, 1.0)
    amplitude, phase = noises.rows[..., None].unbind(-2)
    along_x = noises.frequency[:, :, :1] * x
    along_y = noises.frequency[:, None, :, 1:] * y.mT + phase
    down = torch.cat((along_y.cos() * amplitude, -along_y.sin() * amplitude), -2)
    across = torch.cat((along_x.cos(), along_x.sin()), -2)
    return down.mT @ across[:, None]


def _between(noises: Noises, fields: Tensor) -> Tensor:
    """Colours from fields: a blend of two, and a little of each channel's own."""
    first, second = noises.colors[..., None, None].unbind(1)
    share = (0.5 + 0.35 * fields[:, :1]).clamp(0, 1)
    own = 1 + 0.2 * fields[:, 1:2] + 0.1 * fields
    return ((first + share * (second - first)) * own).clamp_min(0.005)


def _grid(views: Views, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Rows (1, H, 1) and columns (1, 1, W), from `low` to `high` across the shorter side."""
    height, width = views.size
    step = (high - low) / max(1, min(height, width) - 1)
    y = low + step * torch.arange(height, device=views.rays.device)
    x = low + step * torch.arange(width, device=views.rays.device)
    return y[None, :, None], x[None, None, :]

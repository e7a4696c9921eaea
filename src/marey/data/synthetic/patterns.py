"""Patterns of two colours on surfaces: what clothes, walls, floors and occluders are painted with.

The families of the two splits are disjoint, so that what is scored on the benchmark has not been trained on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows

PATTERN_FAMILIES = {
    "training": ("stripes", "checks", "dots", "clouds"),
    "benchmark": ("plaid", "zigzag", "rings", "speckle"),
}
"""By split."""
_LEAST_GROUP = 8192
"""Points a pattern on average from which on patterns are painted one after the other."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Patterns(Rows):
    """Painted surfaces of any batch shape (...): one row of numbers each, for millions of pixels look them up."""

    table: Tensor
    """(..., 17) float32: family (place in all families, those of training first), base and second linear colour (3
    each), directions on the surface in which the first and second coordinate grow by 1 a period, periods a metre (3
    each), phases (2), share of the second colour, and how much the brightness wanders over some decimetres."""


def draw_patterns(
    draws: Draws,
    purpose: str,
    count: int,
    *,
    period: tuple[float, float],
    flat: bool,
    plain: float = 0.4,
    muted: float = 0.6,
) -> Patterns:
    """Draw (B, count) patterns.

    Args:
        draws: of the samples, (B,).
        purpose: what they are for.
        count: how many a sample has.
        period: Least and largest length of a period, metres.
        flat: On planes, whose points have a third coordinate of zero; else on bodies, whose y points upwards at rest.
        plain: Share of the patterns that are hardly seen, for both colours are alike.
        muted: In 0..1, how grey the colours are on the whole.
    """
    draws = draws.within(purpose)
    names = PATTERN_FAMILIES[draws.split]
    first = list(_PAINTERS).index(names[0])
    base = draw_colors(draws, "base", count, muted=muted)
    plainly = (draws.uniform("plain", count, 1) < plain).to(base.dtype)
    other = draw_colors(draws, "second", count, muted=muted)
    mix = 1 - plainly * draws.uniform("mix", count, 1, low=0.75, high=1.0)
    ratio = draws.uniform("period", count, 1)
    length = period[0] * (period[1] / period[0]) ** ratio
    frame = (_flat_frames if flat else _solid_frames)(draws, count) / length[..., None]
    family = first + draws.choice("family", (1.0,) * len(names), count)
    columns = (
        family.to(base.dtype)[..., None],
        base,
        base + mix * (other - base),
        frame.flatten(-2),
        draws.uniform("phase", count, 2),
        draws.uniform("duty", count, 1, low=0.25, high=0.75),
        draws.uniform("grain", count, 1, low=0.05, high=0.3),
    )
    return Patterns(table=torch.cat(columns, -1).to(torch.float32))


def draw_colors(draws: Draws, purpose: str, count: int, *, muted: float) -> Tensor:
    """Draw (B, count, 3) linear colours, from nearly black to nearly white, grey to saturated."""
    hue, saturation, value = draws.uniform(purpose, count, 3).unbind(-1)
    offsets = torch.tensor((0.0, 1 / 3, 2 / 3), dtype=hue.dtype, device=hue.device)
    wheel = ((((hue[..., None] + offsets) % 1) * 6 - 3).abs() - 1).clamp(0, 1)
    saturation = (saturation ** (1 + 2 * muted))[..., None]
    brightness = 0.02 + 0.83 * value.square()[..., None]
    return brightness * (1 - saturation * (1 - wheel))


def paint(points: Tensor, patterns: Patterns, which: Tensor) -> Tensor:
    """The linear colours (3, M) of points of painted surfaces.

    Args:
        points: (3, M) metres.
        patterns: (G,)
        which: (M,) int64, the pattern of each point.
    """
    if len(patterns) == 1:
        return _painted(points, patterns.table.mT)
    if len(patterns) * _LEAST_GROUP > len(which):
        return _painted(points, patterns.table.mT.index_select(1, which))
    # few patterns for many points: what is one number for all of them need not be read for each
    color = torch.empty_like(points)
    for number, column in enumerate(patterns.table[:, :, None]):
        chosen = (which == number).nonzero()[:, 0]
        if len(chosen):
            color.index_copy_(1, chosen, _painted(points.index_select(1, chosen), column))
    return color


def _painted(points: Tensor, columns: Tensor) -> Tensor:
    """(3, M) of points (3, M) and the numbers (17, M or 1) of their patterns."""
    family, base, second, along, across, phase, duty, grain = torch.split(columns, [1, 3, 3, 3, 3, 2, 1, 1])
    u, v = _along(points, along) + phase[0], _along(points, across) + phase[1]
    share = torch.zeros_like(u)
    for number, painter in enumerate(_PAINTERS.values()):
        chosen = family[0] == number
        if bool(chosen.any()):
            share = torch.where(chosen, painter(u, v, duty[0]), share)
    color: Tensor = (base + share * (second - base)) * (1 + grain[0] * _wandering(points, phase))
    return color


def _along(points: Tensor, direction: Tensor) -> Tensor:
    x, y, z = points
    along: Tensor = x * direction[0] + y * direction[1] + z * direction[2]
    return along


def _solid_frames(draws: Draws, count: int) -> Tensor:
    """Two perpendicular unit vectors (B, count, 2, 3); half of them level and upright, as cloth mostly is."""
    angle = draws.uniform("turn", count, high=2 * math.pi)
    upright = draws.uniform("upright", count) < 0.5
    rise = torch.where(upright, 0.0, draws.uniform("rise", count, low=-1.0, high=1.0))
    level = (1 - rise.square()).sqrt()
    along = torch.stack((level * angle.cos(), rise, level * angle.sin()), -1)
    side = torch.stack((-angle.sin(), torch.zeros_like(angle), angle.cos()), -1)
    across = torch.linalg.cross(along, side)
    swap = (draws.uniform("swap", count) < 0.5)[..., None]
    return torch.stack((torch.where(swap, across, along), torch.where(swap, along, across)), -2)


def _flat_frames(draws: Draws, count: int) -> Tensor:
    """Two perpendicular unit vectors (B, count, 2, 3) of the plane z = 0; half of them along its axes."""
    aligned = draws.uniform("upright", count) < 0.5
    angle = torch.where(aligned, 0.0, draws.uniform("turn", count, high=2 * math.pi))
    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack((torch.stack((cosine, sine, zero), -1), torch.stack((-sine, cosine, zero), -1)), -2)


def _wandering(points: Tensor, phase: Tensor) -> Tensor:
    """A smooth number in about -1..1 that changes over some decimetres."""
    x, y, z = points
    a, b = 2 * math.pi * phase[0], 2 * math.pi * phase[1]
    first = (7.3 * x + 11.9 * y - 5.1 * z + a).sin() + (-9.7 * x + 4.3 * y + 12.1 * z + b).sin()
    wandering: Tensor = 0.3 * first + 0.25 * (23.0 * x - 17.0 * y + 19.0 * z + b - a).sin()
    return wandering


def _stripes(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    return (u - u.floor() < duty).to(u.dtype)


def _checks(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    return (u.floor() + v.floor()).remainder(2)


def _dots(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    x, y = u - u.floor() - 0.5, v - v.floor() - 0.5
    return (x * x + y * y < 0.3 * duty).to(u.dtype)


def _clouds(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    wave = (3.1 * u + 2.0 * (1.7 * v).sin()).sin() + (2.3 * v + 1.3 * (2.9 * u).sin()).sin()
    return (0.5 + 0.4 * wave).clamp(0, 1)


def _plaid(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    bands = (u - u.floor() < duty).to(u.dtype) + (v - v.floor() < duty).to(u.dtype)
    line = ((3 * u - (3 * u).floor()) < 0.1).to(u.dtype)
    return (0.4 * bands + 0.2 * line).clamp(0, 1)


def _zigzag(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    tooth = (u - u.floor() - 0.5).abs()
    place = v + 1.5 * tooth
    return (place - place.floor() < duty).to(u.dtype)


def _rings(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    x, y = u - u.floor() - 0.5, v - v.floor() - 0.5
    radius = 3 * (x * x + y * y).sqrt()
    return (radius - radius.floor() < duty).to(u.dtype)


def _speckle(u: Tensor, v: Tensor, duty: Tensor) -> Tensor:
    wave = (9.1 * u + 5.3 * v).sin() * (7.7 * v - 4.9 * u).sin() + 0.7 * (13.0 * u).sin() * (11.0 * v + 1.0).sin()
    return (wave > 1.4 * (0.5 - duty)).to(u.dtype)


_PAINTERS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "clouds": _clouds,
    "plaid": _plaid,
    "zigzag": _zigzag,
    "rings": _rings,
    "speckle": _speckle,
}

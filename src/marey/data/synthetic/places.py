"""Places behind the people: rooms and yards, the same seen by all cameras of a scene, with shadows under the feet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.patterns import Patterns, draw_colors, draw_patterns, paint
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows
from marey.data.synthetic.views import Views

_SIDES = 6
"""Of a room: x low, x high, y low, y high, floor, ceiling."""
_FLOOR = 4
_SHADOW = 0.22
"""Metres over which the shadow under a foot fades."""
_HAZE = 25.0
"""Metres over which a yard fades into the hills."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rooms(Rows):
    """Boxes with patterned sides."""

    low: Tensor
    """(M, 3) corner, metres."""
    high: Tensor
    """(M, 3)"""
    light: Tensor
    """(M, 6) how bright the sides are."""
    patterns: Patterns
    """(M, 6)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Yards(Rows):
    """A patterned ground up to hills on the horizon, and a sky."""

    ground: Patterns
    """(M,)"""
    colors: Tensor
    """(M, 3, 3) linear: of the sky above the hills, of the hills, of the sky overhead."""
    phase: Tensor
    """(M, 3) of the waves of the hills."""


def draw_rooms(draws: Draws, centers: Tensor) -> Rooms:
    """Draw (B,) rooms around the cameras of scenes, at (B, V, 3)."""
    draws = draws.within("room")
    reach = centers[..., :2].abs().amax((-2, -1))[:, None]
    walls = torch.maximum(1.05 * reach, torch.full_like(reach, 2.0)) + draws.uniform("walls", 4, low=0.3, high=3.0)
    top = torch.maximum(draws.uniform("ceiling", low=2.4, high=4.0), centers[..., 2].amax(-1) + 0.3)
    bright, floor = draws.uniform("light", 4, low=0.5, high=1.0), draws.uniform("floor", 1, low=0.7, high=1.1)
    return Rooms(
        low=torch.stack((-walls[:, 0], -walls[:, 1], torch.zeros_like(top)), -1),
        high=torch.stack((walls[:, 2], walls[:, 3], top), -1),
        light=torch.cat((bright, floor, 0.9 * floor), -1),
        patterns=draw_patterns(draws, "paint", _SIDES, period=(0.1, 1.5), flat=True, plain=0.6),
    ).float()


def paint_rooms(rooms: Rooms, views: Views) -> Tensor:
    """(M, 3, H, W) linear."""
    place, side, point = _exits(views.origins, views.rays, rooms.low, rooms.high)
    number = torch.arange(len(side), device=side.device)[:, None, None] * _SIDES + side
    patterns = rooms.patterns.map(lambda tensor: tensor.flatten(0, 1))
    color = paint(place.flatten(1), patterns, number.flatten()).reshape(place.shape)
    light = rooms.light.flatten().take(number) * (1 - 0.25 * (-2.5 * point[2].abs()).exp())
    shadow = torch.where(side == _FLOOR, _under_feet(views.feet, point), 1.0)
    return (color * (light * shadow)).transpose(0, 1)


def draw_yards(draws: Draws) -> Yards:
    """Draw (B,) yards."""
    draws = draws.within("yard")
    colors = draw_colors(draws, "sky", 3, muted=0.5)
    scale = torch.tensor((0.75, 0.6, 1.0), dtype=colors.dtype, device=colors.device)[:, None]
    lift = torch.tensor((0.25, 0.0, 0.05), dtype=colors.dtype, device=colors.device)[:, None]
    return Yards(
        ground=draw_patterns(draws, "ground", 1, period=(0.3, 3.0), flat=True, plain=0.5)[:, 0],
        colors=lift + scale * colors,
        phase=draws.uniform("hills", 3, high=2 * math.pi),
    ).float()


def paint_yards(yards: Yards, views: Views) -> Tensor:
    """(M, 3, H, W) linear."""
    x, y, down = views.rays.unbind(1)
    depth = views.origins[:, 2, None, None] / (-down).clamp_min(1e-4)
    point = _at(views, depth)
    flat = torch.stack((point[0], point[1], torch.zeros_like(depth)))
    picture = torch.arange(len(depth), device=depth.device).repeat_interleave(depth[0].numel())
    ground = paint(flat.flatten(1), yards.ground, picture).reshape(flat.shape) * _under_feet(views.feet, point)
    low, hill, high = yards.colors.permute(1, 2, 0)[..., None, None]
    level = (x * x + y * y).sqrt().clamp_min(1e-6)
    rise = down / level
    sky = low + (high - low) * rise.clamp(0, 1).sqrt()
    east, north = x / level, y / level
    first, second, third = yards.phase.mT[..., None, None]
    ridge = 0.05 + 0.04 * (3 * east + first).sin() + 0.05 * (5 * north + second).sin()
    ridge = ridge + 0.015 * (17 * east + 11 * north + third).sin()
    ground = ground + (1 - (-depth / _HAZE).exp()) * (hill - ground)
    above = torch.where(rise < ridge, hill, sky)
    return torch.where(down < 0, ground, above).transpose(0, 1)


def _exits(origins: Tensor, rays: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays from inside leave boxes.

    Returns:
        Coordinates (3, M, H, W) on the side, the third zero; the side (M, H, W); the point (3, M, H, W), metres.
    """
    origins, low, high = (tensor.mT[..., None, None] for tensor in (origins, low, high))
    rays = rays.transpose(0, 1)
    inverse = torch.where(rays.abs() < 1e-6, 1e-6, rays).reciprocal()
    to_x, to_y, to_z = torch.maximum((low - origins) * inverse, (high - origins) * inverse)
    time = torch.minimum(torch.minimum(to_x, to_y), to_z)
    point = origins + time * rays
    on_z, on_x = to_z <= time, to_x <= time
    x_side, y_side, z_side = inverse > 0
    side = torch.where(on_z, 4 + z_side.long(), torch.where(on_x, x_side.long(), 2 + y_side.long()))
    along = torch.where(on_x & ~on_z, point[1], point[0])
    up = torch.where(on_z, point[1], point[2])
    return torch.stack((along, up, torch.zeros_like(up))), side, point


def _at(views: Views, depth: Tensor) -> Tensor:
    """Points (3, M, H, W) of the rays at depths (M, H, W)."""
    return views.origins.mT[..., None, None] + depth * views.rays.transpose(0, 1)


def _under_feet(feet: Tensor, point: Tensor) -> Tensor:
    """How much light reaches points (3, M, H, W) of the ground under feet (M, F, 3), in 0..1."""
    x, y, _ = point
    light = torch.ones_like(x)
    for place in feet.unbind(1):
        east, north, up = place.mT[:, :, None, None]
        fade = _SHADOW + 0.5 * up.clamp_min(0)
        square = ((x - east).square() + (y - north).square()) / fade.square()
        light = light * (1 - 0.55 * (_SHADOW / fade) / (1 + square).square())
    return light

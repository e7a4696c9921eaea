"""Light: a sky and a ground that shine on everything, and one to three lamps. Linear colours throughout."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows

MOST_LAMPS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Lights(Rows):
    """The light of scenes, (B,); float32. The brightest white surface shines with about 1."""

    sky: Tensor
    """(B, 3) linear colour that surfaces facing upwards receive from all around."""
    ground: Tensor
    """(B, 3) the same for surfaces facing downwards."""
    direction: Tensor
    """(B, L, 3) unit vectors in the world towards the lamps."""
    color: Tensor
    """(B, L, 3) linear; zero where there is no lamp."""


def draw_lights(draws: Draws) -> Lights:
    """Draw the light of B scenes: from overcast to hard lamps, from daylight to tungsten."""
    draws = draws.within("lights")
    ambient = draws.uniform("ambient", 1, low=0.25, high=0.75)
    azimuth = draws.uniform("azimuth", MOST_LAMPS, high=2 * math.pi)
    rise = draws.uniform("rise", MOST_LAMPS, low=0.1, high=0.98)
    level = (1 - rise.square()).sqrt()
    strength = draws.uniform("strength", MOST_LAMPS, low=0.3, high=1.0)
    lit = torch.arange(MOST_LAMPS, device=strength.device) < 1 + draws.choice("lamps", (0.5, 0.3, 0.2))[:, None]
    strength = strength * lit
    # lamps and sky together light a surface that faces them with about 1, however they share it
    strength = (1 - ambient) * strength / strength.sum(-1, keepdim=True) * 1.5
    sky = ambient * _tinted(draws.uniform("warm sky", 1, low=-1.0, high=0.6))
    ground = sky * draws.uniform("bounce", 1, low=0.3, high=0.8)
    color = strength[..., None] * _tinted(draws.uniform("warm lamps", MOST_LAMPS, 1, low=-0.5, high=1.0))
    exposure = draws.uniform("exposure", 1, low=0.75, high=1.25)
    return Lights(
        sky=sky * exposure,
        ground=ground * exposure,
        direction=torch.stack((level * azimuth.cos(), level * azimuth.sin(), rise), -1),
        color=color * exposure[..., None],
    ).float()


def shade(normals: Tensor, towards: Tensor, gloss: Tensor, lights: Lights) -> tuple[Tensor, Tensor]:
    """Light that M points of surfaces send on.

    Lambert's law for the lamps, an even blend of sky and ground by the height of the normal, and a highlight by the
    half vector (Blinn, "Models of light reflection for computer synthesized pictures", SIGGRAPH 1977).

    Args:
        normals: (3, M) unit, world.
        towards: (3, M) unit, world, towards the camera.
        gloss: (M,) in 0..1, the strength of the highlight.
        lights: (M,) or (1,), the light of each point's scene.

    Returns:
        The factor (3, M) of the colour of the surface, and what the highlight adds (3, M).
    """
    sky, ground = lights.sky.mT, lights.ground.mT
    diffuse = ground + (0.5 + 0.5 * normals[2]) * (sky - ground)
    highlight = torch.zeros_like(diffuse)
    for lamp in range(MOST_LAMPS):
        direction, color = lights.direction[:, lamp].mT, lights.color[:, lamp].mT
        if not bool(color.any()):
            continue
        diffuse = diffuse + _dot(normals, direction).clamp_min(0) * color
        half = direction + towards
        power = _dot(normals, half).clamp_min(0).square() / _dot(half, half).clamp_min(1e-6)
        highlight = highlight + power.square().square().square() * color
    return diffuse, highlight * gloss


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """(M,) of (3, M)."""
    x, y, z = first * second
    product: Tensor = x + y + z
    return product


def _tinted(warmth: Tensor) -> Tensor:
    """Linear colours (..., 3) of light: -1 is a blue sky, 0 white, 1 a tungsten lamp."""
    tint = torch.tensor((0.25, 0.0, -0.35), dtype=warmth.dtype, device=warmth.device)
    return 1 + warmth * tint

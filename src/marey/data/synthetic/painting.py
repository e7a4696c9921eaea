"""Colours of the pixels that show people: what they wear under the light of the scene."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.data.synthetic.lights import Lights, shade
from marey.data.synthetic.outfits import Landmarks, Wardrobe, albedo, layer_of
from marey.render.fragments import Fragments


@dataclass(frozen=True, kw_only=True, eq=False)
class Figures:
    """The people that are painted: G = B P people, P of each of the B samples."""

    faces: Tensor
    """(F, 3) of one person's mesh."""
    rest: Tensor
    """(N, 3) float32 vertices of the mean body at rest."""
    normals: Tensor
    """(G, N, 3) float32 of the posed surfaces."""
    wardrobe: Wardrobe
    """(G,)"""
    marks: Landmarks
    owner: Tensor
    """(M,) the sample of each picture."""
    people: int
    """P."""


def paint_people(fragments: Fragments, figures: Figures, lights: Lights, rays: Tensor, background: Tensor) -> Tensor:
    """Paint the people over backgrounds.

    Args:
        fragments: (M,) pictures; the faces of person p of a sample are p F to (p + 1) F.
        figures: the people.
        lights: (M,).
        rays: (M, H, W, 3) directions of the pixels in the world.
        background: (M, 3, H, W) linear.

    Returns:
        (M, 3, H, W) linear, float32.
    """
    height, width = fragments.size
    pixel = torch.nonzero(fragments.face.flatten() >= 0)[:, 0]
    picture = pixel // (height * width)
    face = fragments.face.flatten().index_select(0, pixel)
    weights = fragments.barycentric.reshape(-1, 3).index_select(0, pixel).to(torch.float32)
    corners = figures.faces.index_select(0, face % len(figures.faces))
    person = figures.owner.index_select(0, picture) * figures.people + face // len(figures.faces)
    rest = _blended(figures.rest, corners, weights)
    normal = _blended(figures.normals.flatten(0, 1), corners + person[:, None] * len(figures.rest), weights)
    normal = normal / normal.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    towards = -rays.reshape(-1, 3).index_select(0, pixel)
    towards = towards / towards.norm(dim=-1, keepdim=True)
    worn = figures.wardrobe.outfits.take(person)
    layer = layer_of(rest, worn, figures.marks)
    color, gloss = albedo(rest, layer, person, figures.wardrobe, figures.marks)
    diffuse, highlight = shade(normal, towards, gloss, lights.take(picture))
    shown = background.permute(0, 2, 3, 1).reshape(-1, 3).index_copy(0, pixel, color * diffuse + highlight)
    return shown.reshape(-1, height, width, 3).permute(0, 3, 1, 2)


def _blended(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Values (..., C) of the corners (M, 3) blended by weights (M, 3): (M, C)."""
    first, second, third = (values.index_select(0, corner) for corner in corners.unbind(-1))
    return weights[:, :1] * first + weights[:, 1:2] * second + weights[:, 2:] * third

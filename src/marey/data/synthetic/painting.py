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
        rays: (M, 3, H, W) directions of the pixels in the world.
        background: (M, 3, H, W) linear.

    Returns:
        (M, 3, H, W) linear, float32.
    """
    count, (height, width) = len(rays), fragments.size
    pixel = torch.nonzero(fragments.face.flatten() >= 0)[:, 0]
    picture = pixel // (height * width)
    face = fragments.face.flatten().index_select(0, pixel)
    weights = fragments.barycentric.reshape(-1, 3).index_select(0, pixel).mT.contiguous()
    corners = figures.faces.index_select(0, face % len(figures.faces)).mT
    person = figures.owner.index_select(0, picture) * figures.people + face // len(figures.faces)
    rest = _blended(figures.rest.mT, corners, weights)
    normals = figures.normals.flatten(0, 1).mT
    normal = _unit(_blended(normals, corners + person * len(figures.rest), weights))
    towards = _unit(-rays.transpose(0, 1).flatten(1).index_select(1, pixel))
    layer = layer_of(rest, figures.wardrobe.outfits.take(person), figures.marks)
    color, gloss = albedo(rest, layer, person, wardrobe=figures.wardrobe, marks=figures.marks)
    diffuse, highlight = shade(normal, towards, gloss, lights.take(picture))
    shown = background.transpose(0, 1).flatten(1).index_copy(1, pixel, color * diffuse + highlight)
    return shown.reshape(3, count, height, width).transpose(0, 1)


def _blended(values: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Values (C, N) of the corners (3, M) blended by weights (3, M): (C, M)."""
    first, second, third = (values.index_select(1, corner) for corner in corners)
    return weights[0] * first + weights[1] * second + weights[2] * third


def _unit(vectors: Tensor) -> Tensor:
    """(3, M) of unit length."""
    x, y, z = vectors
    unit: Tensor = vectors / (x * x + y * y + z * z).sqrt().clamp_min(1e-6)
    return unit

"""Colours of the pixels that show people: what they wear under the light of the scene."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from marey.data.synthetic.lights import Lights, shade
from marey.data.synthetic.outfits import Landmarks, Wardrobe, albedo, layer_of
from marey.data.synthetic.rows import Rows
from marey.render.fragments import Fragments


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen(Rows):
    """The K pixels of M pictures that show people, picture by picture."""

    pixel: Tensor
    """(K,) int64, counted through the pictures."""
    picture: Tensor
    """(K,) int64"""
    face: Tensor
    """(K,) int64: those of person p of a sample are p F to (p + 1) F."""
    barycentric: Tensor
    """(K, 3) float32"""

    @classmethod
    def of(cls, fragments: Fragments) -> Seen:
        """Find the pixels."""
        hits = fragments.hits
        return cls(pixel=hits.pixel, picture=hits.view, face=hits.face, barycentric=hits.barycentric.to(torch.float32))

    def parts(self, pictures: int, size: int, step: int) -> list[Seen]:
        """Split into `step` pictures each, all of `size` pixels; pictures and pixels are counted anew in each part."""
        starts = torch.arange(0, pictures, step, device=self.picture.device)
        edges = [*torch.searchsorted(self.picture, starts).tolist(), len(self.picture)]
        parts = [self[low:high] for low, high in pairwise(edges)]
        return [
            replace(part, pixel=part.pixel - size * start, picture=part.picture - start)
            for part, start in zip(parts, range(0, pictures, step), strict=True)
        ]


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


def paint_people(seen: Seen, figures: Figures, lights: Lights, rays: Tensor, background: Tensor) -> Tensor:
    """Paint the people over backgrounds.

    Args:
        seen: their pixels in M pictures.
        figures: the people.
        lights: (M,).
        rays: (M, 3, H, W) directions of the pixels in the world.
        background: (M, 3, H, W) linear.

    Returns:
        (M, 3, H, W) linear, float32.
    """
    count, _, height, width = rays.shape
    weights = seen.barycentric.mT.contiguous()
    person = seen.face // len(figures.faces)
    corners = figures.faces.index_select(0, seen.face - person * len(figures.faces)).mT
    person = figures.owner.index_select(0, seen.picture) * figures.people + person
    rest = _blended(figures.rest.mT, corners, weights)
    normals = figures.normals.flatten(0, 1).mT
    normal = _unit(_blended(normals, corners + person * len(figures.rest), weights))
    towards = _unit(-rays.transpose(0, 1).flatten(1).index_select(1, seen.pixel))
    layer = layer_of(rest, figures.wardrobe.outfits.take(person), figures.marks)
    color, gloss = albedo(rest, layer, person, wardrobe=figures.wardrobe, marks=figures.marks)
    diffuse, highlight = shade(normal, towards, gloss, lights.take(seen.picture))
    shown = background.transpose(0, 1).flatten(1).index_copy(1, seen.pixel, color * diffuse + highlight)
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

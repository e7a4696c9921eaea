"""The surface that is rendered: the body's vertices moved outwards along their normals by clothes and hair."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.data.synthetic.outfits import Landmarks, Outfits, layer_of, stand_off_of


def dress(vertices: Tensor, normals: Tensor, rest: Tensor, outfits: Outfits, marks: Landmarks) -> Tensor:
    """Move the vertices (G, N, 3) of people outwards by what they wear.

    Args:
        vertices: (G, N, 3) metres, posed.
        normals: (G, N, 3).
        rest: (N, 3) vertices of the mean body at rest.
        outfits: (G,).
        marks: of the mean body.
    """
    people, count = vertices.shape[:2]
    worn = outfits.map(lambda tensor: tensor.repeat_interleave(count, 0))
    place = rest.to(torch.float32).repeat(people, 1).mT
    offset = stand_off_of(place, layer_of(place, worn, marks), worn, marks)
    return vertices + offset.reshape(people, count, 1) * normals

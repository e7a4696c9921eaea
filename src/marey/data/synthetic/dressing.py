"""The surface that is rendered: the body's vertices moved outwards along their normals by clothes and hair."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.data.synthetic.outfits import Landmarks, Outfits, layer_of, stand_off_of

_RING = 12
"""Vertices around a joint that say how thick the body is there."""
_FLESH = 1.6
"""How much farther than the ring the surface in front of a joint may be, seen from any side."""
_CLOTH = 0.03
"""Metres added for what people wear."""


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (G, N, 3) of closed meshes (G, N, 3): the sum of those of the faces around, weighted by their area."""
    a, b, c = vertices[:, faces].unbind(-2)
    areas = torch.linalg.cross(b - a, c - a).repeat_interleave(3, 1)
    total = torch.zeros_like(vertices).index_add(1, faces.flatten(), areas)
    unit: Tensor = total / total.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return unit


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
    place = rest.to(torch.float32).repeat(people, 1)
    offset = stand_off_of(place, layer_of(place, worn, marks), worn, marks)
    return vertices + offset.reshape(people, count, 1).to(vertices) * normals


def joint_rings(template: Tensor, joints: Tensor) -> Tensor:
    """The vertices (J, R) of a mesh (N, 3) that are nearest to each joint (J, 3)."""
    return torch.cdist(joints, template).topk(_RING, largest=False).indices


def flesh_before(vertices: Tensor, joints: Tensor, rings: Tensor) -> Tensor:
    """How far before a joint its own surface can be, (..., J) metres, for vertices (..., N, 3), joints (..., J, 3)."""
    around = vertices[..., rings, :]
    before: Tensor = _FLESH * (around - joints[..., None, :]).norm(dim=-1).mean(-1) + _CLOTH
    return before

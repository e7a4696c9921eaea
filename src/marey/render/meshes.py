"""Meshes: several as one, and the directions that their surfaces face."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError


def join_meshes(vertices: Sequence[Tensor], faces: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Join meshes that hide one another into one.

    People (..., P, N, 3) of one topology: `join_meshes(people.unbind(-3), [faces] * P)`; face f of the result is face
    `f % F` of its person.

    Args:
        vertices: of each mesh (..., N_i, 3), in the same batch dimensions.
        faces: of each mesh (F_i, 3).

    Returns:
        Vertices (..., N, 3), faces (F, 3) and the mesh (F,) int64 that each face is of.

    Raises:
        ShapeError: there are no meshes, or not as many of one as of the other.
    """
    if not vertices or len(vertices) != len(faces):
        raise ShapeError(f"expected as many tables of faces as of vertices, got {len(faces)} and {len(vertices)}")
    counts = [0, *(mesh.shape[-2] for mesh in vertices)]
    starts = torch.tensor(counts[:-1]).cumsum(0).tolist()
    joined = torch.cat([table + start for table, start in zip(faces, starts, strict=True)])
    owner = torch.cat([torch.full_like(table[:, 0], mesh) for mesh, table in enumerate(faces)])
    return torch.cat(tuple(vertices), -2), joined, owner


def subdivide(vertices: Tensor, faces: Tensor, times: int = 1) -> tuple[Tensor, Tensor]:
    """Cut every face into four at the middles of its edges; the surface stays as it is.

    For what a lens should bend, such as floors and walls: only vertices are bent.

    Args:
        vertices: (..., N, C), positions or anything else that is interpolated.
        faces: (F, 3).
        times: how often, one after the other.

    Returns:
        Vertices (..., N', C), the given ones first, and faces (4^times F, 3): those that come of face f are rows
        4^times f and following.

    Raises:
        InputError: `times` is negative.
    """
    if times < 0:
        raise InputError(f"times: expected 0 or more, got {times}")
    for _ in range(times):
        ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).sort(-1).values
        edges, place = torch.unique(ends, dim=0, return_inverse=True)
        (a, b, c), (ab, bc, ca) = faces.unbind(-1), (place.view(-1, 3) + vertices.shape[-2]).unbind(-1)
        middles = (vertices[..., edges[:, 0], :] + vertices[..., edges[:, 1], :]) / 2
        vertices = torch.cat((vertices, middles), -2)
        faces = torch.stack((a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca), -1).view(-1, 3)
    return vertices, faces


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Outward normals (..., F, 3) of faces (F, 3), as long as twice the area, square metres."""
    a, b, c = (vertices.index_select(-2, corner) for corner in faces.unbind(-1))
    normals: Tensor = torch.linalg.cross(b - a, c - a)
    return normals


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (..., N, 3) of vertices: the mean of those of the faces around, weighted by area.

    Zero where a vertex has no face or they cancel. A missing vertex (NaN) spoils the vertices beside it. Differentiable
    in the vertices.
    """
    # one row holds a vertex of the whole batch: long rows are gathered and added faster than short ones
    rows = vertices.movedim(-2, 0).contiguous()
    a, b, c = (rows.index_select(0, corner) for corner in faces.unbind(-1))
    normals = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(rows)
    for corner in faces.unbind(-1):
        total = total.index_add(0, corner, normals)
    return unit(total.movedim(0, -2))


def unit(vectors: Tensor) -> Tensor:
    """Vectors (..., 3) at unit length; zero stays zero, also in its derivative."""
    x, y, z = vectors.unbind(-1)
    squared = (x * x + y * y + z * z)[..., None]
    positive = squared > 0
    return torch.where(positive, vectors / torch.where(positive, squared, 1.0).sqrt(), 0.0)

"""Pictures of what is seen rather than how it looks: normals, parts, and texture coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.render.fragments import Fragments
from marey.render.meshes import unit, vertex_normals


def interpolate(fragments: Fragments, values: Tensor, faces: Tensor, *, background: Tensor | float = 0.0) -> Tensor:
    """Interpolate values of the vertices over the pictures, perspective-correct.

    Args:
        fragments: of the pictures (...).
        values: (N, C) shared, or (..., N, C) of each picture.
        faces: (F, 3), the rasterised faces, or as many rows of another table.
        background: where nothing is seen.

    Returns:
        (..., H, W, C), differentiable in the values, the background and the vertices.

    Raises:
        ShapeError: the values are neither shared nor of each picture.
    """
    return fragments.hits.paint(fragments.hits.interpolate(values, faces), background)


def normal_map(fragments: Fragments, vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals (..., H, W, 3) of the smooth surface, in the frame of the vertices; zeros where nothing is seen.

    Args:
        fragments: of the pictures (...).
        vertices: (N, 3) or (..., N, 3), in the world or in the frame that the normals are wanted in.
        faces: (F, 3), those rasterised.
    """
    hits = fragments.hits
    return hits.paint(unit(hits.interpolate(vertex_normals(vertices, faces), faces)))


def label_map(fragments: Fragments, labels: Tensor, *, background: int = -1) -> Tensor:
    """The label (..., H, W) int64 of the face seen, of labels (F,), such as parts of the body or people.

    Raises:
        ShapeError: there are fewer labels than faces seen.
    """
    hits = fragments.hits
    return hits.paint(hits.of_faces(labels.to(torch.int64)), background)


def iuv_map(fragments: Fragments, parts: Tensor, uv: Tensor, uv_faces: Tensor) -> Tensor:
    """Part and texture coordinates (..., H, W, 3), as DensePose has them: the part counts from 1, 0 where nothing is.

    Args:
        fragments: of the pictures (...).
        parts: (F,) int64 part of every face, from 0: `model.face_parts("joints24")`.
        uv: (U, 2) texture coordinates.
        uv_faces: (F, 3) int64 into them.
    """
    hits = fragments.hits
    part = hits.of_faces(parts)[:, None] + 1
    return hits.paint(torch.cat((part.to(uv.dtype), hits.interpolate(uv, uv_faces)), -1))

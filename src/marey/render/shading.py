"""Light on surfaces: ambient, Lambert's diffuse and Phong's specular reflection from any number of lamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.core.tensors import TensorFields, Trailing
from marey.render.fragments import Hits


@dataclass(frozen=True, kw_only=True, eq=False)
class Lights(TensorFields):
    """L lamps and the light from everywhere, of a batch of pictures (...) or shared by them. Nothing casts shadows."""

    ambient: Annotated[Tensor, Trailing(3)]
    """Red, green and blue of the light from everywhere; 1 shows a surface in its own colour."""
    place: Annotated[Tensor, Trailing("L", 4)]
    """Homogeneous coordinates in the frame of the vertices: (x, y, z, 1) is a lamp at that point, metres, as bright at
    any distance; (x, y, z, 0) is light that comes from that direction, as the sun's does."""
    color: Annotated[Tensor, Trailing("L", 3)]
    """Red, green and blue of each lamp, for the diffuse reflection."""
    specular: Annotated[Tensor, Trailing("L", 3)] | None = None
    """Red, green and blue of each lamp in the specular reflection; None: surfaces are dull."""
    shininess: Annotated[Tensor, Trailing()] | None = None
    """Exponent of the specular reflection, above 0; None: 64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shininess is not None and not bool((self.shininess > 0).all()):
            raise InputError(f"shininess: expected exponents above 0, got {self.shininess.tolist()}")


def shade(
    hits: Hits, lights: Lights, *, albedo: Tensor, points: Tensor, normals: Tensor, eye: Tensor | None = None
) -> Tensor:
    """Light the points of a surface, after Phong, "Illumination for computer generated pictures", 1975.

    `albedo (ambient + sum_l color_l max(0, n . l)) + sum_l specular_l max(0, r . e)^shininess`, where l points to the
    lamp, e to the eye, and r is l mirrored at the normal n; a lamp behind the surface contributes nothing.

    Args:
        hits: the pixels, M of them.
        lights: shared, or of each picture.
        albedo: (M, 3) colour of the surface, 0..1.
        points: (M, 3) in the frame of the lamps, metres.
        normals: (M, 3) of unit length.
        eye: (3,) or (..., 3) optical centre of each picture; needed for specular reflection.

    Returns:
        (M, 3), which bright light makes larger than 1. Differentiable in everything.

    Raises:
        ShapeError: the lights are neither shared nor of each picture, or something is not (M, 3).
        InputError: there is specular reflection and no eye.
    """
    for name, value in {"albedo": albedo, "points": points, "normals": normals}.items():
        if value.shape != (len(hits), 3):
            raise ShapeError(f"{name}: expected ({len(hits)}, 3), one row a hit, got {tuple(value.shape)}")
    normal = normals.t()
    place, color = (_of_hits(hits, part, 2) for part in (lights.place, lights.color))  # (L, 4 or 3, M)
    toward = _unit(place[:, :3] - place[:, 3:] * points.t())
    facing = _dot(toward, normal)
    lit = (color * facing.clamp(min=0)).sum(0) + _of_hits(hits, lights.ambient, 1)
    result = albedo.t() * lit
    if lights.specular is not None:
        if eye is None:
            raise InputError("eye: specular reflection needs the optical centre of each picture; pass cameras.centers")
        gaze = _unit((_of_hits(hits, eye, 1) - points.t())[None])
        mirrored = 2 * facing * normal - toward
        # not a power: it has no derivative at zero, and PyTorch rounds it differently from one batch to another
        along = _dot(mirrored, gaze).clamp(min=torch.finfo(albedo.dtype).tiny).log()
        exponent = 64.0 if lights.shininess is None else _of_hits(hits, lights.shininess, 0)
        glint = torch.where(facing > 0, (along * exponent).exp(), 0.0)
        result = result + (_of_hits(hits, lights.specular, 2) * glint).sum(0)
    return result.t()


def _of_hits(hits: Hits, values: Tensor, trailing: int) -> Tensor:
    """Values of the pictures (..., trailing) at each hit, with the hits along the last dimension."""
    flat = hits.of_views(values, trailing).movedim(0, -1)
    return flat if flat.shape[-1] == 1 else flat.index_select(-1, hits.view)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Inner products (L, 1, M) of vectors (L, 3, M)."""
    product = a * b
    return product[:, 0:1] + product[:, 1:2] + product[:, 2:3]


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (L, 3, M) at unit length; zero stays zero."""
    squared = _dot(vectors, vectors)
    return torch.where(squared > 0, vectors / torch.where(squared > 0, squared, 1.0).sqrt(), 0.0)

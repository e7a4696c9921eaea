"""The rasteriser: vertices in pixels and depth, faces, and the size of the picture give the face at every pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.render.coverage import ZBuffer
from marey.render.fragments import Fragments
from marey.render.triangles import SUBPIXELS, gather_triangles, snap

MAX_SIDE = 16384
"""Pixels; corners of what is drawn must be exact in 24 bits."""
_FACES_AT_ONCE = {"cpu": 2**17}
"""Faces times views set up together; on a processor this should stay within its cache."""
_FACES_ELSEWHERE = 2**24


def rasterize(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float = 1e-3, cull_back_faces: bool = False
) -> Fragments:
    """Find the nearest face at every pixel centre.

    Corners are rounded to 1/256 pixel; from there on coverage is exact. A centre on an edge belongs to the face whose
    top or left edge it is. Depths are compared as float32; among equal ones the lowest face is seen. The faces do not
    depend on how a batch is split nor on the number of threads.

    Several bodies that hide one another are one mesh: join their vertices and faces.

    Args:
        vertices: (..., N, 3) column and row in pixels, whose centres are at integers, and depth along the optical axis
            in metres; float32 or float64. A face with a corner that is NaN or infinite is not drawn.
        faces: (F, 3) int64, shared by the whole batch; counter-clockwise seen from outside.
        size: rows and columns of the picture.
        near: metres; a face with a corner that is not farther is not drawn (`rasterize_cameras` cuts such faces).
        cull_back_faces: leave out faces seen from behind. On a closed surface they are hidden anyway, and it is
            up to twice as fast.

    Returns:
        Fragments with the batch dimensions of the vertices. The faces are constants to autograd; depth and weights are
        differentiable in the vertices, with the rounding of the corners taken as the identity.

    Raises:
        ShapeError: vertices or faces have another shape or element type.
        InputError: a face names a vertex that is not there, or the size or `near` cannot be.
    """
    check_mesh(vertices, faces)
    check_size(size)
    if not (near > 0 and math.isfinite(near)):
        raise InputError(f"near: expected a positive number of metres, got {near}")
    flat = vertices.reshape(-1, *vertices.shape[-2:])
    with torch.no_grad():
        seen = [
            _nearest(some, faces, size, near=near, cull=cull_back_faces)
            for some in torch.split(flat.detach(), _views_at_once(flat, faces))
        ]
        face = torch.cat(seen) if seen else faces.new_empty((0, *size))
    depth, barycentric = _surface(flat, faces, face)
    batch = vertices.shape[:-2]
    return Fragments(
        face=face.view(*batch, *size), depth=depth.view(*batch, *size), barycentric=barycentric.view(*batch, *size, 3)
    )


def check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Refuse what is not a mesh.

    Raises:
        ShapeError: a shape or element type is wrong.
        InputError: a face names a vertex that is not there.
    """
    if vertices.ndim < 2 or vertices.shape[-1] != 3 or vertices.dtype not in (torch.float32, torch.float64):
        raise ShapeError(
            f"vertices: expected (..., N, 3) float32 or float64, got {tuple(vertices.shape)} {vertices.dtype}"
        )
    if faces.ndim != 2 or faces.shape[-1] != 3 or faces.dtype != torch.int64:
        raise ShapeError(
            f"faces: expected (F, 3) int64, got {tuple(faces.shape)} {faces.dtype}; one table for all views"
        )
    if faces.numel():
        low, high = (int(end) for end in torch.aminmax(faces))
        if low < 0 or high >= vertices.shape[-2]:
            raise InputError(f"faces: expected rows of {vertices.shape[-2]} vertices, got {low}..{high}")


def check_size(size: tuple[int, int]) -> None:
    """Refuse a picture that cannot be.

    Raises:
        InputError: a side is no number of pixels, or more than MAX_SIDE.
    """
    if len(size) != 2 or not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in size):
        raise InputError(f"size: expected rows and columns in 1..{MAX_SIDE}, got {size}")


def _nearest(vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float, cull: bool) -> Tensor:
    buffer = ZBuffer.empty(len(vertices), size, vertices.device)
    buffer.draw(gather_triangles(vertices, faces, size, near=near, cull=cull), vertices)
    return buffer.faces()


def _views_at_once(vertices: Tensor, faces: Tensor) -> int:
    return max(1, _FACES_AT_ONCE.get(vertices.device.type, _FACES_ELSEWHERE) // max(1, len(faces)))


def _surface(vertices: Tensor, faces: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (B, H, W) and perspective-correct weights (B, H, W, 3) of the faces (B, H, W) seen."""
    rows, columns = face.shape[-2:]
    pixel = torch.nonzero(face.view(-1) >= 0)[:, 0]
    row = pixel // columns
    view = row // rows
    corner = faces.index_select(0, face.view(-1).index_select(0, pixel)).t() + view * vertices.shape[1]
    corners = vertices.reshape(-1, 3).index_select(0, corner.reshape(-1)).double().view(3, -1, 3)
    centre = torch.stack((pixel - row * columns, row - view * rows))
    depth, weights = _perspective(corners, centre)
    shape = (len(vertices), rows, columns)
    dense_depth = vertices.new_full((face.numel(),), torch.inf).index_copy(0, pixel, depth.to(vertices.dtype))
    dense_weights = vertices.new_zeros((face.numel(), 3)).index_copy(0, pixel, weights.to(vertices.dtype))
    return dense_depth.view(shape), dense_weights.view(*shape, 3)


def _perspective(corners: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (M,) and weights (M, 3) at pixel centres (2, M) within triangles (3, M, 3).

    With E_i the area of the triangle of the centre and the edge opposite to corner i, E_i / z_i is proportional to the
    weight of corner i on the surface, because 1 / z is affine in the picture.
    """
    x, y, z = corners.unbind(-1)
    exact = torch.stack((x, y))
    # the rounded corners decided what is covered; their derivative is that of the corners themselves
    rounded = exact + (snap(exact.detach()) / SUBPIXELS - exact.detach())
    x, y = rounded[0] - centre[0], rounded[1] - centre[1]
    ahead, behind = (1, 2, 0), (2, 0, 1)
    area = x[ahead, :] * y[behind, :] - x[behind, :] * y[ahead, :]
    share = area / z
    total = share[0] + share[1] + share[2]
    return (area[0] + area[1] + area[2]) / total, (share / total).t()

"""The rasteriser: vertices in pixels and depth, faces, and the size of the picture give the face at every pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from marey.core.errors import InputError, ShapeError
from marey.render.clipping import Pieces
from marey.render.coverage import ZBuffer
from marey.render.fragments import Fragments
from marey.render.triangles import gather_triangles, loose_triangles, rounded

MAX_SIDE = 16384
"""Pixels; corners of what is drawn must be exact in 24 bits."""
_AT_ONCE = {"cpu": (2**18, 2**20)}
"""Faces and pixels of all views worked on together: enough of them that PyTorch's work for a call does not count, few
enough for the cache of a processor."""
_AT_ONCE_ELSEWHERE = (2**22, 2**25)


def rasterize(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float = 1e-3, cull_back_faces: bool = False
) -> Fragments:
    """Find the nearest face at every pixel centre.

    Corners are rounded to 1/256 pixel; from there on coverage is exact. A centre on an edge belongs to the face whose
    top or left edge it is. Depths are compared as float32; among equal ones the lowest face is seen. Nothing in the
    result depends on how a batch is split nor on the number of threads.

    Several bodies that hide one another are one mesh: see `join_meshes`.

    Args:
        vertices: (..., N, 3) column and row in pixels, whose centres are at integers, and depth along the optical axis
            in metres; float32 or float64. A face with a corner that is NaN or infinite is not drawn.
        faces: (F, 3) int64, shared by the whole batch; counter-clockwise seen from outside.
        size: rows and columns of the picture.
        near: metres; a face with a corner that is not farther is not drawn (`rasterize_cameras` cuts such faces).
        cull_back_faces: leave out faces seen from behind. On a closed surface they are hidden anyway, and it is
            faster.

    Returns:
        Fragments with the batch dimensions of the vertices. The faces are constants to autograd; depth and weights are
        differentiable in the vertices, with the rounding of the corners taken as the identity.

    Raises:
        ShapeError: vertices or faces have another shape or element type.
        InputError: a face names a vertex that is not there, or the size or `near` cannot be.
    """
    _check(vertices, faces, size, near)
    return draw(vertices, faces, size, near=near, cull=cull_back_faces)


def visible_faces(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float = 1e-3, cull_back_faces: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the nearest face at every pixel centre, and its depth, no more: cheaper than `rasterize`.

    Args and errors: as of `rasterize`.

    Returns:
        Face (..., H, W) int64, -1 for none, and depth (..., H, W), infinite for none; constants to autograd.
    """
    _check(vertices, faces, size, near)
    shape = (*vertices.shape[:-2], *size)
    face = torch.empty(shape, dtype=torch.int64, device=vertices.device)
    depth = vertices.new_empty(shape)
    flat_face, flat_depth = face.view(-1), depth.view(-1)
    done = 0
    for _, _, buffer in _drawn(vertices, faces, size, (near, cull_back_faces, None)):
        for dense, part in zip((flat_face, flat_depth), buffer.dense(), strict=True):
            dense[done : done + len(part)].copy_(part)
        done += math.prod(size) * buffer.views
    return face, depth


def draw(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], *, near: float, cull: bool, pieces: Pieces | None = None
) -> Fragments:
    """Rasterise a mesh, and pieces of its faces that were cut out because the whole could not be drawn."""
    parts = []
    done = 0
    for some, cut, buffer in _drawn(vertices, faces, size, (near, cull, pieces)):
        pixel, name = buffer.seen()
        face, depth, weights = _surface(some, faces, (pixel, name, size), cut)
        parts.append((pixel + done, face, depth, weights))
        done += math.prod(size) * buffer.views
    return _fragments(parts, (*vertices.shape[:-2], *size), vertices)


def _drawn(
    vertices: Tensor, faces: Tensor, size: tuple[int, int], settings: tuple[float, bool, Pieces | None]
) -> Iterator[tuple[Tensor, Pieces | None, ZBuffer]]:
    """Draw some views after the other: their vertices, their pieces, and what they show, until the next ones."""
    near, cull, pieces = settings
    flat = vertices.reshape(math.prod(vertices.shape[:-2]), *vertices.shape[-2:])
    step = _views_at_once(len(faces), size, flat.device)
    room = ZBuffer.empty(min(step, len(flat)), size, flat.device)
    for first in range(0, len(flat), step):
        some = flat[first : first + step]
        cut = None if pieces is None else pieces.of_views(first, first + step)
        with torch.no_grad():
            buffer = room.cleared(len(some))
            buffer.draw(gather_triangles(some, faces, size, near=near, cull=cull))
            if cut is not None:
                names = (torch.arange(len(faces), len(faces) + len(cut), device=flat.device), cut.view)
                buffer.draw(loose_triangles(cut.corners, names, size, cull=cull))
        yield some, cut, buffer


def _views_at_once(faces: int, size: tuple[int, int], device: torch.device) -> int:
    most_faces, most_pixels = _AT_ONCE.get(device.type, _AT_ONCE_ELSEWHERE)
    return max(1, min(most_faces // max(1, faces), most_pixels // math.prod(size)))


def _fragments(parts: list[tuple[Tensor, Tensor, Tensor, Tensor]], shape: tuple[int, ...], like: Tensor) -> Fragments:
    """Spread pixel (M,), face (M,), depth (M,) and weights (M, 3) of what was seen over pictures."""
    count = math.prod(shape)
    face = torch.full((count,), -1, device=like.device)
    depth, barycentric = like.new_full((count,), torch.inf), like.new_zeros((count, 3))
    if parts:
        pixel, seen, *rest = (torch.cat(part) if len(parts) > 1 else part[0] for part in zip(*parts, strict=True))
        face.index_copy_(0, pixel, seen)
        depth.index_copy_(0, pixel, rest[0])
        barycentric.index_copy_(0, pixel, rest[1])
    return Fragments(face=face.view(shape), depth=depth.view(shape), barycentric=barycentric.view(*shape, 3))


def _check(vertices: Tensor, faces: Tensor, size: tuple[int, int], near: float) -> None:
    check_mesh(vertices, faces)
    check_size(size)
    check_near(near)


def check_near(near: float) -> None:
    """Refuse a near plane that cannot be.

    Raises:
        InputError: it is not a positive number.
    """
    if not (near > 0 and math.isfinite(near)):
        raise InputError(f"near: expected a positive number of metres, got {near}")


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
            f"faces: expected (F, 3) int64, one table for all views, got {tuple(faces.shape)} {faces.dtype}"
        )
    if faces.device != vertices.device:
        raise ShapeError(f"faces: expected the device {vertices.device} of the vertices, got {faces.device}; use .to()")
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


def _surface(
    vertices: Tensor, faces: Tensor, seen: tuple[Tensor, Tensor, tuple[int, int]], cut: Pieces | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Face (M,), depth (M,) and perspective-correct weights (M, 3) of what is seen.

    Args:
        vertices: (B, N, 3).
        faces: (F, 3).
        seen: pixel (M,); what it sees (M,), a face or, from F on, a piece of one; and the size of the pictures.
        cut: the pieces.
    """
    pixel, name, (rows, columns) = seen
    row = pixel // columns
    view = row // rows
    points, corner = vertices.reshape(-1, 3).t(), name.new_empty((3, len(name)))
    if len(faces):
        corner = faces.index_select(0, name.clamp(max=len(faces) - 1)).t() + view * vertices.shape[1]
    if cut is not None:
        own = points.shape[1] + name - len(faces) + len(cut) * torch.arange(3, device=name.device)[:, None]
        points = torch.cat((points, cut.corners.reshape(-1, 3).t()), 1)
        corner = torch.where(name >= len(faces), own, corner)
    drawn = torch.cat((rounded(points[:2]), points[2:]))
    corners = drawn.index_select(1, corner.reshape(-1)).double().view(3, 3, -1)
    depth, weights = _perspective(corners, torch.stack((pixel - row * columns, row - view * rows)))
    if cut is not None:
        name, weights = cut.restore(name, name - len(faces), weights)
    return name, depth.to(vertices.dtype), weights.t().to(vertices.dtype)


def _perspective(corners: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (M,) and weights (3, M) at pixel centres (2, M) within triangles.

    With E_i the area of the triangle of the centre and the edge opposite to corner i, E_i / z_i is proportional to the
    weight of corner i on the surface, because 1 / z is affine in the picture.

    Args:
        corners: (3, 3, M) column, row and depth of the three corners.
        centre: (2, M) column and row.
    """
    beside = corners[:2] - centre[:, None]
    x, y = torch.cat((beside[:, 1:], beside[:, :2]), 1)
    area = x[:3] * y[1:] - x[1:] * y[:3]
    share = area / corners[2]
    total = share[0] + share[1] + share[2]
    return (area[0] + area[1] + area[2]) / total, share / total

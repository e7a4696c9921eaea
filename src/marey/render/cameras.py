"""The rasteriser behind cameras: a mesh in the world, lenses included."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras
from marey.geometry.distortion import fold_radius, lens_of
from marey.geometry.projection import project_from_camera, world_to_camera
from marey.geometry.views import spread_cameras
from marey.render.clipping import cut_near
from marey.render.fragments import Fragments
from marey.render.rasterize import MAX_SIDE, check_mesh, check_near, check_size, draw

_ORTHONORMAL = 1e-3


def rasterize_cameras(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    *,
    size: tuple[int, int] | None = None,
    near: float = 0.05,
    cull_back_faces: bool = False,
) -> Fragments:
    """Find the nearest face at every pixel centre of every camera.

    The lens bends vertices; edges between them stay straight, so faces should be small where the lens bends much: see
    `subdivide`. A face that crosses the near plane is cut there. A vertex beyond the fold of a distortion polynomial
    has no image, and neither has one that is NaN: their faces are not drawn.

    Args:
        vertices: (..., N, 3) in the world, metres; float32 or float64. They begin with the cameras' batch dimensions,
            or with 1 where the cameras share them: cameras (V,) take (1, N, 3) or (V, N, 3), or (V, T, N, 3).
        faces: (F, 3) int64, counter-clockwise seen from outside.
        cameras: with extrinsics.
        size: rows and columns of the pictures; None: the cameras' own, which must be one for all.
        near: metres; nothing nearer is drawn.
        cull_back_faces: leave out faces seen from behind.

    Returns:
        Fragments with the batch dimensions of the vertices seen by the cameras.

    Raises:
        CalibrationError: the cameras have no extrinsics, no common image size, or numbers that no camera has.
        ShapeError: the shapes do not belong together.
        InputError: a face names a vertex that is not there, or `size` or `near` cannot be.
    """
    check_mesh(vertices, faces)
    check_cameras(cameras)
    size = picture_size(cameras) if size is None else size
    check_size(size)
    check_near(near)
    placed = world_to_camera(vertices, cameras)
    flat = placed.reshape(math.prod(placed.shape[:-2]), *placed.shape[-2:])
    every = _flattened(spread_cameras(cameras, placed.shape[:-2]))
    pieces = cut_near(flat, faces, near)
    if pieces is not None:
        corners = _seen(pieces.corners.transpose(0, 1), every[pieces.view])
        pieces = replace(pieces, corners=corners.transpose(0, 1))
    seen = _seen(flat, every).view(placed.shape)
    return draw(seen, faces, size, near=near, cull=cull_back_faces, pieces=pieces)


def project_mesh(vertices: Tensor, cameras: Cameras) -> Tensor:
    """Move vertices (..., N, 3) from the world to pixels and depth, as `rasterize` and `antialias` take them.

    NaN where there is no image: behind the camera, beyond the fold of a distortion polynomial, or missing. Nothing is
    cut at the near plane; `rasterize_cameras` does that.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the vertices do not begin with the cameras' batch dimensions.
    """
    placed = world_to_camera(vertices, cameras)
    every = _flattened(spread_cameras(cameras, placed.shape[:-2]))
    return _seen(placed.reshape(len(every.intrinsics), *placed.shape[-2:]), every).view(placed.shape)


def picture_size(cameras: Cameras) -> tuple[int, int]:
    """Rows and columns of the cameras' pictures.

    Raises:
        CalibrationError: they are unknown, differ, or are no numbers of pixels.
    """
    sizes = torch.unique(cameras.image_size.reshape(-1, 2), dim=0)
    width, height = sizes[0].tolist() if len(sizes) == 1 else (math.nan, math.nan)
    if not all(side == side // 1 and 1 <= side <= MAX_SIDE for side in (width, height)):
        raise CalibrationError(
            f"image_size: expected one width and height in 1..{MAX_SIDE} for all cameras, got {sizes.tolist()}; "
            "pass size= or draw them one by one"
        )
    return int(height), int(width)


def check_cameras(cameras: Cameras) -> None:
    """Refuse cameras that cannot be.

    Raises:
        CalibrationError: extrinsics are missing, numbers are not finite, focal lengths are not positive, or a rotation
            is none.
    """
    rotation, translation = cameras.extrinsics
    for name, value in {
        "intrinsics": cameras.intrinsics,
        "distortion": cameras.distortion,
        "rotation": rotation,
        "translation": translation,
    }.items():
        if not bool(value.isfinite().all()):
            raise CalibrationError(f"{name}: expected finite numbers, got NaN or infinity; leave such cameras out")
    focal = cameras.intrinsics.diagonal(dim1=-2, dim2=-1)[..., :2]
    if not bool((focal > 0).all()):
        raise CalibrationError(f"intrinsics: expected focal lengths above 0 pixels, got {float(focal.min())}")
    if not bool((cameras.intrinsics[..., 2, :] == cameras.intrinsics.new_tensor((0, 0, 1))).all()):
        raise CalibrationError("intrinsics: expected the last row 0 0 1")
    excess = (rotation @ rotation.mT - torch.eye(3, dtype=rotation.dtype, device=rotation.device)).abs().amax((-2, -1))
    cross = torch.linalg.cross(rotation[..., 0, :], rotation[..., 1, :])
    if not bool(((excess < _ORTHONORMAL) & ((cross * rotation[..., 2, :]).sum(-1) > 0)).all()):
        raise CalibrationError(
            "rotation: expected orthonormal matrices of determinant 1; a mirrored axis is no rotation"
        )


def _flattened(cameras: Cameras) -> Cameras:
    """The same cameras with one batch dimension."""
    batch = cameras.batch_shape
    count = math.prod(batch)
    return replace(cameras, names=()).map(lambda field: field.reshape(count, *field.shape[len(batch) :]))


def _seen(points: Tensor, cameras: Cameras) -> Tensor:
    """Pixels and depth (B, N, 3) of points (B, N, 3) in the frames of cameras (B,); NaN where there is no image."""
    pixels = project_from_camera(points, cameras)
    lens = lens_of(cameras, points.dtype, detach=True)
    if lens.radial is not None:
        x, y, z = points.detach().unbind(-1)
        radius = fold_radius(lens) * z
        pixels = torch.where((x * x + y * y < radius * radius)[..., None], pixels, torch.nan)
    return torch.cat((pixels, points[..., 2:]), -1)

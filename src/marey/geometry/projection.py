"""From the world to pixels and back, for every lens that `Cameras` holds.

Broadcasting: the batch dimensions of the cameras are the *leading* dimensions of the points, each equal or 1; what
follows is free. Cameras (V,) take points (V, T, P, J, 3), or (1, T, P, J, 3) for points that all views share; one
camera () takes any shape. Cameras are brought to the precision of the points.

Derivatives are analytic where a function's name says jacobian. All functions are differentiable in the points and in
the cameras; a missing point (NaN) or one behind the camera gives NaN and contributes no gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.core import Cameras, ShapeError
from marey.geometry.distortion import Warp, distort_components, distort_warp, lens_of, undistort_warp


def world_to_camera(points: Tensor, cameras: Cameras) -> Tensor:
    """Move points (..., 3) from the world into the frame of each camera: `R x + t`, metres.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the points do not begin with the cameras' batch dimensions.
    """
    rotation, translation = cameras.extrinsics
    rows = rotation.to(points.dtype) @ _columns(points, cameras, 3) + translation.to(points.dtype)[..., None]
    return _restore(rows, points)


def camera_to_world(points: Tensor, cameras: Cameras) -> Tensor:
    """Move points (..., 3) from the frame of each camera into the world: `R^T (x - t)`, metres.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the points do not begin with the cameras' batch dimensions.
    """
    rotation, translation = cameras.extrinsics
    centred = _columns(points, cameras, 3) - translation.to(points.dtype)[..., None]
    return _restore(rotation.to(points.dtype).transpose(-1, -2) @ centred, points)


def project(points: Tensor, cameras: Cameras) -> Tensor:
    """Project world points (..., 3), metres, to distorted pixels (..., 2).

    Equals `cv2.projectPoints` and `cv2.fisheye.projectPoints`, skew included. Nothing is cut at the border of the
    image, and a point beyond the fold of the distortion polynomial lands where the polynomial says.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the points do not begin with the cameras' batch dimensions.
    """
    return project_from_camera(world_to_camera(_filled(points), cameras), cameras, seen=points.isfinite().all(-1))


def project_from_camera(points: Tensor, cameras: Cameras, *, seen: Tensor | None = None) -> Tensor:
    """Project points (..., 3) given in each camera's own frame to distorted pixels (..., 2).

    Args:
        points: metres, z forward; NaN where z is not positive.
        cameras: intrinsics suffice.
        seen: (...) points that are not missing; for callers that filled the missing ones with zeros.
    """
    x, y, z = _columns(points, cameras, 3).unbind(-2)
    front = z > 0
    z = torch.where(front, z, 1.0)
    x, y = torch.where(front, x, 0.0) / z, torch.where(front, y, 0.0) / z
    u, v = _to_pixels(*distort_components(x, y, lens_of(cameras, x.dtype)), cameras)
    pixels = _restore(torch.stack((u, v), -2), points)
    valid = front.reshape(pixels.shape[:-1])
    if seen is not None:
        valid = valid & seen
    return torch.where(valid[..., None], pixels, torch.nan)


def project_with_jacobian(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project world points (..., 3) and return pixels (..., 2) and d pixel / d point (..., 2, 3), pixels per metre.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the points do not begin with the cameras' batch dimensions.
    """
    rotation, _ = cameras.extrinsics
    pixels, jacobian = project_from_camera_with_jacobian(world_to_camera(points, cameras), cameras)
    spread = rotation.to(points.dtype).reshape(*rotation.shape[:-2], *(1,) * (pixels.ndim - rotation.ndim + 1), 3, 3)
    return pixels, jacobian @ spread


def project_from_camera_with_jacobian(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project points (..., 3) in each camera's frame; return pixels (..., 2) and d pixel / d point (..., 2, 3).

    Everything is NaN where the point is missing or not in front of the camera.
    """
    x, y, z = _columns(points, cameras, 3).unbind(-2)
    near = torch.where(z > 0, z, torch.nan).reciprocal()
    x, y = x * near, y * near
    warp = distort_warp(x, y, lens_of(cameras, x.dtype))
    u, v = _to_pixels(warp.x, warp.y, cameras)
    fx, skew, _, fy, _ = _intrinsics(cameras, x.dtype)
    ux, uy = (fx * warp.xx + skew * warp.yx) * near, (fx * warp.xy + skew * warp.yy) * near
    vx, vy = fy * warp.yx * near, fy * warp.yy * near
    rows = torch.stack((u, v, ux, uy, -(ux * x + uy * y), vx, vy, -(vx * x + vy * y)), -2)
    flat = _restore(rows, points)
    return flat[..., :2], flat[..., 2:].reshape(*flat.shape[:-1], 2, 3)


def reprojection_error(points: Tensor, pixels: Tensor, cameras: Cameras) -> Tensor:
    """Distance (...) in pixels between world points (..., 3) projected into the cameras and pixels (..., 2) seen there.

    NaN where either is missing or the point lies behind the camera.

    Raises:
        CalibrationError: the cameras have no extrinsics.
        ShapeError: the points do not begin with the cameras' batch dimensions.
    """
    return (project(points, cameras) - pixels).square().sum(-1).sqrt()


def distort(normalised: Tensor, cameras: Cameras) -> Tensor:
    """Apply the lens to ideal normalised coordinates (..., 2), which are x / z and y / z in the camera's frame."""
    x, y = _columns(normalised, cameras, 2).unbind(-2)
    return _restore(torch.stack(distort_components(x, y, lens_of(cameras, x.dtype)), -2), normalised)


def undistort(distorted: Tensor, cameras: Cameras) -> Tensor:
    """Take the lens out of distorted normalised coordinates (..., 2).

    Newton's method with the analytic derivative, at most eight steps (some four times the cost of `distort` each). NaN
    where it does not converge or where the solution lies beyond the fold of the polynomial, that is where no point in
    front of the lens has that image. Once differentiable, in the coordinates and in the coefficients.
    """
    warp, valid = _undistort(distorted, cameras)
    points = _restore(torch.stack((warp.x, warp.y), -2), distorted)
    return torch.where(valid.reshape(*points.shape[:-1], 1), points, torch.nan)


def undistort_pixels(pixels: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Move pixels (..., 2) to where the ideal pinhole camera with the same intrinsics sees them.

    Returns:
        The ideal pixels (..., 2), NaN where `undistort` gives NaN, and d ideal / d given (..., 2, 2), which carries a
        covariance: `J C J^T`. The derivative is a constant to autograd.
    """
    if cameras.distortion.shape[-1] == 0:
        rows = _columns(pixels, cameras, 2)
        ideal = _restore(rows.expand(*_joined(rows, cameras), *rows.shape[-2:]), pixels)
        return ideal, torch.eye(2, dtype=pixels.dtype, device=pixels.device).expand(*ideal.shape, 2)
    warp, valid = _undistort(pixels_to_normalised(pixels, cameras), cameras)
    u, v = _to_pixels(warp.x, warp.y, cameras)
    fx, skew, _, fy, _ = _intrinsics(cameras, pixels.dtype)
    # A J A^-1 with A = [[fx, skew], [0, fy]]
    top_x, top_y = fx * warp.xx + skew * warp.yx, fx * warp.xy + skew * warp.yy
    low_x, low_y = fy * warp.yx, fy * warp.yy
    rows = torch.stack(
        (u, v, top_x / fx, (top_y - top_x * skew / fx) / fy, low_x / fx, (low_y - low_x * skew / fx) / fy), -2
    )
    flat = _restore(torch.where(valid[..., None, :], rows, torch.nan), pixels)
    return flat[..., :2], flat[..., 2:].reshape(*flat.shape[:-1], 2, 2)


def normalised_to_pixels(normalised: Tensor, cameras: Cameras) -> Tensor:
    """Apply the intrinsic matrix alone, no lens, to normalised coordinates (..., 2)."""
    x, y = _columns(normalised, cameras, 2).unbind(-2)
    return _restore(torch.stack(_to_pixels(x, y, cameras), -2), normalised)


def invertible_share(cameras: Cameras, *, samples: int = 48) -> Tensor:
    """Share (V,) of the image's points, its border included, that have an ideal counterpart in front of the lens.

    Below 1 the distortion polynomial folds within the image: two directions meet in one pixel, and what lies beyond
    cannot be undistorted.

    Args:
        cameras: (V,) with image sizes.
        samples: points along each side of the image.
    """
    precise = cameras.to(torch.float64)
    along = torch.linspace(0, 1, samples, dtype=torch.float64, device=precise.image_size.device)
    grid = torch.cartesian_prod(along, along) * precise.image_size[..., None, :] - 0.5
    ideal = undistort(pixels_to_normalised(grid, precise), precise)
    return ideal.isfinite().all(-1).double().mean(-1)


def pixels_to_normalised(pixels: Tensor, cameras: Cameras) -> Tensor:
    """Undo the intrinsic matrix alone, no lens: pixels (..., 2) to (distorted) normalised coordinates (..., 2)."""
    u, v = _columns(pixels, cameras, 2).unbind(-2)
    fx, skew, cx, fy, cy = _intrinsics(cameras, u.dtype)
    y = (v - cy) / fy
    return _restore(torch.stack(((u - cx - skew * y) / fx, y), -2), pixels)


def pixels_to_rays(pixels: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """The rays in the world that pixels (..., 2) see, lens taken out.

    Returns:
        Origins (..., 3), the optical centres in metres, and directions (..., 3) of unit length; NaN directions where
        a pixel is missing or has no ideal counterpart.

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    rotation, _ = cameras.extrinsics
    ideal = undistort(pixels_to_normalised(pixels, cameras), cameras)
    forward = torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1)
    turned = _restore(rotation.to(pixels.dtype).transpose(-1, -2) @ _columns(forward, cameras, 3), forward)
    directions = turned * turned.square().sum(-1, keepdim=True).rsqrt()
    centers = cameras.centers.to(pixels.dtype)
    free = (1,) * (directions.ndim - centers.ndim)
    return centers.reshape(*centers.shape[:-1], *free, 3).expand_as(directions), directions


def _undistort(distorted: Tensor, cameras: Cameras) -> tuple[Warp, Tensor]:
    x, y = _columns(distorted, cameras, 2).unbind(-2)
    return undistort_warp(x, y, cameras)


def _columns(points: Tensor, cameras: Cameras, size: int) -> Tensor:
    """Points (batch, free..., size) as (batch, size, N): rows of components, the free dimensions flattened."""
    batch = cameras.batch_shape
    leading = points.shape[: len(batch)]
    if points.shape[-1:] != (size,) or points.ndim <= len(batch):
        raise ShapeError(f"points: expected {(*batch, '...', size)} for these cameras, got {tuple(points.shape)}")
    if any(have not in (1, need) and need != 1 for have, need in zip(leading, batch, strict=True)):
        raise ShapeError(
            f"points: expected the leading dimensions {batch} of the cameras (or 1), got {tuple(points.shape)}; "
            "points[None] shares points among all views"
        )
    free = math.prod(points.shape[len(batch) : -1])  # -1 would be ambiguous where there are no cameras
    return points.reshape(*leading, free, size).transpose(-1, -2)


def _joined(rows: Tensor, cameras: Cameras) -> tuple[int, ...]:
    """The batch shape of the points spread over that of the cameras."""
    return tuple(need if have == 1 else have for have, need in zip(rows.shape, cameras.batch_shape, strict=False))


def _restore(rows: Tensor, points: Tensor) -> Tensor:
    """Components (batch, size, N) back as (batch, free..., size), the free dimensions those of `points`."""
    batch = rows.shape[:-2]
    return rows.transpose(-1, -2).reshape(*batch, *points.shape[len(batch) : -1], rows.shape[-2])


def _filled(points: Tensor) -> Tensor:
    return torch.where(points.isfinite().all(-1, keepdim=True), points, 0.0)


def _intrinsics(cameras: Cameras, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """fx, skew, cx, fy, cy, each (batch, 1)."""
    K = cameras.intrinsics.to(dtype)[..., None, :, :]
    return K[..., 0, 0], K[..., 0, 1], K[..., 0, 2], K[..., 1, 1], K[..., 1, 2]


def _to_pixels(x: Tensor, y: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    fx, skew, cx, fy, cy = _intrinsics(cameras, x.dtype)
    return torch.addcmul(torch.addcmul(cx, skew, y), fx, x), torch.addcmul(cy, fy, y)

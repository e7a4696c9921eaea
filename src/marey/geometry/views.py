"""Change what a camera sees: crops, resized, flipped and turned images, and virtual cameras that look at a box.

Image positions follow the house: pixel centres at integers, so an image spans -0.5 to width - 0.5, and resizing by s
maps u to (u + 0.5) s - 0.5. A box given by its corners uses the same positions: the whole image is the box
(-0.5, -0.5, width - 0.5, height - 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, ShapeError
from marey.geometry.distortion import distort_components, fold_radius, lens_of
from marey.geometry.projection import normalised_to_pixels, pixels_to_normalised, undistort

_TOLERATED_DIFFERENCE = 0.02


def crop_cameras(cameras: Cameras, corners: Tensor) -> Cameras:
    """The cameras of images cropped to boxes.

    Args:
        cameras: batch shape (...).
        corners: (..., F..., 4) left, top, right, bottom in pixels; F are free dimensions, several crops per camera.

    Returns:
        Cameras (..., F...) whose images are as large as the boxes; the lens stays.
    """
    wide = spread_cameras(cameras, corners.shape[:-1])
    corners = corners.to(cameras.dtype)
    shift = -corners[..., :2] - 0.5
    return _rescale(wide, torch.ones_like(shift), shift, corners[..., 2:] - corners[..., :2])


def resize_cameras(cameras: Cameras, size: Tensor | tuple[int, int]) -> Cameras:
    """The cameras of resized images; `size` is the new width and height, (2,) or (..., 2).

    Raises:
        CalibrationError: the calibration does not state the size of its images.
    """
    _require_sizes(cameras, "resize")
    new = torch.as_tensor(size, device=cameras.device).to(cameras.dtype).expand_as(cameras.image_size)
    scale = new / cameras.image_size.to(cameras.dtype)
    return _rescale(cameras, scale, (scale - 1) / 2, new)


def flip_cameras(cameras: Cameras) -> Cameras:
    """The cameras of horizontally flipped images in a mirrored world.

    Where `cameras` see (x, y, z) at (u, v), the result sees (-x, y, z) at (width - 1 - u, v). The world is mirrored
    once for all views, so they stay consistent; without extrinsics the mirrored frame is the camera's own.

    Raises:
        CalibrationError: the calibration does not state the size of its images.
    """
    _require_sizes(cameras, "flip")
    intrinsics = cameras.intrinsics.clone()
    intrinsics[..., 0, 1] *= -1
    intrinsics[..., 0, 2] = cameras.image_size[..., 0] - 1 - intrinsics[..., 0, 2]
    # what points along x turns its sign: p2, s1, s2 and the tilt about y
    signs = torch.tensor([1.0, 1, 1, -1, 1, 1, 1, 1, -1, -1, 1, 1, 1, -1]).to(cameras.distortion)
    flipped = replace(
        cameras,
        intrinsics=intrinsics,
        distortion=_unless_fisheye(cameras, cameras.distortion * signs[: cameras.distortion.shape[-1]]),
    )
    if cameras.rotation is None or cameras.translation is None:
        return flipped
    mirror = torch.tensor([-1.0, 1.0, 1.0]).to(cameras.rotation)
    return replace(
        flipped, rotation=mirror[:, None] * cameras.rotation * mirror, translation=mirror * cameras.translation
    )


def rotate_cameras_90(cameras: Cameras, turns: int = 1) -> Cameras:
    """The cameras of images turned counter-clockwise by `turns` quarters, as `numpy.rot90` turns them.

    The camera rolls about its optical axis. Without extrinsics its frame is understood to roll with the image.

    Raises:
        CalibrationError: the image size is unknown, or the lens has skew or a tilted sensor (no such lens turned by a
            quarter is one of the same model).
    """
    _require_sizes(cameras, "turn")
    tilted = cameras.distortion[..., 12:].any()
    if cameras.intrinsics[..., 0, 1].any() or tilted:
        raise CalibrationError("cannot turn a camera with skew or a tilted sensor; undistort the images first")
    for _ in range(turns % 4):
        cameras = _quarter_turn(cameras)
    return cameras


def look_at(cameras: Cameras, pixels: Tensor, *, focal: Tensor, size: tuple[int, int]) -> tuple[Cameras, Tensor]:
    """Virtual pinhole cameras at the same place whose optical axis passes through given pixels, without roll.

    Args:
        cameras: batch shape (...).
        pixels: (..., F..., 2) positions in the distorted image that move to the centre; F are free dimensions.
        focal: (..., F...) focal length of the virtual cameras, pixels.
        size: width and height of the virtual images.

    Returns:
        The virtual cameras (..., F...), without a lens, and the homography (..., F..., 3, 3) that takes ideal pixels
        (lens taken out) of the given cameras to virtual pixels. NaN where `undistort` gives NaN.
    """
    wide = spread_cameras(cameras, pixels.shape[:-1])
    turn = turn_to(undistort(pixels_to_normalised(pixels.to(cameras.dtype), cameras), cameras))
    middle = (torch.tensor(size, device=cameras.device, dtype=cameras.dtype) - 1) / 2
    zero, one = torch.zeros_like(turn[..., 0, 0]), torch.ones_like(turn[..., 0, 0])
    focal = focal.to(cameras.dtype).expand_as(one)
    rows = ((focal, zero, middle[0] * one), (zero, focal, middle[1] * one), (zero, zero, one))
    intrinsics = torch.stack([torch.stack(row, -1) for row in rows], -2)
    virtual = Cameras(
        intrinsics=intrinsics,
        distortion=wide.distortion[..., :0],
        image_size=torch.tensor(size).to(wide.image_size).expand_as(wide.image_size),
        rotation=None if wide.rotation is None else turn @ wide.rotation,
        translation=None if wide.translation is None else (turn @ wide.translation[..., None])[..., 0],
        names=wide.names,
    )
    return virtual, intrinsics @ turn @ _inverse_intrinsics(wide.intrinsics)


def look_at_boxes(
    cameras: Cameras, corners: Tensor, *, size: tuple[int, int], margin: float = 1.0
) -> tuple[Cameras, Tensor]:
    """Virtual cameras that look at the centres of boxes and just hold the boxes in their images.

    Args:
        cameras: batch shape (...).
        corners: (..., F..., 4) left, top, right, bottom in pixels of the distorted image.
        size: width and height of the virtual images.
        margin: how much larger than the box the field of view is, as a factor.

    Returns:
        As `look_at`.
    """
    corners = corners.to(cameras.dtype)
    left, top, right, bottom = corners.unbind(-1)
    across, down = (left + right) / 2, (top + bottom) / 2
    rim = ((left, top), (across, top), (right, top), (right, down), (right, bottom), (across, bottom), (left, bottom))
    outline = torch.stack([torch.stack(point, -1) for point in (*rim, (left, down))], -2)
    centre = torch.stack((across, down), -1)
    turn = turn_to(undistort(pixels_to_normalised(centre, cameras), cameras))
    ideal = undistort(pixels_to_normalised(outline, cameras), cameras)
    seen = torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1) @ turn.transpose(-1, -2)
    extent = (seen[..., :2] / seen[..., 2:]).abs().amax(-2) * margin
    half = torch.tensor(size, device=cameras.device, dtype=cameras.dtype) / 2
    return look_at(cameras, centre, focal=(half / extent).amin(-1), size=size)


def warp_grid(cameras: Cameras, homography: Tensor, *, size: tuple[int, int]) -> Tensor:
    """Where each pixel of a virtual image lies in the distorted image, for `torch.nn.functional.grid_sample`.

    Args:
        cameras: of the distorted images, batch shape (...).
        homography: (..., F..., 3, 3) from `look_at`, ideal pixels to virtual pixels.
        size: width and height of the virtual image.

    Returns:
        (..., F..., height, width, 2) for `align_corners=False`; 2, outside of every image, where the virtual camera
        looks behind the camera or beyond the fold of its lens.

    Raises:
        CalibrationError: the calibration does not state the size of its images.
    """
    _require_sizes(cameras, "sample")
    width, height = size
    v, u = (torch.arange(n, dtype=homography.dtype, device=homography.device) for n in (height, width))
    v, u = torch.meshgrid(v, u, indexing="ij")
    virtual = torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3)
    free = homography.ndim - 2 - len(cameras.batch_shape)
    rays = virtual @ (_inverse_intrinsics_free(cameras, free) @ _adjugate(homography)).transpose(-1, -2)
    x, y, z = rays.flatten(len(cameras.batch_shape), -2).unbind(-1)
    front = z > 0
    z = torch.where(front, z, 1.0)
    x, y = x / z, y / z
    lens = lens_of(cameras, x.dtype)
    if lens.radial is not None:
        front = front & (x * x + y * y < fold_radius(lens).square())
    pixels = normalised_to_pixels(torch.stack(distort_components(x, y, lens), -1), cameras)
    extent = cameras.image_size.to(x.dtype)[..., None, :]
    grid = torch.where(front[..., None], (2 * pixels + 1) / extent - 1, 2.0)
    return grid.reshape(*homography.shape[:-2], height, width, 2)


def fit_to_image(cameras: Cameras, sizes: Tensor, names: Sequence[str]) -> tuple[Cameras, tuple[str, ...]]:
    """Adapt a calibration to views of slightly other size: scaled to the width, centred in height.

    Args:
        cameras: (V,).
        sizes: (V, 2) width and height of the views; NaN where unknown, then that view is taken as calibrated.
        names: of the views, for the messages.

    Returns:
        The cameras, and one sentence that states the mapping for every view that was changed.

    Raises:
        CalibrationError: a size differs by more than 2 %.
    """
    sizes = torch.as_tensor(sizes, device=cameras.device).to(cameras.dtype)
    calibrated = cameras.image_size.to(cameras.dtype)
    if sizes.shape != calibrated.shape or len(names) != len(sizes):
        raise ShapeError(f"sizes: expected {tuple(calibrated.shape)} and as many names, got {tuple(sizes.shape)}")
    target = torch.where(sizes.isnan(), calibrated, sizes)
    known = torch.where(calibrated.isnan(), target, calibrated)
    for name, (width, height), (old_width, old_height) in zip(names, target.tolist(), known.tolist(), strict=True):
        if max(abs(width / old_width - 1), abs(height / old_height - 1)) > _TOLERATED_DIFFERENCE:
            turned = " Width and height look swapped: check the rotation flag." if width == old_height else ""
            raise CalibrationError(
                f"view '{name}': its images are {width:.0f}x{height:.0f} and its calibration is for "
                f"{old_width:.0f}x{old_height:.0f}; more than {_TOLERATED_DIFFERENCE:.0%} apart. Give the calibration "
                f"of these images, or resize the calibration with resize_cameras.{turned}"
            )
    same = (target == known).all(-1, keepdim=True) | target.isnan().any(-1, keepdim=True)
    scale = torch.where(same, 1.0, target[..., :1] / known[..., :1])
    # the calibrated image, scaled to the width, is centred on the view: (v + 0.5) s - 0.5 + (height - s old_height) / 2
    shift = torch.where(same, 0.0, (target - scale * known + scale - 1) / 2)
    notes = tuple(
        _mapping(name, new, old, 1 / s, -offset / s)
        for name, new, old, (s,), (_, offset), (kept,) in zip(
            names, target.tolist(), known.tolist(), scale.tolist(), shift.tolist(), same.tolist(), strict=True
        )
        if not kept
    )
    return _rescale(cameras, scale.expand_as(shift), shift, target), notes


def spread_cameras(cameras: Cameras, batch: Sequence[int]) -> Cameras:
    """Repeat cameras (...) over the free dimensions F of the batch shape (..., F...), without copying.

    Raises:
        ShapeError: the batch shape does not begin with that of the cameras.
    """
    own = cameras.batch_shape
    free = len(batch) - len(own)
    if free < 0 or any(have not in (1, need) for have, need in zip(own, batch, strict=False)):
        raise ShapeError(f"expected a shape that begins with the cameras' {own}, got {tuple(batch)}")

    def spread(value: Tensor) -> Tensor:
        trailing = value.shape[len(own) :]
        return value.reshape(*own, *(1,) * free, *trailing).expand(*batch, *trailing)

    return cameras if tuple(batch) == own else replace(cameras, names=()).map(spread)


def _mapping(name: str, new: list[float], old: list[float], scale: float, offset: float) -> str:
    return (
        f"view '{name}' is {new[0]:.0f}x{new[1]:.0f} and was calibrated at {old[0]:.0f}x{old[1]:.0f}: scaled to the "
        f"width and centred in height, u = {scale:.4f} u' {(scale - 1) / 2:+.1f}, v = {scale:.4f} v' {offset:+.1f}"
    )


def _rescale(cameras: Cameras, scale: Tensor, shift: Tensor, size: Tensor) -> Cameras:
    """Cameras of images whose pixels are `scale u + shift`, (..., 2) each."""
    first = scale[..., :, None] * cameras.intrinsics[..., :2, :]
    moved = torch.cat((first[..., :2], first[..., 2:] + shift[..., None]), -1)
    intrinsics = torch.cat((moved, cameras.intrinsics[..., 2:, :].expand(*moved.shape[:-2], 1, 3)), -2)
    return replace(cameras, intrinsics=intrinsics, image_size=size.to(cameras.image_size.dtype))


def _quarter_turn(cameras: Cameras) -> Cameras:
    """(u, v) becomes (v, width - 1 - u), in the camera's frame (x, y) becomes (y, -x)."""
    K, size = cameras.intrinsics, cameras.image_size
    intrinsics = K.clone()
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = K[..., 1, 1], K[..., 0, 0]
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = K[..., 1, 2], size[..., 0] - 1 - K[..., 0, 2]
    order = torch.tensor([0, 1, 3, 2, 4, 5, 6, 7, 10, 11, 8, 9, 12, 13], device=cameras.device)
    signs = torch.tensor([1.0, 1, -1, 1, 1, 1, 1, 1, 1, 1, -1, -1, 1, 1]).to(cameras.distortion)
    terms = cameras.distortion.shape[-1]
    turned = cameras.distortion[..., order[:terms]] * signs[:terms]
    result = replace(
        cameras, intrinsics=intrinsics, image_size=size.flip(-1), distortion=_unless_fisheye(cameras, turned)
    )
    if cameras.rotation is None or cameras.translation is None:
        return result
    roll = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]).to(cameras.rotation)
    return replace(result, rotation=roll @ cameras.rotation, translation=cameras.translation @ roll.T)


def _unless_fisheye(cameras: Cameras, distortion: Tensor) -> Tensor:
    """The changed coefficients; a fisheye lens is round and keeps its own."""
    if cameras.fisheye is None:
        return distortion
    return torch.where(cameras.fisheye[..., None], cameras.distortion, distortion)


def turn_to(ideal: Tensor) -> Tensor:
    """The rotation (..., 3, 3), camera to virtual camera, that brings the ray of (x, y) (..., 2) onto the optical axis.

    The new x axis stays perpendicular to the old y axis, so a picture that was upright stays so.
    """
    x, y = ideal.unbind(-1)
    one = torch.ones_like(x)
    flat, full = (1 + x * x).rsqrt(), (1 + x * x + y * y).rsqrt()
    across = (flat, torch.zeros_like(x), -x * flat)
    ahead = (x * full, y * full, one * full)
    down = (
        ahead[1] * across[2] - ahead[2] * across[1],
        ahead[2] * across[0] - ahead[0] * across[2],
        ahead[0] * across[1] - ahead[1] * across[0],
    )
    return torch.stack([torch.stack(row, -1) for row in (across, down, ahead)], -2)


def _inverse_intrinsics(K: Tensor) -> Tensor:
    return _adjugate(K) / (K[..., 0, 0] * K[..., 1, 1])[..., None, None]


def _inverse_intrinsics_free(cameras: Cameras, free: int) -> Tensor:
    """Inverse intrinsics (..., 1..., 3, 3) that broadcast over free dimensions."""
    inverse = _inverse_intrinsics(cameras.intrinsics)
    return inverse.reshape(*cameras.batch_shape, *(1,) * free, 3, 3)


def _adjugate(matrix: Tensor) -> Tensor:
    """The inverse up to the determinant, whose sign is positive for what is used here."""
    a, b, c = matrix.unbind(-2)
    return torch.stack((torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)), -1)


def _require_sizes(cameras: Cameras, verb: str) -> None:
    if cameras.image_size.isnan().any():
        raise CalibrationError(f"cannot {verb} images of unknown size; set image_size of the cameras")

"""Stored training crops: the part of an image that training will ever need of one person, small and undistorted.

MeTRAbs reads such crops instead of whole images: the camera is turned upright towards the middle of the person's box,
its lens is taken out, and what is kept is the box with room for the turns, zooms and shifts of training. The camera of
the crop is exact: it sees every point of the world where the crop shows it.

    crops = plan_crops(cameras, boxes, up=(0, 0, 1))
    pixels = render_crop(image, crops, 0)

Boxes are left, top, width, height in pixels whose centres are integers; as in the original a whole image is the box
(0, 0, width, height).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError, ShapeError
from marey.data.boxes import box_centers, boxes_around, boxes_of_points, expand_boxes, intersect_boxes
from marey.data.colour import balance_white, from_linear, to_linear
from marey.data.masks import Mask, component_of_box
from marey.geometry.projection import pixels_to_normalised, project_from_camera, undistort
from marey.geometry.views import warp_grid

Array = npt.NDArray[Any]
Up = tuple[float, float, float]

_OUTSIDE = 16
"""Pixels around the part of an image that a crop reads, for its interpolation."""


@dataclass(frozen=True, kw_only=True)
class CropRule:
    """How much around a person is kept, how large, and how its pixels are made; the defaults are MeTRAbs's (2020)."""

    turn: bool = True
    """Whether the camera turns towards the box; otherwise it keeps its direction."""
    longest: float = 1.5 * 256
    """Pixels: the longer side of the box in the crop, unless that enlarges it by more than `most_scale`."""
    most_scale: float = 1.2
    room: float = 1.1 / 0.85**2
    """Times the side of the square around the box turned by 30 degrees: shifts of training, a rim, and zooming out."""
    further_room: float = 1.0
    """1.8 where training shows parts of people (`h36m_partial`)."""
    antialias: int = 2
    """Rendered so many times as large, then averaged."""
    gamma: float = 2.2
    """The exponent from stored values to light, in which is interpolated."""
    brighten: float = 1.0
    """A further exponent of the result; 0.67 for MPI-INF-3DHP."""
    white_balance: bool = False
    """Whether the green of MPI-INF-3DHP's studio is taken out."""
    cubic: bool = True
    """Bicubic, else bilinear."""
    least_mask: float = 32 / 255
    """A pixel of the crop is in the mask if more of it was."""
    one_part: bool = True
    """Whether of a mask only the connected part stays that fits the box best."""


_TURNED_BY = math.pi / 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Crops:
    """Of R people, each in the image of one camera."""

    sources: Cameras
    """(R,) of the images, with their sizes; those that had no place in the world are its origin."""
    cameras: Cameras
    """(R,) of the crops, at the same places, without a lens; the image size is that of the crop."""
    boxes: Array
    """(R, 4) of the people in their crops, pixels."""
    homographies: Tensor
    """(R, 3, 3) from the source's ideal pixels (lens taken out) to the crop's."""
    rule: CropRule

    def __len__(self) -> int:
        return len(self.boxes)

    def size(self, row: int) -> tuple[int, int]:
        """Width and height of a crop in pixels."""
        width, height = self.cameras.image_size[row].tolist()
        return int(width), int(height)

    def points(self, pixels: Array) -> Array:
        """Where pixels (R, N, 2) of the sources lie in the crops; NaN where the lens cannot be undone."""
        return moved_pixels(pixels, self.sources, self.cameras)


def flat_cameras(sizes: Array) -> Cameras:
    """Cameras (R,) for images of widths and heights (R, 2) whose real ones nobody knows: a pixel is a unit."""
    count = len(sizes)
    eye = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    return Cameras(
        intrinsics=eye,
        distortion=eye.new_zeros(count, 0),
        image_size=torch.as_tensor(np.asarray(sizes, dtype=np.float64)),
    )


def plan_crops(cameras: Cameras, boxes: Array, *, up: Up | None = None, rule: CropRule | None = None) -> Crops:
    """Say what the crop of each person shows.

    Args:
        cameras: (R,) of the images, with their sizes; double precision is used throughout.
        boxes: (R, 4) left, top, width, height in the images.
        up: What is up in the world; None: against the y axis of each camera.
        rule: Of the crop; None: MeTRAbs's.

    Raises:
        ShapeError: there are not as many boxes as cameras.
        InputError: a box is not finite, has no area, or lies outside of its image; the message names it.
    """
    rule, boxes = rule or CropRule(), np.asarray(boxes, dtype=np.float64)
    if cameras.batch_shape != boxes.shape[:-1] or boxes.shape[1:] != (4,):
        raise ShapeError(f"boxes: expected one (4,) for each of the cameras {cameras.batch_shape}, got {boxes.shape}")
    _check(np.isfinite(boxes).all(-1) & (boxes[:, 2:] > 0).all(axis=-1), boxes, "it is no box")
    sources = placed(cameras.to(torch.float64))
    turned = upright_towards(sources, box_centers(boxes), up=up) if rule.turn else _without_lens(sources)
    seen = boxes_of_points(moved_pixels(_side_middles(boxes), sources, turned))
    whole = np.concatenate([np.zeros_like(boxes[:, :2]), _numpy(sources.image_size)], axis=-1)
    kept = intersect_boxes(_with_room(seen, rule), boxes_of_points(moved_pixels(_corners(whole), sources, turned)))
    _check((kept[:, 2:] > 0).all(-1), boxes, "it lies outside of the image, or where the lens cannot be undone")
    scale = np.minimum(rule.most_scale, rule.longest / seen[:, 2:].max(-1))[:, None]
    crops = _cut_and_scaled(turned, kept, scale)
    return Crops(
        sources=sources,
        cameras=crops,
        boxes=boxes_of_points(moved_pixels(_side_middles(boxes), sources, crops)),
        homographies=crops.intrinsics @ _turns(sources, crops) @ _inverse(sources.intrinsics),
        rule=rule,
    )


def upright_towards(cameras: Cameras, pixels: Array, *, up: Up | Tensor | None = None) -> Cameras:
    """Cameras (R,) at the same places whose axes meet what pixels (R, 2) show, without roll and without a lens.

    The intrinsic matrices stay.

    Args:
        cameras: (R,) with extrinsics.
        pixels: (R, 2) in the images, lens included.
        up: What is up in the world, one for all or (R, 3); None: against the y axis of each camera.
    """
    own, _ = cameras.extrinsics
    ideal = undistort(pixels_to_normalised(torch.as_tensor(pixels, dtype=own.dtype), cameras), cameras)
    ahead = (torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1)[..., None, :] @ own)[..., 0, :]
    above = -own[..., 1, :] if up is None else torch.as_tensor(up, dtype=own.dtype).expand_as(ahead)
    z = torch.nn.functional.normalize(ahead, dim=-1)
    x = torch.nn.functional.normalize(torch.linalg.cross(z, above), dim=-1)
    return _without_lens(cameras, torch.stack((x, torch.linalg.cross(z, x), z), -2))


def render_crop(image: Image, crops: Crops, row: int) -> Image:
    """The pixels (H, W, 3) of one crop; black where the image has none.

    Args:
        image: (height, width, 3) of the crop's source.
        crops: R crops.
        row: Which of them.

    Raises:
        ShapeError: the image has another size than the source's camera says.
    """
    rule = crops.rule
    light = _warped(image, crops, row, lambda part: to_linear(part, rule.gamma))
    as_stored = rule.gamma == rule.brighten == 1
    stored = (
        np.rint(255 * light.clip(0, 1)).astype(np.uint8)
        if as_stored
        else from_linear(light, rule.brighten / rule.gamma)
    )
    return balance_white(stored) if rule.white_balance else stored


def render_mask(mask: Array, crops: Crops, row: int) -> Mask:
    """The mask (H, W) of the person in one crop; empty if there is none.

    Args:
        mask: (height, width) in the crop's source, booleans or 8 bits; of several people it may hold all.
        crops: R crops.
        row: Which of them.

    Raises:
        ShapeError: the mask has another size than the source's camera says.
    """
    largest = 1.0 if mask.dtype == np.bool_ else 255.0
    share = _warped(mask.view(np.uint8), crops, row, lambda part: part.astype(np.float32) / largest, cubic=False)
    inside = np.asarray(share > crops.rule.least_mask)
    return component_of_box(inside, crops.boxes[row]) if crops.rule.one_part else inside


def _warped(
    image: Array, crops: Crops, row: int, prepare: Callable[[Array], Array], *, cubic: bool | None = None
) -> Array:
    """Sample an image for a crop, `antialias` times as large, and average; only the part that it reads is prepared."""
    rule = crops.rule
    width, height = crops.sources.image_size[row].tolist()
    if image.shape[:2] != (height, width):
        raise ShapeError(f"image: its camera says {width:.0f} x {height:.0f} pixels, got {image.shape[1::-1]}")
    x, y = _places(crops, row)
    left, right = _span(x, image.shape[1])
    top, bottom = _span(y, image.shape[0])
    part = prepare(image[top:bottom, left:right])
    interpolation = cv2.INTER_CUBIC if (rule.cubic if cubic is None else cubic) else cv2.INTER_LINEAR
    sampled = cv2.remap(part, x - left, y - top, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    if rule.antialias == 1:
        return np.asarray(sampled)
    return np.asarray(cv2.resize(sampled, crops.size(row), interpolation=cv2.INTER_AREA))


def _places(crops: Crops, row: int) -> tuple[Array, Array]:
    """Columns and rows (H a, W a) of the source for the pixels of a crop rendered `a` times as large; float32."""
    return source_places(crops.sources[row], crops.cameras[row], size=crops.size(row), antialias=crops.rule.antialias)


def source_places(
    source: Cameras, target: Cameras, *, size: tuple[int, int], antialias: int = 1
) -> tuple[Array, Array]:
    """Where each pixel of a picture lies in another, taken from the same place.

    Args:
        source: () of the picture that is sampled.
        target: () of the picture that is made, without a lens; its rotation may mirror.
        size: Width and height of that.
        antialias: How many times larger it is rendered.

    Returns:
        Columns and rows (height a, width a), float32.
    """
    a = antialias
    larger = torch.tensor([[a, 0, (a - 1) / 2], [0, a, (a - 1) / 2], [0, 0, 1]], dtype=torch.float64)
    wanted, turn = larger @ target.intrinsics, _turns(source, target)
    size = (a * size[0], a * size[1])
    if source.fisheye is None and source.intrinsics[0, 1] == 0:  # the usual camera, of which OpenCV makes maps fast
        lens = _numpy(source.distortion) if source.distortion.numel() else None
        return cv2.initUndistortRectifyMap(
            _numpy(source.intrinsics), lens, _numpy(turn), _numpy(wanted), size, cv2.CV_32FC1
        )
    grid = warp_grid(source, wanted @ turn @ _inverse(source.intrinsics), size=size)
    pixels = _numpy(((grid + 1) * source.image_size - 1) / 2).astype(np.float32)
    return np.ascontiguousarray(pixels[..., 0]), np.ascontiguousarray(pixels[..., 1])


def _span(places: Array, size: int) -> tuple[int, int]:
    """First and last but one pixel along an axis that a warp reads, at least one."""
    low, high = np.floor(places.min()) - _OUTSIDE, np.ceil(places.max()) + _OUTSIDE
    first = int(np.clip(low, 0, size - 1))
    return first, int(np.clip(high, first + 1, size))


def _with_room(boxes: Array, rule: CropRule) -> Array:
    """Squares (R, 4) around boxes (R, 4): as large as the boxes when turned, and the rule's room."""
    sine, cosine = math.sin(_TURNED_BY), math.cos(_TURNED_BY)
    width, height = boxes[:, 2], boxes[:, 3]
    side = np.maximum(cosine * width + sine * height, cosine * height + sine * width)[:, None]
    return expand_boxes(boxes_around(box_centers(boxes), side), rule.room * rule.further_room)


def _side_middles(boxes: Array) -> Array:
    """(R, 4, 2) of boxes (R, 4)."""
    unit = np.array([[-0.5, 0], [0, -0.5], [0.5, 0], [0, 0.5]])
    points: Array = box_centers(boxes)[:, None] + unit * boxes[:, None, 2:]
    return points


def _corners(boxes: Array) -> Array:
    """(R, 4, 2) of boxes (R, 4)."""
    unit = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    points: Array = box_centers(boxes)[:, None] + unit * boxes[:, None, 2:]
    return points


def moved_pixels(pixels: Array, old: Cameras, new: Cameras) -> Array:
    """Where pixels (R, N, 2) of cameras (R,) lie in others at the same place without a lens; NaN if unseen."""
    ideal = undistort(pixels_to_normalised(torch.as_tensor(pixels, dtype=torch.float64), old), old)
    rays = torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1) @ _turns(old, new).mT
    moved: Array = _numpy(project_from_camera(rays, new))
    return moved


def _turns(old: Cameras, new: Cameras) -> Tensor:
    """(R, 3, 3) from the frames of cameras to those of others."""
    turns: Tensor = new.extrinsics[0] @ old.extrinsics[0].mT
    return turns


def placed(cameras: Cameras) -> Cameras:
    """The cameras, with their own frame for the world if they know none."""
    if cameras.has_extrinsics:
        return cameras
    eye = torch.eye(3, dtype=torch.float64).expand(*cameras.batch_shape, 3, 3)
    return replace(cameras, rotation=eye, translation=eye.new_zeros(*cameras.batch_shape, 3))


def _without_lens(cameras: Cameras, rotation: Tensor | None = None) -> Cameras:
    """Ideal cameras at the same places, turned if a rotation (R, 3, 3), world to camera, is given."""
    rotation = cameras.extrinsics[0] if rotation is None else rotation
    return Cameras(
        intrinsics=cameras.intrinsics,
        distortion=cameras.distortion[..., :0],
        image_size=cameras.image_size,
        rotation=rotation,
        translation=-(rotation @ cameras.centers[..., None])[..., 0],
    )


def _cut_and_scaled(cameras: Cameras, kept: Array, scale: Array) -> Cameras:
    """Cameras of what boxes (R, 4) keep, scaled (R, 1) about the image's origin, as the original does it."""
    shifted = cameras.intrinsics.clone()
    shifted[:, :2, 2] -= torch.from_numpy(kept[:, :2])
    shifted[:, :2] *= torch.from_numpy(scale)[..., None]
    sizes = np.maximum(1, np.round(scale * kept[:, 2:]))
    return replace(cameras, intrinsics=shifted, image_size=torch.from_numpy(sizes))


def _check(good: npt.ArrayLike, boxes: Array, why: str) -> None:
    if len(bad := np.flatnonzero(~np.asarray(good))):
        raise InputError(f"boxes: {len(bad)} cannot be cropped; row {bad[0]} is {boxes[bad[0]].tolist()}: {why}")


def _inverse(intrinsics: Tensor) -> Tensor:
    """Of upper triangular matrices (R, 3, 3)."""
    inverse: Tensor = torch.linalg.solve_triangular(intrinsics, torch.eye(3).to(intrinsics), upper=True)
    return inverse


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array

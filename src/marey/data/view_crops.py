"""Crops of people in calibrated views as Learnable Triangulation cuts them, and what the cameras of the crops see.

The camera keeps its place and its direction: the lens is taken out, the box is cut, the cut is resized. All boxes are
(R, 4) left, top, right, bottom in whole pixels of the image without its lens, right and bottom the first outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError
from marey.data.boxes import boxes_of_points
from marey.data.square_boxes import cut_out, scale_boxes, spans_to_edges, square_boxes
from marey.geometry import distort, undistort
from marey.geometry.projection import normalised_to_pixels, pixels_to_normalised

Array = npt.NDArray[Any]

_MOST_SIDE = 1 << 14
"""Pixels: a box that is larger after the lens is taken out lies where the lens has next to no inverse."""


@dataclass(frozen=True, kw_only=True)
class ViewCropRule:
    """How boxes become crops; the defaults are ours."""

    size: tuple[int, int] = (384, 384)
    """Width and height of the crops in pixels."""
    square: bool = True
    """Whether boxes are made square first: the shorter side is widened."""
    scale: float = 1.0
    """Times the (square) box."""
    straighten: bool = True
    """Whether the lens is taken out of the picture. False: the crop is cut from the picture as it is."""
    half_pixels: bool = True
    """Pixels of the cut and of the crop correspond by their centres, as resizing has it. Published: coordinates are
    multiplied by the ratio of the sizes."""
    reduce: bool = False
    """Whether images of which crops show 2, 4 or 8 times as many pixels as they have are decoded so many times smaller.
    Edges are then moved to multiples of that number."""

    def __post_init__(self) -> None:
        if min(self.size) < 1 or not 0 < self.scale < np.inf:
            raise InputError(f"crops: expected a size of 1 or more and a scale above 0, got {self.size}, {self.scale}")


def crop_edges(boxes: Array, cameras: Cameras, rule: ViewCropRule) -> Array:
    """The part (R, 4) of each image that a crop shows.

    A box without a finite number, without an area, or where the lens cannot be undone gives four equal edges of 0.

    Args:
        boxes: (R, 4) left, top, width, height in pixels of the images as they are.
        cameras: (R,) of the images.
        rule: Of the crops.
    """
    straight = _straight_boxes(boxes, cameras) if _bends(cameras, rule) else boxes
    known = np.nan_to_num(straight, nan=0.0)
    good: Array = np.all((known[:, 2:] >= 1) & (np.abs(known[:, 2:]) < _MOST_SIDE), axis=-1)
    edges = np.rint(spans_to_edges(np.where(good[:, None], known, 0.0))).astype(np.int64)
    edges = square_boxes(edges) if rule.square else edges
    return on_grid(np.where(good[:, None], scale_boxes(edges, rule.scale), 0), rule)


def on_grid(edges: Array, rule: ViewCropRule) -> Array:
    """The parts (R, 4) with edges at multiples of their reductions, as large as before or a little larger."""
    step = reductions(edges, rule)[:, None]
    low = edges[:, :2] // step * step
    return np.concatenate((low, low + -(-(edges[:, 2:] - edges[:, :2]) // step) * step), axis=-1)


def reductions(edges: Array, rule: ViewCropRule) -> Array:
    """(R,) how many times smaller the images may be decoded for their crops: 1, 2, 4 or 8."""
    if not rule.reduce:
        return np.ones(len(edges), dtype=np.int64)
    times = ((edges[:, 2:] - edges[:, :2]) // np.array(rule.size)).min(-1)
    steps: Array = np.array([1, 2, 4, 8])[np.searchsorted([2, 4, 8], times, side="right")]
    return steps


def _bends(cameras: Cameras, rule: ViewCropRule) -> bool:
    return rule.straighten and not cameras.is_pinhole


def _straight_boxes(boxes: Array, cameras: Cameras) -> Array:
    """The hulls (R, 4) of the middles and corners of the sides, where the camera without its lens would see them."""
    unit = np.array([[x, y] for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0) if (x, y) != (0.5, 0.5)])
    points = torch.from_numpy(boxes[:, None, :2] + unit * boxes[:, None, 2:]).double() - 0.5  # edges lie between pixels
    exact = cameras.to(torch.float64)
    ideal = normalised_to_pixels(undistort(pixels_to_normalised(points, exact), exact), exact)
    return boxes_of_points(ideal.numpy() + 0.5)


def crop_projections(cameras: Cameras, edges: Array, rule: ViewCropRule) -> Tensor:
    """Projections (R, 3, 4) from the world to pixels of the crops, double precision; zeros for crops without an area.

    Args:
        cameras: (R,) of the images.
        edges: (R, 4) of `crop_edges`.
        rule: Of the crops.

    Raises:
        CalibrationError: the cameras' places are unknown.
    """
    exact = cameras.to(torch.float64)
    rotation, translation = exact.extrinsics
    low, side = torch.from_numpy(edges[:, :2]).double(), torch.from_numpy(edges[:, 2:] - edges[:, :2]).double()
    ratio = torch.tensor(rule.size, dtype=torch.float64) / side.clamp_min(1)
    intrinsics = exact.intrinsics.clone()
    intrinsics[:, :2, 2] -= low
    half = 0.5 if rule.half_pixels else 0.0
    intrinsics[:, :2, 2] += half
    intrinsics[:, :2] *= ratio[:, :, None]
    intrinsics[:, :2, 2] -= half
    projections = intrinsics @ torch.cat((rotation, translation[..., None]), dim=-1)
    return torch.where((side > 0).all(-1)[:, None, None], projections, 0.0)


def cut_view(image: Image, edges: Array, camera: Cameras, rule: ViewCropRule, *, reduction: int = 1) -> Image:
    """The crop (height, width, 3) of one person, black where the image has nothing.

    The cut is made at the image's own scale, bicubic where a lens is taken out, and then resized by areas.

    Args:
        image: (H, W, 3), of any strides; only what the crop shows is copied.
        edges: (4,) with an area, in pixels of the image as the camera knows it.
        camera: () of the image.
        rule: Of the crops.
        reduction: How many times smaller than the camera knows it the image is; it divides the edges.
    """
    bent = rule.straighten and not camera.is_pinhole
    cut = _straightened(image, edges, camera, reduction) if bent else cut_out(image, edges // reduction)
    resized: Image = cv2.resize(cut, rule.size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return resized


def _straightened(image: Image, edges: Array, camera: Cameras, reduction: int) -> Image:
    places = lens_places(edges, camera, reduction).astype(np.float32, copy=False)
    straight: Image = cv2.remap(np.ascontiguousarray(image), places, None, cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    return straight


def lens_places(edges: Array, camera: Cameras, reduction: int = 1) -> Array:
    """Where the pixels (height, width, 2) of a part (4,) of the image without its lens lie in the image itself.

    Args:
        edges: Left, top, right, bottom.
        camera: () of the image.
        reduction: How many times smaller both images are; it divides the edges.
    """
    exact = _reduced(camera.to(torch.float64), reduction)
    left, top, right, bottom = (edges // reduction).tolist()
    if exact.fisheye is None and exact.intrinsics[0, 1] == 0:  # the usual camera, of which OpenCV makes maps fast
        wanted = exact.intrinsics.clone()
        wanted[:2, 2] -= wanted.new_tensor((left, top))
        matrix, lens, size = exact.intrinsics.numpy(), exact.distortion.numpy(), (right - left, bottom - top)
        return np.asarray(cv2.initUndistortRectifyMap(matrix, lens, None, wanted.numpy(), size, cv2.CV_32FC2)[0])
    rows, columns = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
    pixels = torch.stack((columns, rows), dim=-1).reshape(-1, 2).double()
    moved = normalised_to_pixels(distort(pixels_to_normalised(pixels, exact), exact), exact)
    return np.asarray(moved.reshape(*rows.shape, 2).numpy())


def _reduced(camera: Cameras, reduction: int) -> Cameras:
    """The camera of an image that is so many times smaller."""
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2, 2] += 0.5
    intrinsics[:2] /= reduction
    intrinsics[:2, 2] -= 0.5
    return replace(camera, intrinsics=intrinsics)


def with_h36m_lenses(cameras: Cameras) -> Cameras:
    """Cameras (...) whose k1 k2 p1 p2 [k3] are meant in Human3.6M's form, in OpenCV's.

    Human3.6M's tangential part is (x, y) (p1 y + p2 x) + (p2, p1) r^2, whose first term OpenCV counts twice; it is
    OpenCV's of half the coefficients and a thin prism of the other half.

    Raises:
        InputError: there are fisheye cameras, or lenses of more coefficients.
    """
    count = cameras.distortion.shape[-1]
    if count == 0:
        return cameras
    if cameras.fisheye is not None or count > 5:
        raise InputError(f"lens: Human3.6M's form has k1 k2 p1 p2 [k3], got {count} coefficients; use OpenCV's")
    k1, k2, p1, p2, k3 = torch.nn.functional.pad(cameras.distortion, (0, 5 - count)).unbind(-1)
    none = torch.zeros_like(k1)
    terms = (k1, k2, p1 / 2, p2 / 2, k3, none, none, none, p2 / 2, none, p1 / 2, none)
    return replace(cameras, distortion=torch.stack(terms, dim=-1))

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
from marey.data.prepare.undistortion import Formula, source_pixels
from marey.data.square_boxes import cut_out, scale_boxes, spans_to_edges, square_boxes
from marey.geometry import distort, undistort
from marey.geometry.projection import normalised_to_pixels, pixels_to_normalised

Array = npt.NDArray[Any]

_OUTSIDE = 4
"""Pixels around the part of an image that a warp reads, for its interpolation."""
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
    formula: Formula = "opencv"
    """Of the lens; `h36m`: Human3.6M's own tangential form, which the published preparation uses."""
    half_pixels: bool = True
    """Pixels of the cut and of the crop correspond by their centres, as resizing has it. Published: coordinates are
    multiplied by the ratio of the sizes."""

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
    return np.where(good[:, None], scale_boxes(edges, rule.scale), 0)


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


def cut_view(image: Image, edges: Array, camera: Cameras, rule: ViewCropRule) -> Image:
    """The crop (height, width, 3) of one person, black where the image has nothing.

    The cut is made at the image's own scale, bicubic where a lens is taken out, and then resized by areas.

    Args:
        image: (H, W, 3), of any strides; only what the crop shows is copied.
        edges: (4,) with an area.
        camera: () of the image.
        rule: Of the crops.
    """
    cut = _straightened(image, edges, camera, rule) if _bends(camera, rule) else cut_out(image, edges)
    resized: Image = cv2.resize(cut, rule.size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return resized


def _straightened(image: Image, edges: Array, camera: Cameras, rule: ViewCropRule) -> Image:
    places = lens_places(edges, camera, rule)
    (left, top), (right, bottom) = (
        np.clip(bound, 0, image.shape[1::-1])
        for bound in (np.floor(places.min((0, 1))) - _OUTSIDE, np.ceil(places.max((0, 1))) + _OUTSIDE + 1)
    )
    part = np.ascontiguousarray(image[int(top) : int(bottom), int(left) : int(right)])
    if not part.size:
        return np.zeros((*places.shape[:2], 3), dtype=np.uint8)
    moved = (places - (int(left), int(top))).astype(np.float32)
    straight: Image = cv2.remap(part, moved, None, cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    return straight


def lens_places(edges: Array, camera: Cameras, rule: ViewCropRule) -> Array:
    """Where the pixels (height, width, 2) of the part (4,) of the image without its lens lie in the image itself."""
    left, top, right, bottom = (int(edge) for edge in edges)
    size, exact = (right - left, bottom - top), camera.to(torch.float64)
    if rule.formula == "h36m":
        return np.asarray(source_pixels(_moved(exact, left, top), size, formula="h36m") + np.array([left, top]))
    if exact.fisheye is None and exact.intrinsics[0, 1] == 0:  # the usual camera, of which OpenCV makes maps fast
        matrix = exact.intrinsics.numpy()
        wanted = _moved(exact, left, top).intrinsics.numpy()
        lens = exact.distortion.numpy()
        places = cv2.initUndistortRectifyMap(matrix, lens, None, wanted, size, cv2.CV_32FC2)[0]
        return np.asarray(places)
    rows, columns = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
    pixels = torch.stack((columns, rows), dim=-1).reshape(-1, 2).double()
    moved = normalised_to_pixels(distort(pixels_to_normalised(pixels, exact), exact), exact)
    return np.asarray(moved.numpy()).reshape(size[1], size[0], 2)


def _moved(camera: Cameras, left: int, top: int) -> Cameras:
    """The camera of an image that begins elsewhere."""
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2, 2] -= intrinsics.new_tensor((left, top))
    return replace(camera, intrinsics=intrinsics)

"""Images without the distortion of their lens, same intrinsics: maps once a camera, then a remap an image."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Cameras, Image, InputError
from marey.geometry import distort

Formula = Literal["h36m", "opencv"]
"""Human3.6M's own tangential form, which Learnable Triangulation uses, or OpenCV's."""


class UndistortionMaps(NamedTuple):
    """Where each pixel of the straight image lies in the distorted one, in OpenCV's fixed-point form."""

    whole: npt.NDArray[np.int16]
    """(height, width, 2) pixels."""
    fraction: npt.NDArray[np.uint16]
    """(height, width) index of the interpolation."""


def source_pixels(camera: Cameras, size: tuple[int, int], *, formula: Formula) -> npt.NDArray[np.float64]:
    """Where each pixel of the straight image lies in the distorted one, (height, width, 2) pixels.

    Human3.6M's form: with m = (x, y) and r^2 = x^2 + y^2, m (1 + k1 r^2 + k2 r^4 + k3 r^6) + m (p1 y + p2 x) +
    (p2, p1) r^2. OpenCV counts the middle term twice; on Human3.6M's cameras the two differ by up to about half a
    pixel, in the corners.

    Args:
        camera: One, without batch dimensions.
        size: Width and height of both images.
        formula: Of the lens.

    Raises:
        InputError: the camera has a batch dimension, or a lens that Human3.6M's form does not know.
    """
    if camera.batch_shape:
        raise InputError(f"camera: expected one, got the batch {camera.batch_shape}; index it")
    width, height = size
    exact = camera.to(torch.float64)
    focal = exact.intrinsics.diagonal()[:2]
    centre = exact.intrinsics[:2, 2]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = (torch.stack((columns, rows), dim=-1).to(torch.float64) - centre) / focal
    if formula == "opencv":
        moved = distort(points.reshape(-1, 2), exact).reshape(points.shape)
    else:
        moved = _distort_h36m(points, exact)
    pixels: npt.NDArray[np.float64] = (moved * focal + centre).numpy()
    return pixels


def _distort_h36m(points: Tensor, camera: Cameras) -> Tensor:
    if camera.fisheye is not None or camera.distortion.shape[-1] not in (0, 4, 5):
        raise InputError("formula: Human3.6M's form takes k1 k2 p1 p2 [k3]; pass formula='opencv' for this lens")
    k1, k2, p1, p2, k3 = torch.nn.functional.pad(camera.distortion, (0, 5 - camera.distortion.shape[-1])).tolist()
    x, y = points.unbind(-1)
    square = x * x + y * y
    radial = 1 + square * (k1 + square * (k2 + square * k3))
    factor = radial + p1 * y + p2 * x
    return torch.stack((x * factor + p2 * square, y * factor + p1 * square), dim=-1)


def undistortion_maps(camera: Cameras, size: tuple[int, int], *, formula: Formula) -> UndistortionMaps:
    """The maps for `undistort_image`; arguments and errors as `source_pixels`."""
    pixels = source_pixels(camera, size, formula=formula).astype(np.float32)
    whole, fraction = cv2.convertMaps(pixels, None, cv2.CV_16SC2)
    return UndistortionMaps(whole.astype(np.int16, copy=False), fraction.astype(np.uint16, copy=False))


def undistort_image(image: Image, maps: UndistortionMaps) -> Image:
    """The straight image, bicubic, black where the distorted one does not reach.

    Raises:
        InputError: the image has another size than the maps.
    """
    if image.shape[:2] != maps.fraction.shape:
        height, width = maps.fraction.shape
        raise InputError(f"image: expected {width} x {height} pixels as the maps, got {image.shape[1::-1]}")
    straight: Image = cv2.remap(image, maps.whole, maps.fraction, cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    return straight


def without_lens(cameras: Cameras) -> Cameras:
    """The cameras (...) of straight images."""
    return replace(cameras, distortion=cameras.distortion.new_zeros(*cameras.batch_shape, 0), fisheye=None)

"""Square crops around people, as the programs that fit bodies make them: a box of equal sides becomes the crop.

The middle of the box comes to `size / 2`, its side to `size` pixels: `x_crop = (x - x_middle) size / side + size / 2`,
as in HierarchicalProbabilistic3DHuman (with 1.2 times the person's side) and in mmhuman3d's programs, such as 3DNBF.
Images are red green blue as elsewhere; pixel centres lie at integers.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import InputError, ShapeError
from marey.data.boxes import box_centers, boxes_around

Array = npt.NDArray[Any]


def square_spans(boxes: Array, scale: float = 1.0) -> Array:
    """Boxes (..., 4) of left, top, width, height made square about their middles: `scale` times the longer side."""
    return boxes_around(box_centers(boxes), scale * boxes[..., 2:].max(-1, keepdims=True))


def crop_matrices(boxes: Array, size: int) -> Array:
    """Affine maps (..., 2, 3) from pixels of an image to those of a crop.

    Args:
        boxes: (..., 4) left, top, width, height; of a box that is not square each side becomes `size`.
        size: Side of the crop in pixels.

    Raises:
        InputError: a box is not finite or has no area.
    """
    if not (np.isfinite(boxes).all() and (boxes[..., 2:] > 0).all()):
        raise InputError("boxes: expected finite numbers and an area, to make crops of; leave other people out")
    scale = size / boxes[..., 2:]
    matrices = np.zeros((*boxes.shape[:-1], 2, 3))
    matrices[..., [0, 1], [0, 1]] = scale
    matrices[..., 2] = size / 2 - scale * box_centers(boxes)
    return matrices


def crop_points(points: Array, matrices: Array) -> Array:
    """Where pixels (..., J, 2) of images lie in their crops, by maps (..., 2, 3)."""
    moved: Array = points @ np.swapaxes(matrices[..., :2], -1, -2) + matrices[..., None, :, 2]
    return moved


def crop_image(image: Array, matrix: Array, size: int, *, nearest: bool = False) -> Array:
    """Cut a crop (size, size, ...) out of an image (H, W, ...); what lies outside of the image is 0.

    Args:
        image: Of 8 bits or floating-point numbers.
        matrix: (2, 3) from the image to the crop.
        size: Side in pixels.
        nearest: Whether the nearest pixel is taken, as for masks, instead of a bilinear mean.

    Raises:
        ShapeError: it is no image, or no such map.
    """
    if image.ndim not in (2, 3) or not image.size or matrix.shape != (2, 3):
        raise ShapeError(
            f"expected an image (H, W, ...) and a map (2, 3), got {image.shape} and {matrix.shape}; crop one at a time"
        )
    flags = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT))


def outside_image(matrix: Array, image_size: tuple[int, int], size: int) -> npt.NDArray[np.bool_]:
    """Which pixels (size, size) of a crop show no part of an image of `image_size`, width and height."""
    places = (np.arange(size) - matrix[:, 2][:, None]) / matrix[[0, 1], [0, 1]][:, None]
    out = (places < -0.5) | (places > np.array(image_size)[:, None] - 0.5)
    found: npt.NDArray[np.bool_] = out[1][:, None] | out[0]
    return found

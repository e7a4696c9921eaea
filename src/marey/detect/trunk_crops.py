"""Square crops of images, and whole images made small, for a network: no aliasing, and pixels that map back exactly.

Squares are (..., 4) left, top, right, bottom of the pixels' outer edges, in the coordinates of pixel centres: the first
pixel of an image reaches from -0.5 to 0.5. A crop of whole pixels is then resampled as an area is, so that pixel x of
a crop of s pixels, made of a square with the left edge l and the side S, shows `l + (x + 0.5) S / s`.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from marey.core import Image

_LEAST_SIDE = 2.0
"""Pixels of an image; smaller squares show nothing."""
_GREY = (124, 116, 104)
"""Mean colour of photographs, red green blue: what a letterbox is filled with."""


class Letterbox(NamedTuple):
    """An image made small."""

    pixels: Image
    """(h, w, 3), the sides multiples of what was asked for; the image is at its top left."""
    scale: tuple[float, float]
    """Pixels of the image per pixel of this, across and down."""


def whole_squares(squares: Tensor, size: tuple[int, int] | Tensor) -> Tensor:
    """Squares of whole pixels near squares (..., 4), moved into an image of `size` (width, height) where they fit.

    A network that has seen people cut off by the edges of pictures, but no pictures with frames around them, is shown
    the edge where possible; only what is larger than the image reaches beyond it, on both sides alike or where it was.
    """
    squares = squares.double()
    side = (squares[..., 2:] - squares[..., :2]).amax(-1, keepdim=True).clamp_min(_LEAST_SIDE).round()
    limit = torch.as_tensor(size, dtype=torch.float64)
    low = (squares[..., :2] + squares[..., 2:] - side) / 2 + 0.5
    spare = limit - side
    # the room between the edges, empty or turned around for squares that do not fit
    first, last = spare.clamp_max(0.0), spare.clamp_min(0.0)
    low = torch.minimum(torch.maximum(low, first), last).round()
    return torch.cat((low - 0.5, low + side - 0.5), -1)


def crop_squares(image: Image, squares: Tensor, side: int) -> np.ndarray:
    """Resample squares (N, 4) of whole pixels to (N, side, side, 3); beyond the image its edge goes on.

    Args:
        image: (H, W, 3) uint8.
        squares: As of `whole_squares`.
        side: Pixels of the crops.
    """
    crops = np.empty((len(squares), side, side, 3), np.uint8)
    edges = (squares + 0.5).round().long().tolist()
    for crop, (left, top, right, bottom) in zip(crops, edges, strict=True):
        crop[:] = _resized(_span(image, left, top, right, bottom), (side, side))
    return crops


def letterbox(image: Image, side: int, multiple: int) -> Letterbox:
    """Bring an image's longer side to `side` pixels, and fill up its sides to multiples with grey."""
    height, width = image.shape[:2]
    ratio = side / max(height, width)
    small = max(1, round(width * ratio)), max(1, round(height * ratio))
    pixels = np.empty((-(-small[1] // multiple) * multiple, -(-small[0] // multiple) * multiple, 3), np.uint8)
    pixels[:] = _GREY
    pixels[: small[1], : small[0]] = _resized(image, small)
    return Letterbox(pixels, (width / small[0], height / small[1]))


def to_image(points: Tensor, squares: Tensor, side: int) -> Tensor:
    """Where points (N, K, 2) of crops lie in the image that squares (N, 4) were cut out of."""
    scale = (squares[:, 2:] - squares[:, :2]) / side
    return squares[:, None, :2].to(points) + (points + 0.5) * scale[:, None].to(points)


def to_crop(points: Tensor, squares: Tensor, side: int) -> Tensor:
    """The inverse of `to_image`."""
    scale = (squares[:, 2:] - squares[:, :2]) / side
    return (points - squares[:, None, :2].to(points)) / scale[:, None].to(points) - 0.5


def _span(image: Image, left: int, top: int, right: int, bottom: int) -> Image:
    """The pixels from `left` to before `right`, with the nearest pixel of the image where there is none."""
    height, width = image.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return image[top:bottom, left:right]
    rows = np.arange(top, bottom).clip(0, height - 1)
    columns = np.arange(left, right).clip(0, width - 1)
    return np.asarray(image[rows[:, None], columns])


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """To `size` (width, height); the mean over areas where pixels are lost."""
    shrinks = size[0] < image.shape[1] or size[1] < image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=way), np.uint8)

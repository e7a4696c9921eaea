"""What surrounds the networks of the RTMPose family: crops, letterboxes, and the meaning of their outputs.

Coordinates follow the training of these networks: pixel indices are scaled without a half-pixel shift.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from marey.core import Image

Array = npt.NDArray[np.float32]

BOX_PADDING = 1.25
LETTERBOX_GREY = 114
SPLIT_RATIO = 2.0
"""SimCC bins per pixel of the network's input."""
SIMCC_BETA = 10.0
"""Factor on SimCC outputs in their training loss: the distribution meant is `softmax(10 v)`."""
SIMCC_WINDOW = 36
"""Bins to either side of the peak: three times the standard deviation of the broadest training target, twice over."""
GRID_STRIDES = (8, 16, 32)
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
"""ImageNet, red green blue."""
DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


class Crops(NamedTuple):
    """Boxes of one image, resampled to the size of a network's input."""

    pixels: npt.NDArray[np.uint8]
    """(P, height, width, 3) red green blue."""
    center: Array
    """(P, 2) of the boxes in the image."""
    extent: Array
    """(P, 2) width and height of what the crop shows, pixels of the image."""


def crop_boxes(image: Image, corners: Array, size: tuple[int, int]) -> Crops:
    """Resample boxes, enlarged by `BOX_PADDING` and to the aspect of the network's input; black outside of the image.

    Args:
        image: (height, width, 3).
        corners: (P, 4) left, top, right, bottom.
        size: width and height of the network's input.
    """
    import cv2

    width, height = size
    center = (corners[:, :2] + corners[:, 2:]) / 2
    extent = np.maximum((corners[:, 2:] - corners[:, :2]) * BOX_PADDING, 1.0)
    aspect = width / height
    wide = extent[:, 0] > extent[:, 1] * aspect
    extent = np.stack(
        (np.where(wide, extent[:, 0], extent[:, 1] * aspect), np.where(wide, extent[:, 0] / aspect, extent[:, 1])), -1
    )
    pixels = np.empty((len(corners), height, width, 3), np.uint8)
    for index, (middle, shown) in enumerate(zip(center, extent, strict=True)):
        scale = size / shown
        shift = np.array(size) / 2 - middle * scale
        matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
        pixels[index] = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)
    return Crops(pixels, center.astype(np.float32), extent.astype(np.float32))


def letterbox(image: Image, size: tuple[int, int]) -> tuple[Image, float]:
    """Shrink or enlarge an image into the top left of a grey one of (width, height); also return the scale."""
    import cv2

    width, height = size
    scale = min(height / image.shape[0], width / image.shape[1])
    small = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    framed = np.full((height, width, 3), LETTERBOX_GREY, np.uint8)
    framed[: small[1], : small[0]] = cv2.resize(image, small, interpolation=cv2.INTER_LINEAR)
    return framed, scale


def decode_simcc(along_x: Array, along_y: Array) -> tuple[Array, Array, Array]:
    """Read positions off SimCC outputs (Li et al. 2022; Jiang et al. 2023, RTMPose).

    The position is the highest bin of each axis, the score the lower of the two heights. The variance is the second
    moment about the peak, within `SIMCC_WINDOW` bins of it, of the distribution that the network was trained to
    output. It holds the width of the training target too: a relative measure, whose scale the noise model calibrates.

    Args:
        along_x: (P, J, bins).
        along_y: (P, J, bins).

    Returns:
        Positions (P, J, 2) and variances (P, J, 2) in pixels of the network's input, scores (P, J) in 0..1.
    """
    peaks = np.stack((along_x.argmax(-1), along_y.argmax(-1)), -1).astype(np.float32)
    score = np.minimum(along_x.max(-1), along_y.max(-1)).clip(0, 1)
    variance = np.stack((_second_moment(along_x), _second_moment(along_y)), -1)
    return peaks / SPLIT_RATIO, variance / SPLIT_RATIO**2, score


def _second_moment(heights: Array) -> Array:
    distance = np.arange(heights.shape[-1]) - heights.argmax(-1)[..., None]
    weight = np.exp(SIMCC_BETA * (heights - heights.max(-1, keepdims=True))) * (np.abs(distance) <= SIMCC_WINDOW)
    # a bin has the variance of the uniform distribution over its width
    return np.asarray((weight * distance**2).sum(-1) / weight.sum(-1) + 1 / 12, np.float32)


def decode_grid(raw: Array, size: tuple[int, int]) -> Array:
    """Turn the raw output (N, 5 + classes) of YOLOX (Ge et al. 2021) into boxes with the score of the first class.

    Args:
        raw: center offset, log size, objectness and class scores of every cell of every grid, finest grid first.
        size: width and height of the network's input.

    Returns:
        (N, 5) left, top, right, bottom, score, in pixels of the network's input.
    """
    width, height = size
    cells, strides = [], []
    for side in GRID_STRIDES:
        y, x = np.mgrid[: height // side, : width // side].astype(np.float32)
        cells.append(np.stack((x, y), -1).reshape(-1, 2))
        strides.append(np.full((x.size, 1), side, np.float32))
    stride = np.concatenate(strides)
    center = (raw[:, :2] + np.concatenate(cells)) * stride
    half = np.exp(raw[:, 2:4]) * stride / 2
    return np.concatenate((center - half, center + half, raw[:, 4:5] * raw[:, 5:6]), -1)


def best_boxes(boxes: Array, least_score: float, most_overlap: float) -> npt.NDArray[np.int64]:
    """Indices of the boxes (N, 5) that score enough and do not overlap a better one (greedy suppression), best first.

    Args:
        boxes: left, top, right, bottom, score.
        least_score: keep those above.
        most_overlap: intersection over union.
    """
    order = np.argsort(-boxes[:, 4], kind="stable")
    order = order[boxes[order, 4] > least_score]
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[_overlap(boxes[best], boxes[order]) <= most_overlap]
    return np.array(kept, np.int64)


def _overlap(box: Array, others: Array) -> Array:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    common = (high - low).clip(min=0).prod(-1)
    area = (others[:, 2:4] - others[:, :2]).prod(-1) + (box[2:4] - box[:2]).prod() - common
    return np.asarray(common / np.maximum(area, 1e-9), np.float32)

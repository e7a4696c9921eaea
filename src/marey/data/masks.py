"""Masks of people: the connected part that a box means, the box around a mask, and PNG files of one bit a pixel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError
from marey.data.boxes import box_iou
from marey.io.atomic import atomic_path
from marey.io.images import read_image

Mask = npt.NDArray[np.bool_]
"""(H, W)"""


def component_of_box(mask: Mask, box: npt.NDArray[Any]) -> Mask:
    """The 4-connected part of a mask (H, W) whose box has the largest intersection over union with a box (4,).

    An empty mask stays empty: what is not in the mask is no part of it, unlike in MeTRAbs's stored crops, where the
    background competes too and wins where nobody was masked. (It asks OpenCV for 4-connected parts in a way that gives
    8-connected ones; here they are 4-connected.)
    """
    count, labels, boxes, _ = _components(mask)
    if count < 2:
        return np.zeros_like(mask)
    overlap = box_iou(boxes[1:], np.asarray(box, dtype=np.float64))
    return np.asarray(labels == 1 + int(overlap.argmax()))


def largest_component(mask: Mask) -> Mask:
    """The 4-connected part of a mask (H, W) with most pixels; of an empty mask nothing."""
    count, labels, _, area = _components(mask)
    return np.asarray(labels == 1 + int(area[1:].argmax())) if count > 1 else np.zeros_like(mask)


def box_of_mask(mask: Mask) -> npt.NDArray[np.float64]:
    """Left, top, width and height of a mask (H, W) in whole pixels; zeros where it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return np.zeros(4)
    return np.array([columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1], dtype=np.float64)


def read_mask(path: str | os.PathLike[str], *, channel: int = 0, above: int = 127) -> Mask:
    """Read an image as a mask: where one of its channels (red 0, green 1, blue 2) is above a value.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no image, or a damaged one.
    """
    return np.asarray(read_image(path)[..., channel] > above)


def write_mask(path: str | os.PathLike[str], mask: Mask) -> None:
    """Write a mask (H, W) as a PNG of one bit a pixel.

    Raises:
        InputError: the file cannot be written, or this is no mask.
    """
    path = Path(path)
    if path.suffix != ".png" or mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        raise InputError(f"{path}: expected a .png and a mask (H, W) of booleans, got {mask.shape} of {mask.dtype}")
    _, encoded = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    with atomic_path(path) as temporary:
        encoded.tofile(temporary)


def _components(mask: Mask) -> tuple[int, Any, npt.NDArray[np.float64], Any]:
    """Number, labels (H, W), boxes and areas of the parts; the first is what is not in the mask."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return count, labels, statistics[:, :4].astype(np.float64), statistics[:, 4]

"""Labelled pictures at a glance: boxes and joints drawn into images, many on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image, InputError, Skeleton
from marey.viz.style import person_color

Array = npt.NDArray[Any]

_SHIFT = 4
"""Bits of the fraction of a pixel that is drawn."""
_LARGEST = 1e5
"""Pixels from the origin beyond which nothing is drawn."""
_GROUND = 24
"""Grey of what is no picture."""


@dataclass(frozen=True, kw_only=True)
class PersonMarks:
    """What is drawn of a person, in pixels of the image."""

    keypoints: Array
    """(J, 2), NaN where missing."""
    visible: Array
    """(J,) booleans: hidden joints are drawn as rings."""
    box: Array
    """(4,) left, top, width, height; NaN: none."""
    color: int = 0
    """Number of the person's colour."""


def labelled_picture(
    image: Image, people: Sequence[PersonMarks], skeleton: Skeleton, *, size: tuple[int, int]
) -> Image:
    """Show an image in full within a tile, with boxes, bones and joints.

    Args:
        image: (height, width, 3) red green blue.
        people: What is drawn.
        skeleton: Of their joints.
        size: Width and height of the tile, pixels.
    """
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    shown = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    tile = np.full((size[1], size[0], 3), _GROUND, np.uint8)
    picture = tile[: shown[1], : shown[0]]
    picture[:] = cv2.resize(image, shown, interpolation=how)
    for person in people:
        _draw(picture, person, skeleton, scale)
    return tile


def _draw(picture: Image, person: PersonMarks, skeleton: Skeleton, scale: float) -> None:
    color = person_color(person.color)
    points = _fixed((person.keypoints + 0.5) * scale - 0.5)
    left, top, width, height = person.box.tolist()
    corners = _fixed((np.array([[left, top], [left + width, top + height]]) + 0.5) * scale - 0.5)
    if all(corners):
        cv2.rectangle(picture, corners[0], corners[1], color, 1, cv2.LINE_AA, _SHIFT)
    for start, end in skeleton.links:
        if points[start] and points[end]:
            cv2.line(picture, points[start], points[end], color, 1, cv2.LINE_AA, _SHIFT)
    for point, seen in zip(points, person.visible.tolist(), strict=True):
        if point:
            radius, thickness = (2, -1) if seen else (3, 1)
            cv2.circle(picture, point, radius << _SHIFT, color, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(points: Array) -> list[tuple[int, ...]]:
    """Points (N, 2) as OpenCV takes fractions of pixels; empty for those that are missing or far away."""
    known = np.all(np.abs(points) < _LARGEST, axis=-1)
    whole = np.where(known[:, None], points * (1 << _SHIFT), 0).round().astype(int).tolist()
    return [tuple(point) if there else () for point, there in zip(whole, known.tolist(), strict=True)]


def tiled(pictures: Sequence[Image], *, columns: int) -> Image:
    """Lay pictures of one size out in rows, (rows * H, columns * W, 3).

    Raises:
        InputError: there is no picture or no column.
    """
    if not pictures or columns < 1:
        raise InputError(f"expected one or more pictures and columns, got {len(pictures)} and {columns}")
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures[0].shape[:2]
    sheet = np.full((rows, columns, height, width, 3), _GROUND, np.uint8)
    sheet.reshape(-1, height, width, 3)[: len(pictures)] = pictures
    laid: Image = np.ascontiguousarray(sheet.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3))
    return laid

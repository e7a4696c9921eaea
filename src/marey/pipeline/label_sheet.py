"""A sheet of labelled images of a data set, to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from marey.core import Image, InputError
from marey.data.labels import Labels, with_keypoints
from marey.io.images import read_image
from marey.viz.label_sheet import PersonMarks, labelled_picture, tiled

_BLANK = (480, 480)
"""Width and height that stand for an image of unknown size."""
_BLANK_GREY = 96
_TALLEST = 2.0
"""Height of a tile over its width."""


def label_sheet(labels: Labels, folder: Path, *, count: int = 24, columns: int = 6, width: int = 256) -> Image:
    """Show images from the first to the last, with the boxes and joints of everybody in them.

    Joints are projected where no keypoints are labelled. An image without a file is grey.

    Args:
        labels: What is shown.
        folder: Of the labels: their paths begin there.
        count: Images, evenly over the table; fewer where there are fewer.
        columns: Images in a row.
        width: Of each, in pixels; the height follows from the shape that the images have in the median.

    Raises:
        InputError: there are no images, or a number is not above 0.
    """
    if not len(labels.images) or min(count, columns, width) < 1:
        raise InputError(
            f"expected images to show and numbers above 0, got {len(labels.images)} images, {count}, {columns}, {width}"
        )
    chosen = np.unique(np.linspace(0, len(labels.images) - 1, count).round().astype(int))
    shown = labels.of_images(chosen)
    if shown.cameras is not None and (shown.cameras.has_extrinsics or "joints_camera" in shown.values):
        shown = with_keypoints(shown)
    images = [_picture(shown, image, folder) for image in range(len(shown.images))]
    shape = float(np.median([image.shape[0] / image.shape[1] for image in images]))
    size = width, max(1, round(width * min(shape, _TALLEST)))
    pictures = [
        labelled_picture(image, _people(shown, place), shown.skeleton, size=size) for place, image in enumerate(images)
    ]
    return tiled(pictures, columns=columns)


def _picture(labels: Labels, image: int, folder: Path) -> Image:
    path = str(labels.images.path[image])
    if path and (folder / path).is_file():
        return read_image(folder / path)
    width, height = labels.images.size[image].tolist()
    if not (width and height):
        width, height = _BLANK
    return np.full((height, width, 3), _BLANK_GREY, np.uint8)


def _people(labels: Labels, image: int) -> list[PersonMarks]:
    rows, joints = np.flatnonzero(labels.image == image), len(labels.skeleton)
    nothing = {"keypoints": (joints, 2), "box": (4,)}
    found = {name: labels.values.get(name, np.full((len(labels), *shape), np.nan)) for name, shape in nothing.items()}
    visible = labels.values.get("visible", np.ones((len(labels), joints), bool))
    return [
        PersonMarks(keypoints=found["keypoints"][row], visible=visible[row], box=found["box"][row], color=place)
        for place, row in enumerate(rows)
    ]

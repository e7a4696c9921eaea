"""Boxes of people that a detector found, by image: `yolov3_detections.pkl` and the same as JSON.

Both hold one mapping, path of an image -> list of [left, top, width, height, confidence], pixels; an image in which
nobody was found has an empty list. Pickles are read without running anybody's code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, ShapeError
from marey.io.atomic import atomic_write_text
from marey.io.text import read_text_limited
from marey.io.unpickle import restricted_load

MOST_BYTES = 4 << 30
"""Of a JSON file: detections in all the frames of the largest of these data sets take a tenth of it."""

PersonBoxes = Mapping[str, npt.NDArray[np.float64]]
"""By path with forward slashes: (N, 5) left, top, width, height in pixels, confidence."""


def read_person_boxes(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Read a detector's boxes; `.json` is JSON, every other suffix a pickle.

    Returns:
        (N, 5) by path, N may be 0; the paths as in the file, with forward slashes.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a mapping; the message names the image.
    """
    path = Path(path)
    document = _parsed(path) if path.suffix.lower() == ".json" else restricted_load(path)
    if not isinstance(document, dict):
        raise FormatError(f"{path}: expected a mapping from images to lists of boxes, got a {type(document).__name__}")
    return {_name(path, key): _boxes(path, key, value) for key, value in document.items()}


def boxes_of_image(boxes: PersonBoxes, *names: str) -> npt.NDArray[np.float64]:
    """The boxes (N, 5) of an image under the first of these names that the file knows; (0, 5) under none."""
    for name in names:
        if name in boxes:
            return boxes[name]
    return np.empty((0, 5))


def write_person_boxes(path: str | os.PathLike[str], boxes: PersonBoxes) -> None:
    """Write boxes (N, 5) by image as JSON, whatever the suffix.

    Raises:
        InputError: the file cannot be written.
        ShapeError: the boxes of an image are not (N, 5), or not finite.
    """
    for name, found in boxes.items():
        if found.ndim != 2 or found.shape[1] != 5 or not np.isfinite(found).all():
            raise ShapeError(f"boxes: '{name}': expected finite (N, 5), got {found.shape}; leave out unknown boxes")
    lists = {name: found.tolist() for name, found in boxes.items()}
    atomic_write_text(path, json.dumps(lists, ensure_ascii=False, allow_nan=False) + "\n")


def _parsed(path: Path) -> Any:
    try:
        return json.loads(read_text_limited(path, most_bytes=MOST_BYTES))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from error


def _name(path: Path, key: Any) -> str:
    if isinstance(key, bytes):
        key = key.decode("utf-8", "replace")
    if not isinstance(key, str):
        raise FormatError(f"{path}: expected paths of images as keys, got {key!r:.80}")
    return key.replace("\\", "/").removeprefix("./")


def _boxes(path: Path, key: Any, value: Any) -> npt.NDArray[np.float64]:
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: the boxes of '{key}' are no numbers: {error}") from error
    if found.size == 0:
        return np.empty((0, 5))
    if found.ndim != 2 or found.shape[1] != 5 or not np.isfinite(found).all():
        raise FormatError(
            f"{path}: '{key}': expected a list of [left, top, width, height, confidence], got {value!r:.120}"
        )
    return found

"""Boxes of a person detector for Human3.6M, in the form of Learnable Triangulation's MRCNN and SSD variants.

`extra/NAME.json` is a list of `[left, top, right, bottom, confidence]`, and `extra/NAME.txt` names the image of each,
line by line: `.../S9/Greeting-2/imageSequence/54138969/img_000001.jpg`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, InputError
from marey.data.prepare.work import Work
from marey.io.text import read_text_limited

Array = npt.NDArray[Any]
Detections = Mapping[tuple[str, str, str], tuple[Array, Array]]
"""By subject, action and camera: frames (N,) and boxes (N, 4) left, top, right, bottom, the last two outside."""

FOLDER = "extra"

_IMAGE = re.compile(r"(?:.*/)?([^/]+)/([^/]+)/imageSequence(?:-undistorted)?/(\d+)/img_(\d+)\.jpg")


def read_all_detections(root: Path, work: Work) -> Detections:
    """Read every list in the folder `extra` that names its images.

    Raises:
        MissingAssetError: there is none.
        FormatError: a list is damaged, or names another number of images than it has boxes.
        InputError: a file cannot be read.
    """
    paths = [path for path in sorted((root / FOLDER).glob("*.json")) if path.with_suffix(".txt").exists()]
    if not paths:
        work.require(root / FOLDER / "NAME.json", "list of detected boxes, with NAME.txt of their images,")
    found: dict[tuple[str, str, str], tuple[list[int], list[Array]]] = defaultdict(lambda: ([], []))
    for path in paths:
        boxes = _read_boxes(work.record(path))
        names = read_text_limited(work.record(path.with_suffix(".txt"))).split("\n")
        for (key, frame), box in zip(
            _places(path, [name for name in names if name.strip()], len(boxes)), boxes, strict=True
        ):
            found[key][0].append(frame)
            found[key][1].append(box)
    return {key: (np.array(frames), np.stack(rows)) for key, (frames, rows) in found.items()}


def _read_boxes(path: Path) -> Array:
    try:
        document = json.loads(read_text_limited(path, most_bytes=2 << 30))
        boxes = np.array(document, dtype=np.float64)
    except (FormatError, InputError):
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: not a JSON list of boxes, or cut off: {error}") from error
    if boxes.ndim != 2 or boxes.shape[1] != 5 or not np.isfinite(boxes).all():
        raise FormatError(f"{path}: expected boxes of left, top, right, bottom, confidence, got {boxes.shape}")
    # its pixels are counted with the last one; one more is the first outside
    return boxes[:, :4] + [0, 0, 1, 1]


def _places(path: Path, names: list[str], count: int) -> list[tuple[tuple[str, str, str], int]]:
    """Subject, action and camera, and the frame, of each image."""
    if len(names) != count:
        raise FormatError(f"{path}: {count} boxes, but {path.with_suffix('.txt').name} names {len(names)} images")
    matches = [_IMAGE.fullmatch(name.strip().replace("\\", "/")) for name in names]
    if bad := [name for name, match in zip(names, matches, strict=True) if match is None]:
        raise FormatError(
            f"{path.with_suffix('.txt')}: '{bad[0][:200]}' is no .../S1/ACTION/imageSequence/CAMERA/img_*.jpg"
        )
    return [((match[1], match[2], match[3]), int(match[4]) - 1) for match in matches if match]


def replaced_boxes(boxes: Array, frames: Array, detected: tuple[Array, Array] | None) -> Array:
    """Boxes (F, 4) left, top, right, bottom, with the detected ones in place of those of the same frame."""
    if detected is None:
        return boxes
    order = np.argsort(detected[0], kind="stable")
    known, rows = detected[0][order], detected[1][order]
    last = np.searchsorted(known, frames, side="right") - 1  # of several, the last counts
    there = (last >= 0) & (known[last] == frames)
    found: Array = np.where(there[:, None], rows[last], boxes)
    return found

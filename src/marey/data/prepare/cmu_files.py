"""The files of a sequence of CMU Panoptic.

171204_pose1/calibration_171204_pose1.json
171204_pose1/hdPose3d_stage1_coco19/body3DScene_00000300.json
171204_pose1/hdImgs/00_24/00_24_00000300.jpg         or hdVideos/hd_00_24.mp4, whose first frame is 0
171204_pose1/detections/00_24.json                   boxes of a person detector, a list by frame; optional
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError, InputError, skeleton
from marey.io.panoptic import camera_tables, read_panoptic
from marey.io.text import read_text_limited

Array = npt.NDArray[Any]

SKELETON = skeleton("panoptic_19")

_POSE = re.compile(r"body3DScene_(\d{8,})\.json")
_MOST_BYTES = 16 << 20


class SequenceFiles(NamedTuple):
    """Where the files of a sequence are."""

    folder: Path

    @property
    def calibration(self) -> Path:
        """Of all its cameras."""
        return self.folder / f"calibration_{self.folder.name}.json"

    @property
    def poses(self) -> Path:
        """Folder of one file a frame."""
        return self.folder / "hdPose3d_stage1_coco19"

    def pose(self, frame: int) -> Path:
        """Of one frame."""
        return self.poses / f"body3DScene_{frame:08d}.json"

    def images(self, camera: str) -> Path:
        """Folder of one camera's images."""
        return self.folder / "hdImgs" / camera

    def video(self, camera: str) -> Path:
        """Of one camera."""
        return self.folder / "hdVideos" / f"hd_{camera}.mp4"

    def detections(self, camera: str) -> Path:
        """Boxes in the images of one camera."""
        return self.folder / "detections" / f"{camera}.json"


def image_name(camera: str, frame: int) -> str:
    """Of the file."""
    return f"{camera}_{frame:08d}.jpg"


def read_hd_cameras(path: Path) -> Cameras:
    """Read the high-definition cameras (C,) of a calibration, by name, metres, float64.

    Raises:
        CalibrationError: they are not placed, or stand impossibly near or far.
        FormatError: it is not such a file, or none of the cameras is of the type `hd`.
        InputError: the file cannot be read.
    """
    kinds = [str(table.get("type", "")) for table in camera_tables(path)]
    if "hd" not in kinds:
        raise FormatError(f"{path}: no camera of the type 'hd'; there are {', '.join(sorted(set(kinds))) or 'none'}")
    cameras = read_panoptic(path, dtype=torch.float64)
    by_name = {str(table["name"]): kind for table, kind in zip(camera_tables(path), kinds, strict=True)}
    hd = [place for place, name in enumerate(cameras.names) if by_name.get(name) == "hd"]
    return cameras[sorted(hd, key=lambda place: cameras.names[place])]


def numbered_files(folder: Path, pattern: re.Pattern[str] = _POSE) -> Array:
    """The numbers (N,) in the names of a folder's files, in order.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names suffice
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    return np.array(sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name))), dtype=np.int64)


def image_frames(folder: Path, camera: str) -> Array:
    """The frames (N,) of which a camera has images; none if there is no folder."""
    if not folder.is_dir():
        return np.zeros(0, dtype=np.int64)
    return numbered_files(folder, re.compile(rf"{re.escape(camera)}_(\d{{8,}})\.jpg"))


def read_people(path: Path) -> tuple[Array, Array]:
    """Read who is in a frame: (P,) their numbers and (P, 19, 4) joints in metres with confidence.

    The frame of the joints is the dome's, y down. A joint that was not found has a confidence of 0 or less.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no pose file, is damaged, or the same person comes twice.
    """
    try:
        document = json.loads(read_text_limited(path, most_bytes=_MOST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError | InputError):
            raise
        raise FormatError(f"{path}: not a JSON file, or cut off: {error}") from error
    bodies = document.get("bodies") if isinstance(document, dict) else None
    if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
        raise FormatError(f"{path}: no list of objects under 'bodies'")
    found = [_person(path, body) for body in bodies]
    people = np.array([number for number, _ in found], dtype=np.int64)
    if len(np.unique(people)) < len(people):
        raise FormatError(f"{path}: the ids {people.tolist()} repeat; a person comes once in a frame")
    joints = np.array([points for _, points in found]).reshape(-1, len(SKELETON), 4)
    joints[..., :3] /= 100
    return people, joints


def _person(path: Path, body: dict[str, Any]) -> tuple[int, Array]:
    number = body.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise FormatError(f"{path}: a body with the id {number!r:.80}, expected a number of 0 or more")
    try:
        points = np.array(body["joints19"], dtype=np.float64)
    except (KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: body {number}: no list of numbers under 'joints19'") from error
    if points.shape != (4 * len(SKELETON),) or not np.isfinite(points).all():
        raise FormatError(f"{path}: body {number}: 'joints19': expected {4 * len(SKELETON)} finite numbers")
    return number, points.reshape(-1, 4)


def read_detections(path: Path) -> list[Array]:
    """Read boxes by frame, each (D, 5) left, top, right, bottom, confidence.

    An entry is one box, a list of boxes, or empty.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such list.
    """
    try:
        document = json.loads(read_text_limited(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError | InputError):
            raise
        raise FormatError(f"{path}: not a JSON file, or cut off: {error}") from error
    if not isinstance(document, list):
        raise FormatError(f"{path}: expected a list with an entry a frame")
    return [_boxes(path, frame, entry) for frame, entry in enumerate(document)]


def _boxes(path: Path, frame: int, entry: Any) -> Array:
    try:
        boxes = np.array(entry or [], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path}: frame {frame}: not numbers") from error
    if boxes.size % 5 or (boxes.size and boxes.shape[-1] != 5) or not np.isfinite(boxes).all():
        raise FormatError(f"{path}: frame {frame}: expected boxes of left, top, right, bottom, confidence")
    return boxes.reshape(-1, 5)

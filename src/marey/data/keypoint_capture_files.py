"""A synthetic recording as the files a user would have: OpenPose JSON folders and a camera TOML."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from marey.core import Detections2D
from marey.data.keypoint_capture import KeypointCapture
from marey.io.atomic import check_writable
from marey.io.camera_toml import write_camera_toml
from marey.io.openpose_writer import write_openpose_folder

CALIBRATION_FILE = "cameras.toml"


def write_keypoint_capture(capture: KeypointCapture, folder: str | os.PathLike[str]) -> Path:
    """Write what a user would record: `FOLDER/cam_1/*.json`, ..., and `FOLDER/cameras.toml`; not the truth.

    Keypoint files that an earlier capture left in those folders are removed.

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written.
    """
    place = check_writable(folder)
    write_camera_toml(place / CALIBRATION_FILE, capture.cameras)
    write_keypoint_folders(place, capture.cameras.names, capture.detections)
    return place


def write_keypoint_folders(folder: Path, names: Sequence[str], detections: Detections2D) -> None:
    """Write detections (V, T, P) as `FOLDER/NAME/*.json` for every view; earlier keypoint files there are removed.

    Raises:
        InputError: the folder cannot be written.
    """
    keypoints = detections.keypoints
    for view, name in enumerate(names):
        for earlier in (folder / name).glob("*_keypoints.json"):  # of a longer recording
            earlier.unlink()
        write_openpose_folder(folder / name, keypoints.positions[view].numpy(), keypoints.score[view].numpy())

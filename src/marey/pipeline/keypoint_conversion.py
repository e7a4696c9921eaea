"""Keypoints in images as a kind of thing that `marey convert` knows: those of all views of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from marey.core import InputError, Keypoints2D
from marey.io.atomic import check_writable
from marey.io.caliscope_csv import read_caliscope_csv
from marey.io.formats import FileFormat
from marey.io.human_data import write_human_data
from marey.io.keypoint_files import KeypointFile
from marey.io.openpose import read_openpose_folder
from marey.io.openpose_writer import write_openpose_folder
from marey.pipeline.conversion_parts import NOTHING_SAID, Unstated, archive_members, one_a_view, view_labels
from marey.pipeline.dataset_files import ViewKeypoints, write_coco_files

_HEAD = 1 << 16
"""Bytes of a JSON file that are looked at."""


def views_from_openpose(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The keypoints of one view, a folder of one JSON file a frame."""
    stated.only(path, "skeleton")
    return _views_of([read_openpose_folder(path, skeleton=stated.skeleton)], (path.resolve().name,))


def views_from_caliscope(path: Path, stated: Unstated = NOTHING_SAID) -> ViewKeypoints:
    """The keypoints of all views in a table."""
    stated.only(path)
    table = read_caliscope_csv(path)
    return _views_of(table.views, table.names)


def write_views_openpose(path: Path, views: ViewKeypoints) -> list[Path]:
    """Write one view as a folder of JSON files, several as such folders in a folder, as `marey estimate` takes them.

    Raises:
        InputError: a frame has a negative number.
    """
    if min(views.frames, default=0) < 0:
        raise InputError("OpenPose JSON numbers frames from 0, and here are negative image ids")
    folders = [path] if len(views.names) == 1 else [path / name for name in view_labels(views.names)]
    positions, score = views.keypoints.positions.cpu().numpy(), views.keypoints.score.cpu().numpy()
    for view, folder in enumerate(folders):
        check_writable(folder)
        for first, last in _runs(views.frames):
            part = slice(first, last)
            write_openpose_folder(folder, positions[view, part], score[view, part], first_frame=views.frames[first])
    return folders


def write_views_coco(path: Path, views: ViewKeypoints) -> list[Path]:
    """Write keypoints as COCO results, one file a view."""
    files = one_a_view(path, views.names)
    write_coco_files(files, views)
    return files


def write_views_human_data(path: Path, views: ViewKeypoints) -> list[Path]:
    """Write keypoints as HumanData, one file a view; the paths of the images are made up of view and frame."""
    people = views.keypoints.batch_shape[2]
    files = one_a_view(path, views.names)
    for view, file in enumerate(files):
        write_human_data(
            file,
            keypoints=views.keypoints[view].map(lambda tensor: tensor.flatten(0, 1)),
            image_paths=[f"{views.names[view]}/{frame:06d}" for frame in views.frames for _ in range(people)],
        )
    return files


def told_views(views: ViewKeypoints) -> str:
    """What was read, in a few words."""
    _, frames, people = views.keypoints.batch_shape
    joints = len(views.keypoints.skeleton)
    return f"{joints} keypoints of up to {people} people in {frames} frames of {', '.join(views.names)}"


def keypoint_formats_of(path: Path) -> list[str]:
    """The names in `KEYPOINT_FORMATS` that what lies at a path may have."""
    if path.is_dir():
        return ["openpose"] if any(path.glob("*.json")) else []
    end = path.suffix.lower()
    if end == ".npz":
        members = archive_members(path)
        only_images = not any(name.startswith("keypoints3d") for name in members)
        human = only_images and any(name.startswith("keypoints2d") for name in members)
        return ["videopose2d"] * ("positions_2d" in members) + ["humandata"] * human
    if end not in (".csv", ".json") or not path.is_file():
        return []
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8-sig", errors="replace").lstrip()
    if end == ".csv":
        return ["caliscope-points"] if "sync_index" in head.partition("\n")[0] else []
    if head.startswith("["):
        return ["coco"] if '"keypoints"' in head or head[1:].strip() == "]" else []
    return ["coco-annotations"] if '"images"' in head or '"annotations"' in head else []


def _views_of(files: Sequence[KeypointFile], names: tuple[str, ...]) -> ViewKeypoints:
    """Files of the same frames as the views of a recording."""
    positions = torch.from_numpy(np.stack([file.positions for file in files]))
    keypoints = Keypoints2D(
        positions=positions,
        covariance=positions.new_full((*positions.shape, 2), torch.nan),
        score=torch.from_numpy(np.stack([file.score for file in files])),
        skeleton=files[0].skeleton,
    )
    frames = tuple(files[0].frame_numbers.tolist())
    return ViewKeypoints(keypoints=keypoints, names=names, frames=frames, sizes=((0, 0),) * len(names))


def _runs(frames: Sequence[int]) -> list[tuple[int, int]]:
    """First place and last + 1 of the runs of consecutive frames."""
    breaks = [place for place, (a, b) in enumerate(pairwise(frames), start=1) if b != a + 1]
    return list(pairwise([0, *breaks, len(frames)])) if frames else []


_HERE = "marey.pipeline.keypoint_conversion"
_SETS = "marey.pipeline.dataset_conversion"
KEYPOINT_FORMATS: dict[str, FileFormat] = {
    "openpose": FileFormat(
        "OpenPose JSON: folder of .json, one a frame (BODY_25, BODY_25B, COCO, HALPE_26, MediaPipe)",
        f"{_HERE}:views_from_openpose",
        f"{_HERE}:write_views_openpose",
    ),
    "caliscope-points": FileFormat("Caliscope points xy_*.csv", f"{_HERE}:views_from_caliscope", ""),
    "coco": FileFormat(
        "COCO results: .json list, one a view", f"{_SETS}:views_from_coco", f"{_HERE}:write_views_coco", (".json",)
    ),
    "coco-annotations": FileFormat(
        "COCO annotations: person_keypoints_*.json", f"{_SETS}:views_from_coco_annotations", ""
    ),
    "videopose2d": FileFormat(
        "VideoPose3D data_2d_*.npz",
        f"{_SETS}:views_from_videopose",
        "marey.pipeline.dataset_files:write_videopose_keypoints",
    ),
    "humandata": FileFormat(
        "HumanData .npz of mmhuman3d, one a view",
        f"{_SETS}:views_from_human_data",
        f"{_HERE}:write_views_human_data",
    ),
}

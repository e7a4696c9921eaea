"""Ski-PosePTZ-Camera: alpine skiers before six cameras that pan, tilt and zoom, pictures of 256 x 256 pixels.

`labels.h5` of each split holds, a row a picture: `seq`, `cam`, `frame`, `subj`; `3D` (51), the joints in metres in the
directions of the camera; `2D` (34), in shares of the picture; `cam_intrinsic` (9), in shares of the picture too;
`cam_position` (3), metres in the world; `R_cam_2_world` (9). The joints are relative to the skier's centre, whose
place in the world is a line `SEQ FRAME X Y Z` of `ski_centers.csv`, a separate download. Without that file the skier is
placed where the projected joints fit the labelled pixels best, and the card says so.

The cameras move, so each picture has a camera of its own; `Images.view` is its number among those asked for. MetaPose
uses all six, four or two of them (specification of MetaPose, section 5). Source: Rhodin et al., "Learning monocular 3D
human pose estimation from multi-view images", CVPR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from marey.core import Cameras, FormatError, InputError
from marey.core.skeletons import skeleton
from marey.data.labels import Images, Labels, join_labels, joints_in_camera
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import picture_size, relative_path
from marey.data.prepare.extras import opened_h5
from marey.data.prepare.work import Work
from marey.geometry.absolute import place_by_projection
from marey.geometry.projection import camera_to_world, project_from_camera, world_to_camera
from marey.io.text import read_text_limited

NAME = "skipose"
VERSION = "1"
JOINTS = skeleton("h36m_17")
CAMERAS = 6

_UNPACKED = "Ski-PosePTZ-CameraDataset-png"
"""The folder in the official archive."""
_WIDTHS = {"3D": 51, "2D": 34, "cam_intrinsic": 9, "cam_position": 3, "R_cam_2_world": 9}
_CENTER_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class SkiPoseOptions:
    """What is taken of Ski-PosePTZ-Camera."""

    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    """Of the pictures, as the data set divides them."""
    cameras: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    """By number; MetaPose's smaller sets have four or two of them."""
    complete: bool = False
    """Only moments that every one of these cameras saw."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures:
    """N labelled pictures of one split."""

    sequence: Array
    camera: Array
    frame: Array
    subject: Array
    joints: Array
    """(N, 17, 3) metres in the directions of the camera, relative to the centre."""
    pixels: Array
    """(N, 17, 2) shares of the picture."""
    intrinsics: Array
    """(N, 3, 3) shares of the picture."""
    center: Array
    """(N, 3) of the cameras, metres."""
    rotation: Array
    """(N, 3, 3) camera to world."""

    def __len__(self) -> int:
        return len(self.frame)


def prepare(root: Path, out: Path, options: SkiPoseOptions, work: Work) -> Labels:
    """Prepare Ski-PosePTZ-Camera.

    Raises:
        MissingAssetError: a file of the download is absent.
        MissingDependencyError: h5py is not installed.
        InputError: a file cannot be read, or no camera or split was asked for.
        FormatError: a file is not what its format demands.
    """
    cameras = tuple(dict.fromkeys(options.cameras))
    if not options.splits or not cameras or not set(cameras) <= set(range(CAMERAS)):
        raise InputError(f"expected splits, and cameras from 0 to {CAMERAS - 1}, got {options.splits} and {cameras}")
    folder = root / _UNPACKED if (root / _UNPACKED).is_dir() else root
    centers = _centers(root, folder, work)
    parts = [_split(folder, split, cameras, centers, options, work) for split in dict.fromkeys(options.splits)]
    return replace(join_labels(parts, skeleton=JOINTS, name=NAME), version=VERSION)


def _centers(root: Path, folder: Path, work: Work) -> dict[tuple[int, int], tuple[float, float, float]] | None:
    """The place of the skier by sequence and frame; None without the file."""
    for path in (root / "ski_centers.csv", folder / "ski_centers.csv"):
        if path.exists():
            return read_centers(work.record(path))
    work.note("no ski_centers.csv, so skiers were placed where their projected joints fit the labelled pixels best.")
    return None


def read_centers(path: Path) -> dict[tuple[int, int], tuple[float, float, float]]:
    """Read `ski_centers.csv`: sequence, frame and the place of the skier in metres, separated by spaces.

    Raises:
        InputError: the file cannot be read.
        FormatError: a line is something else.
    """
    centers: dict[tuple[int, int], tuple[float, float, float]] = {}
    for number, line in enumerate(read_text_limited(path).splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            if len(words) != _CENTER_COLUMNS:
                raise ValueError(f"{len(words)} columns")
            x, y, z = map(float, words[2:])
            centers[int(words[0]), int(words[1])] = x, y, z
        except ValueError as error:
            raise FormatError(f"{path}: line {number}: expected SEQ FRAME X Y Z, got '{line[:80]}'") from error
    return centers


def _split(
    folder: Path,
    split: str,
    cameras: tuple[int, ...],
    centers: dict[tuple[int, int], tuple[float, float, float]] | None,
    options: SkiPoseOptions,
    work: Work,
) -> Labels:
    path = work.record(work.require(folder / split / "labels.h5", "label file"))
    found = _read(path)
    moment = np.unique(np.stack([found.sequence, found.frame]), axis=1, return_inverse=True)[1].reshape(-1)
    kept = np.flatnonzero(_wanted(found, moment, cameras, complete=options.complete))
    if not len(kept):
        raise InputError(f"{path}: no picture of the cameras {cameras}{' together' if options.complete else ''}")
    files = _files(folder / split, found, kept)
    work.require(files[0], "first picture")
    size = picture_size(files[0])
    rig = _cameras(found, size)[torch.from_numpy(kept)]
    keypoints = found.pixels[kept] * size
    joints = _joints(path, found, kept, rig, keypoints, centers)
    labels = Labels(
        name=NAME,
        version=VERSION,
        skeleton=JOINTS,
        images=Images(
            path=np.array([relative_path(file, work.out) for file in files], dtype=np.str_),
            size=np.broadcast_to(np.array(size), (len(kept), 2)),
            camera=np.arange(len(kept)),
            sequence=np.array([f"seq_{number:03d}" for number in found.sequence[kept].tolist()], dtype=np.str_),
            frame=found.frame[kept],
            moment=np.unique(moment[kept], return_inverse=True)[1].reshape(-1),
            view=np.array([cameras.index(number) for number in found.camera[kept].tolist()]),
        ),
        split=np.full(len(kept), split),
        image=np.arange(len(kept)),
        person=np.zeros(len(kept), dtype=np.int64),
        values={
            "joints": joints,
            "keypoints": keypoints,
            "box": np.broadcast_to(np.array([0.0, 0.0, *size]), (len(kept), 4)),
            "subject": found.subject[kept].astype(np.str_),
        },
        cameras=rig,
    )
    _tell_projection(labels, split, work)
    return labels


def _read(path: Path) -> _Pictures:
    with opened_h5(path) as file:
        if absent := [name for name in (*_WIDTHS, "seq", "cam", "frame", "subj") if name not in file]:
            raise FormatError(f"{path}: not the labels of Ski-PosePTZ-Camera: lacks {', '.join(absent)}")
        count = len(np.asarray(file["seq"]).reshape(-1))
        numbers = {name: _whole(path, name, file[name], count) for name in ("seq", "cam", "frame", "subj")}
        arrays = {name: _table(path, name, file[name], (count, width)) for name, width in _WIDTHS.items()}
    return _Pictures(
        sequence=numbers["seq"],
        camera=numbers["cam"],
        frame=numbers["frame"],
        subject=numbers["subj"],
        joints=arrays["3D"].reshape(-1, 17, 3),
        pixels=arrays["2D"].reshape(-1, 17, 2),
        intrinsics=arrays["cam_intrinsic"].reshape(-1, 3, 3),
        center=arrays["cam_position"],
        rotation=arrays["R_cam_2_world"].reshape(-1, 3, 3),
    )


def _whole(path: Path, name: str, value: Any, count: int) -> Array:
    """(N,) numbers of a column, which may be stored as fractions."""
    array = np.asarray(value).reshape(-1)
    if array.shape != (count,) or array.dtype.kind not in "fiu" or not (np.asarray(array, float) % 1 == 0).all():
        raise FormatError(f"{path}: '{name}': expected {count} whole numbers, got {array.shape} of {array.dtype}")
    return array.astype(np.int64)


def _table(path: Path, name: str, value: Any, shape: tuple[int, int]) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.size != shape[0] * shape[1]:
        raise FormatError(f"{path}: '{name}': expected {shape} numbers, got {array.shape} of {array.dtype}")
    return array.reshape(shape).astype(np.float64)


def _wanted(found: _Pictures, moment: Array, cameras: tuple[int, ...], *, complete: bool) -> Array:
    wanted = np.atleast_1d(np.isin(found.camera, cameras))
    if not complete:
        return wanted
    seen = np.zeros((int(moment.max(initial=-1)) + 1, CAMERAS), dtype=bool)
    seen[moment[wanted], found.camera[wanted]] = True
    everywhere: Array = np.logical_and.reduce(seen[:, list(cameras)], axis=1)
    return wanted & everywhere[moment]


def _files(folder: Path, found: _Pictures, rows: Array) -> list[Path]:
    numbers = zip(found.sequence[rows].tolist(), found.camera[rows].tolist(), found.frame[rows].tolist(), strict=True)
    return [
        folder / f"seq_{take:03d}" / f"cam_{camera:02d}" / f"image_{frame:06d}.png" for take, camera, frame in numbers
    ]


def _cameras(found: _Pictures, size: tuple[int, int]) -> Cameras:
    """(N,) the camera of each picture."""
    rotation = found.rotation.transpose(0, 2, 1)
    return Cameras(
        intrinsics=torch.from_numpy(found.intrinsics * np.array([[size[0]], [size[1]], [1.0]])),
        distortion=torch.zeros(len(found), 0, dtype=torch.float64),
        image_size=torch.tensor(size, dtype=torch.float64).expand(len(found), 2),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(-np.einsum("nij,nj->ni", rotation, found.center)),
        names=tuple(f"cam_{number:02d}" for number in found.camera.tolist()),
    )


def _joints(
    path: Path,
    found: _Pictures,
    rows: Array,
    rig: Cameras,
    keypoints: Array,
    centers: dict[tuple[int, int], tuple[float, float, float]] | None,
) -> Array:
    """(N, 17, 3) metres in the world."""
    relative = torch.from_numpy(found.joints[rows])
    if centers is None:
        place = place_by_projection(relative, torch.from_numpy(keypoints), rig).translation
    else:
        keys = list(zip(found.sequence[rows].tolist(), found.frame[rows].tolist(), strict=True))
        if absent := [key for key in keys if key not in centers]:
            raise FormatError(f"{path}: ski_centers.csv lacks sequence {absent[0][0]} frame {absent[0][1]}")
        world = torch.tensor([centers[key] for key in keys], dtype=torch.float64)
        place = world_to_camera(world[:, None], rig)[:, 0]
    return camera_to_world(relative + place[:, None], rig).numpy()


def _tell_projection(labels: Labels, split: str, work: Work) -> None:
    """Note how far projected joints lie from the labelled pixels: large numbers mean that something was misread."""
    assert labels.cameras is not None
    projected = project_from_camera(torch.from_numpy(joints_in_camera(labels)), labels.cameras).numpy()
    distance = np.linalg.norm(projected - labels.values["keypoints"], axis=-1)
    known = distance[np.isfinite(distance)]
    if known.size:
        work.note(f"{split}: projected joints lie {np.median(known):.2f} pixels from the labelled ones in the median.")

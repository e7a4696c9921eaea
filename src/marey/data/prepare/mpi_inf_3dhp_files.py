"""What MPI-INF-3DHP's download holds: calibrations, annotations and frames, and the cameras of its test set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError, Image, InputError
from marey.core.skeletons import skeleton
from marey.data.prepare.matlab import numbers, read_matlab
from marey.io.images import read_image
from marey.io.text import read_text_limited
from marey.io.video import VideoFrames

Array = npt.NDArray[Any]

ALL_JOINTS = skeleton("mpi_inf_3dhp_28")
JOINTS = skeleton("mpi_inf_3dhp_17")
"""As the test set has them."""
UP = (0.0, 1.0, 0.0)
"""In the world of both sets."""
ACTIVITIES = ("Stand/Walk", "Exercise", "Sit on Chair", "Reach/Crouch", "On Floor", "Sports", "Misc.")
SCENES = ("green-screen", "no-green-screen", "outdoor")
"""Of the test sequences, two each."""

_MILLIMETRE = 1e-3
_FRAME_NAME = re.compile(r"img_(\d+)_(\d{6})\.jpg")


def read_calibration(path: Path) -> Cameras:
    """Read `camera.calibration`, Skeletool's text: cameras (C,) with the sizes of their images, float64.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a file; the message names the camera.
    """
    blocks = re.split(r"(?m)^\s*name\s+", read_text_limited(path, longest_line=1 << 16))[1:]
    if not blocks:
        raise FormatError(f"{path}: no camera in it; expected Skeletool's calibration, with a line 'name' a camera")
    names, parts = [], []
    for block in blocks:
        first, _, lines = block.partition("\n")
        names.append(first.strip())
        parts.append(_camera_block(path, names[-1], lines.splitlines()))
    intrinsics, extrinsics, sizes = (torch.from_numpy(np.stack(values)) for values in zip(*parts, strict=True))
    return Cameras(
        intrinsics=intrinsics[:, :3, :3],
        distortion=intrinsics.new_zeros(len(names), 0),
        image_size=sizes,
        rotation=torch.from_numpy(_closest_rotations(extrinsics[:, :3, :3].numpy())),
        translation=extrinsics[:, :3, 3] * _MILLIMETRE,
        names=tuple(names),
    )


def _camera_block(path: Path, name: str, lines: Sequence[str]) -> tuple[Array, Array, Array]:
    """Intrinsic and extrinsic 4x4, and the size of the image."""
    words = {line.split()[0]: line.split()[1:] for line in lines if line.split()}
    try:
        values = {key: np.array(words[key], dtype=np.float64) for key in ("intrinsic", "extrinsic", "size")}
    except KeyError as error:
        raise FormatError(f"{path}: camera {name} has no line {error}") from error
    except ValueError as error:
        raise FormatError(f"{path}: camera {name}: {error}") from error
    if [len(values[key]) for key in ("intrinsic", "extrinsic", "size")] != [16, 16, 2]:
        raise FormatError(f"{path}: camera {name}: expected 16 numbers of intrinsic and extrinsic each, and 2 of size")
    turn = values["extrinsic"].reshape(4, 4)[:3, :3]
    if not all(np.isfinite(value).all() for value in values.values()) or np.abs(turn @ turn.T - np.eye(3)).max() > 0.01:
        raise FormatError(f"{path}: camera {name}: its extrinsic is no rotation, or a number is not finite")
    return values["intrinsic"].reshape(4, 4), values["extrinsic"].reshape(4, 4), values["size"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Poses:
    """One person in the T frames of a camera, metres, in the camera's frame."""

    joints: Array
    """(T, J, 3)"""
    universal: Array
    """(T, J, 3) of the skeleton of universal height."""


def read_training_poses(path: Path) -> list[Poses]:
    """Read `annot.mat` of a training sequence: 28 joints for each of its cameras.

    Raises:
        MissingDependencyError: h5py is not installed and the file is of version 7.3.
        InputError: the file cannot be read.
        FormatError: it is not such a file.
    """
    found = read_matlab(path, ("annot3", "univ_annot3"))
    metric, universal = (_cells(path, name, found[name]) for name in ("annot3", "univ_annot3"))
    if [len(poses) for poses in metric] != [len(poses) for poses in universal]:
        raise FormatError(f"{path}: 'annot3' and 'univ_annot3' are of other cameras or frames")
    return [Poses(joints=own, universal=other) for own, other in zip(metric, universal, strict=True)]


def _cells(path: Path, name: str, value: Any) -> list[Array]:
    """(T, 28, 3) metres of each camera's cell (T, 84)."""
    cells = value.reshape(-1) if isinstance(value, np.ndarray) and value.dtype == object else [value]
    count = 3 * len(ALL_JOINTS)
    arrays = [numbers(path, f"{name}{{{place}}}", cell, (-1, count)) for place, cell in enumerate(cells, 1)]
    return [array.reshape(-1, len(ALL_JOINTS), 3) * _MILLIMETRE for array in arrays]


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationPoses:
    """The frames of a test sequence that are valid, N of them."""

    frame: Array
    """(N,) from 0; its image has the number one higher."""
    poses: Poses
    """(N, 17, 3)"""
    activity: Array
    """(N,) text."""


def read_evaluation_poses(path: Path) -> EvaluationPoses:
    """Read `annot_data.mat` of a test sequence, which is HDF5 in the download.

    Raises:
        MissingDependencyError: h5py is not installed and the file is of version 7.3.
        InputError: the file cannot be read.
        FormatError: it is not such a file.
    """
    names = ("annot3", "univ_annot3", "valid_frame", "activity_annotation")
    found = read_matlab(path, names)
    joints = {name: numbers(path, name, found[name], (3, 17, 1, -1)) for name in names[:2]}
    flags = {name: numbers(path, name, np.reshape(found[name], -1), (-1,)) for name in names[2:]}
    counts = {array.shape[-1] for array in (*joints.values(), *flags.values())}
    if len(counts) != 1:
        raise FormatError(f"{path}: its variables have {', '.join(map(str, sorted(counts)))} frames; is it damaged?")
    frame = np.flatnonzero(flags["valid_frame"])
    activity = flags["activity_annotation"][frame].astype(np.int64)
    if len(bad := np.flatnonzero((activity < 1) | (activity > len(ACTIVITIES)))):
        raise FormatError(f"{path}: frame {frame[bad[0]]} has the activity {activity[bad[0]]}; expected 1 to 7")
    picked = {name: _last_first(array[..., 0, frame]) for name, array in joints.items()}
    return EvaluationPoses(
        frame=frame,
        poses=Poses(joints=picked["annot3"], universal=picked["univ_annot3"]),
        activity=np.array(ACTIVITIES)[activity - 1],
    )


def _last_first(joints: Array) -> Array:
    """(T, J, 3) metres of (3, J, T) millimetres."""
    return np.ascontiguousarray(joints.transpose(2, 1, 0)) * _MILLIMETRE


def evaluation_cameras() -> Cameras:
    """The cameras (2,) of the test sequences 1 to 4 and 5 to 6, by the values of its documentation, float64."""
    studio = _lens_camera(
        sensor=(10.0, 10.0), size=(2048, 2048), focal=7.32506, aspect=1.00044, offset=(-0.0322884, 0.0929296)
    )
    outdoor = _lens_camera(
        sensor=(10.0, 5.625),
        size=(1920, 1080),
        focal=8.770747185,
        aspect=0.993236423,
        offset=(-0.104908645, 0.104899704),
    )
    right = np.array([[0.000575281, 0.0616098, -0.9981], [-0.939647257, -0.009210289, 0.342020929]])
    up = np.array([[-0.208215, 0.976233, 0.06014], [0.025272345, 0.995038509, 0.096227370]])
    origin = np.array([[3427.28, 1387.86, 309.42], [-2104.3074, 1038.6707, -4596.6367]]) * _MILLIMETRE
    rotation = torch.from_numpy(_closest_rotations(np.stack([right, -up, np.cross(up, right)], axis=1)))
    lens = [[0.0] * 5, [-0.276859611, 0.131125256, -0.000360494, -0.001149441, -0.049318332]]
    return Cameras(
        intrinsics=torch.from_numpy(np.stack([studio, outdoor])),
        distortion=torch.tensor(lens, dtype=torch.float64),
        image_size=torch.tensor([[2048.0, 2048.0], [1920.0, 1080.0]], dtype=torch.float64),
        rotation=rotation,
        translation=-(rotation @ torch.from_numpy(origin)[..., None])[..., 0],
        names=("studio", "outdoor"),
    )


def _closest_rotations(matrices: Array) -> Array:
    """Rotations (..., 3, 3) closest to matrices that are rounded ones."""
    left, _, right = np.linalg.svd(matrices)
    rotations: Array = left @ right
    return rotations


def _lens_camera(
    *,
    sensor: tuple[float, float],
    size: tuple[int, int],
    focal: float,
    aspect: float,
    offset: tuple[float, float],
) -> Array:
    """Intrinsics in pixels of a camera given in millimetres on its sensor; the aspect stretches the rows."""
    scale = np.array(size) / np.array(sensor) * np.array([1, aspect])
    centre = np.array(sensor) / 2 + np.array(offset)
    matrix = np.diag([focal * scale[0], focal * scale[1], 1.0])
    matrix[:2, 2] = centre * scale
    return matrix


@dataclass(frozen=True, kw_only=True)
class CameraFrames:
    """The frames of one camera: a film, or images `img_CAMERA_FRAME.jpg`."""

    folder: Path
    camera: int
    """From 0."""
    first_camera: int = 0
    """The number of camera 0 in the names of images."""

    @property
    def film(self) -> Path:
        """The video of the camera, `video_CAMERA.avi`, numbered from 0 always."""
        return self.folder / f"video_{self.camera}.avi"

    def image(self, frame: int) -> Path:
        """The image of a frame."""
        return self.folder / f"img_{self.camera + self.first_camera}_{frame:06d}.jpg"

    def each(self, frames: Sequence[int]) -> Iterator[Callable[[], Image]]:
        """A function for each of some increasing frames that gives its pixels.

        Images are read when it is called, so that threads can share the work; a film is decoded here, once.

        Raises:
            InputError: there is neither a film nor the image, or the film has fewer frames.
            FormatError: an image or the film is damaged.
        """
        if not frames:
            return
        if not self.film.exists():
            for frame in frames:
                yield partial(read_image, self.image(frame))
            return
        wanted = set(frames)
        for place, image in enumerate(VideoFrames(self.film).frames(0, frames[-1] + 1)):
            if place in wanted:
                yield lambda kept=image: kept  # type: ignore[misc]


def first_camera(folder: Path) -> int:
    """The number of camera 0 in the names of a folder's images: 0, or 1 after MeTRAbs's script of extraction.

    That script numbers the cameras from 1 and writes beside the films, while everything that reads the images counts
    from 0: taken for each other, every image has the pose and camera of its neighbour. Camera 0 of all or of the usual
    eight cameras tells them apart: numbered from 1 there are 1, 2, 3, 5, 6, 7, 8, 9 and no 0.

    Raises:
        InputError: the names tell neither.
    """
    found = {int(name[1]) for path in folder.glob("img_*_*.jpg") if (name := _FRAME_NAME.fullmatch(path.name))}
    if not found or 0 in found:
        return 0
    if found in ({1, 2, 3, 5, 6, 7, 8, 9}, set(range(1, 15))):
        return 1
    raise InputError(
        f"{folder}: its images are of the cameras {', '.join(map(str, sorted(found)))}, so they may be numbered from 0 "
        "or from 1; pass --first-camera 0 or --first-camera 1"
    )

"""The sequence files of 3DPW (3D Poses in the Wild), pickles of Python 2, read as plain data.

A file holds one take: lists with an entry for each of P people, and the moving camera of T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.unpickle import restricted_load

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

GENDERS = ("m", "f")
_ORTHONORMAL = 0.02
"""Largest deviation of a camera's rotation from one; a pose that fits nobody is off by far more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pw3dSequence:
    """P people over T frames. The camera moves; it sees world points at `rotation @ x + translation`."""

    name: str
    """Of the folder of its images."""
    keypoints: Floats
    """(P, T, 18, 3) pixels and confidence of OpenPose's COCO joints; NaN pixels where the confidence is 0."""
    joints: Floats
    """(P, T, 24, 3) metres in the world, SMPL's joints."""
    poses: Floats
    """(P, T, 72) axis-angle radians, the first three the root's orientation in the world."""
    shapes: Floats
    """(P, 10)"""
    translations: Floats
    """(P, T, 3) metres."""
    genders: tuple[str, ...]
    """(P,) m or f."""
    valid: npt.NDArray[np.bool_]
    """(P, T) the camera's pose fits that person."""
    intrinsics: Floats
    """(3, 3)"""
    rotation: Floats
    """(T, 3, 3) world to camera."""
    camera_translation: Floats
    """(T, 3) world to camera, metres."""

    @property
    def seen(self) -> npt.NDArray[np.bool_]:
        """(T,) whether the camera's pose fits anybody."""
        return np.asarray(self.valid.any(0))

    @property
    def people(self) -> int:
        """How many: P."""
        return len(self.shapes)

    def __len__(self) -> int:
        """Frames: T."""
        return len(self.rotation)


def read_pw3d_sequence(path: Path) -> Pw3dSequence:
    """Read `sequenceFiles/<split>/<sequence>.pkl`. Nothing in the file is run.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such pickle, lacks an entry, or its entries do not fit together.
    """
    document = restricted_load(path)
    if not isinstance(document, dict):
        raise FormatError(f"{path}: expected a dict of a 3DPW sequence, got a {type(document).__name__}")
    cameras = _numbers(path, document, "cam_poses", (-1, 4, 4))
    people, frames = len(_list(path, document, "poses")), len(cameras)

    def each(key: str, *shape: int) -> Floats:
        return _people(path, document, key, (people, *shape))

    valid = each("campose_valid", frames) > 0
    _check_cameras(path, cameras, valid)
    genders = tuple(str(gender) for gender in _list(path, document, "genders"))
    if len(genders) != people or not set(genders) <= set(GENDERS):
        raise FormatError(f"{path}: 'genders': expected m or f for each of {people} people, got {genders}")
    name = str(document.get("sequence", path.stem))
    if not name.replace("_", "").replace("-", "").isalnum():  # it becomes part of the names of files
        raise FormatError(f"{path}: 'sequence': expected the name of a folder, got '{name[:80]}'")
    return Pw3dSequence(
        name=name,
        keypoints=_known(np.swapaxes(each("poses2d", frames, 3, 18), -1, -2)),
        joints=each("jointPositions", frames, 72).reshape(people, frames, 24, 3),
        poses=each("poses", frames, 72),
        shapes=_shapes(path, document, people),
        translations=each("trans", frames, 3),
        genders=genders,
        valid=valid,
        intrinsics=_numbers(path, document, "cam_intrinsics", (3, 3)),
        rotation=cameras[:, :3, :3],
        camera_translation=cameras[:, :3, 3],
    )


def _list(path: Path, document: Mapping[str, Any], key: str) -> Sequence[Any] | Array:
    if key not in document:
        raise FormatError(f"{path}: the entry '{key}' is missing; expected a sequence file of 3DPW")
    found = document[key]
    if not isinstance(found, (list, tuple, np.ndarray)) or (isinstance(found, np.ndarray) and not found.ndim):
        raise FormatError(f"{path}: '{key}': expected an entry for each person, got a {type(found).__name__}")
    return found


def _people(path: Path, document: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Floats:
    """An entry a person, stacked to a shape."""
    found = _list(path, document, key)
    if len(found) != shape[0]:
        raise FormatError(f"{path}: '{key}' is of {len(found)} people, 'poses' of {shape[0]}")
    stacked = np.zeros(shape)
    for person, entry in enumerate(found):
        array = _array(path, key, entry)
        if array.shape != shape[1:]:
            raise FormatError(f"{path}: '{key}' of person {person}: expected {shape[1:]}, got {array.shape}")
        stacked[person] = array
    return stacked


def _shapes(path: Path, document: Mapping[str, Any], people: int) -> Floats:
    """The first ten of each person's shape coefficients; some files hold 300."""
    found = [_array(path, "betas", entry) for entry in _list(path, document, "betas")]
    if len(found) != people or any(array.ndim != 1 or len(array) < 10 for array in found):
        shapes = [array.shape for array in found]
        raise FormatError(f"{path}: 'betas': expected ten or more of each of {people} people, got {shapes}")
    return np.stack([array[:10] for array in found]) if found else np.zeros((0, 10))


def _numbers(path: Path, document: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Floats:
    if key not in document:
        raise FormatError(f"{path}: the entry '{key}' is missing; expected a sequence file of 3DPW")
    array = _array(path, key, document[key])
    if array.ndim != len(shape) or any(want not in (-1, got) for want, got in zip(shape, array.shape, strict=True)):
        raise FormatError(f"{path}: '{key}': expected {shape} with -1 any number, got {array.shape}")
    return array


def _array(path: Path, key: str, value: Any) -> Floats:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{array.dtype}")
    except ValueError as error:
        raise FormatError(f"{path}: '{key}' holds no array of numbers: {error}") from error
    return array.astype(np.float64)


def _known(keypoints: Floats) -> Floats:
    """Keypoints (..., 18, 3) with NaN pixels where nothing was detected; the confidence stays."""
    seen = keypoints[..., 2:] > 0
    return np.concatenate([np.where(seen, keypoints[..., :2], np.nan), keypoints[..., 2:]], axis=-1)


def _check_cameras(path: Path, cameras: Floats, valid: npt.NDArray[np.bool_]) -> None:
    """The camera is a rotation wherever somebody's labels count on it."""
    rotation = cameras[:, :3, :3]
    error = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max(axis=(-1, -2), initial=0)
    good = (error < _ORTHONORMAL) & np.isfinite(cameras).all(axis=(-1, -2))
    if len(bad := np.flatnonzero(valid.any(0) & ~good)):
        raise FormatError(
            f"{path}: 'cam_poses' of frame {bad[0]} is no camera pose ({len(bad)} frames in all), though "
            "'campose_valid' says so"
        )

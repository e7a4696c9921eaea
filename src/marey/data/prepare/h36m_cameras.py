"""Cameras of Human3.6M: `metadata.xml` of the official download, `cameras.h5` of Martinez's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError
from marey.data.prepare.extras import opened_h5
from marey.data.prepare.h36m_names import CAMERAS, IMAGE_SIZES
from marey.io.text import read_text_limited

Array = npt.NDArray[np.float64]

METADATA_SUBJECTS = 11
"""S1 to S11."""

_EXTRINSIC = (len(CAMERAS), METADATA_SUBJECTS, 6)
_INTRINSIC = (len(CAMERAS), 9)
_MOST_BYTES = 64 << 20


def read_metadata_cameras(path: Path) -> Cameras:
    """Read cameras (11, 4) of all subjects from `metadata.xml`, float64.

    Its element `w0` holds for each camera and subject three angles (radians, turns about x, then the new y, then the
    new z) and the camera's place in millimetres, and after those for each camera two focal lengths, the principal
    point, three radial and two tangential coefficients.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no XML, or has no such element.
    """
    text = _element_text(path, read_text_limited(path, most_bytes=_MOST_BYTES), "w0").strip().strip("[]")
    try:
        numbers = np.array(text.replace(",", " ").replace(";", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise FormatError(f"{path}: 'w0' holds something else than numbers: {error}") from error
    expected = int(np.prod(_EXTRINSIC) + np.prod(_INTRINSIC))
    if numbers.size != expected or not np.isfinite(numbers).all():
        raise FormatError(f"{path}: 'w0': expected {expected} numbers, got {numbers.size}")
    extrinsic, intrinsic = np.split(numbers, [int(np.prod(_EXTRINSIC))])
    placed = extrinsic.reshape(_EXTRINSIC).transpose(1, 0, 2)
    return _cameras(_turned(placed[..., :3]), placed[..., 3:], intrinsic.reshape(_INTRINSIC))


def _element_text(path: Path, document: str, wanted: str) -> str:
    """The text in the first element of a name, directly below the root."""
    depth, found, inside = 0, [""], [False]

    def start(name: str, _: Any) -> None:
        nonlocal depth
        depth += 1
        inside[0] = depth == 2 and name == wanted and not found[0]

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1
        inside[0] = False

    def text(data: str) -> None:
        if inside[0]:
            found[0] += data

    def refuse(*_: Any) -> None:
        raise FormatError(f"{path}: declares a document type, which metadata.xml does not; refused")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise FormatError(f"{path}: not an XML file: {error}") from error
    if not found[0].strip():
        raise FormatError(f"{path}: no element '{wanted}' below the root; is it Release-v1.2/metadata.xml?")
    return found[0]


def _turned(angles: Array) -> Array:
    """Rotations (..., 3, 3), world to camera, of angles (..., 3) about x, the new y and the new z."""
    cos, sin = np.cos(angles), np.sin(angles)
    one, zero = np.ones_like(cos[..., 0]), np.zeros_like(cos[..., 0])

    def matrix(*entries: Array) -> Array:
        return np.stack(entries, axis=-1).reshape(*one.shape, 3, 3)

    about_x = matrix(one, zero, zero, zero, cos[..., 0], -sin[..., 0], zero, sin[..., 0], cos[..., 0])
    about_y = matrix(cos[..., 1], zero, sin[..., 1], zero, one, zero, -sin[..., 1], zero, cos[..., 1])
    about_z = matrix(cos[..., 2], -sin[..., 2], zero, sin[..., 2], cos[..., 2], zero, zero, zero, one)
    return about_x @ about_y @ about_z


def _cameras(rotation: Array, centers: Array, intrinsic: Array) -> Cameras:
    """Cameras (S, 4) of rotations (S, 4, 3, 3), places (S, 4, 3) in millimetres and f2, c2, k3, p2 (4 or S, 4, 9)."""
    batch = rotation.shape[:2]
    intrinsic = np.broadcast_to(intrinsic, (*batch, 9))
    matrix = np.zeros((*batch, 3, 3))
    matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2] = intrinsic[..., 0], intrinsic[..., 1], 1
    matrix[..., :2, 2] = intrinsic[..., 2:4]
    sizes = np.array([IMAGE_SIZES[name] for name in CAMERAS], dtype=np.float64)
    return Cameras(
        intrinsics=torch.from_numpy(matrix),
        distortion=torch.from_numpy(intrinsic[..., [4, 5, 7, 8, 6]].copy()),
        image_size=torch.from_numpy(np.broadcast_to(sizes, (*batch, 2)).copy()),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(-(rotation @ centers[..., None])[..., 0] / 1000),
        names=CAMERAS,
    )


def read_h5_cameras(path: Path, subjects: Sequence[str]) -> Cameras:
    """Read cameras (S, 4) of some subjects from `cameras.h5`, float64.

    It is a MATLAB file seen through HDF5: `subject1/camera1` and so on with R (transposed), T the camera's place in
    millimetres, f, c, k, p, and Name, the camera's number in letters.

    Raises:
        MissingDependencyError: h5py is not installed.
        InputError: the file cannot be read.
        FormatError: a subject or camera is missing, or its numbers have another shape.
    """
    with opened_h5(path) as file:
        found = [_h5_camera(path, file, subject, name) for subject in subjects for name in CAMERAS]
    rotation, center, intrinsic = (
        np.stack(part).reshape(len(subjects), len(CAMERAS), *part[0].shape) for part in zip(*found, strict=True)
    )
    return _cameras(rotation, center, intrinsic)


def _h5_camera(path: Path, file: Any, subject: str, name: str) -> tuple[Array, Array, Array]:
    """Rotation, place and f2, c2, k3, p2."""
    folder = f"subject{subject.removeprefix('S')}"
    cameras = file.get(folder)
    if cameras is None:
        raise FormatError(f"{path}: no '{folder}'; is it cameras.h5 of Martinez's Human3.6M download?")
    by_name = {_letters(camera): camera for camera in cameras.values() if "Name" in camera}
    if name not in by_name:
        raise FormatError(f"{path}: '{folder}' has no camera {name}; it has {', '.join(by_name) or 'none'}")
    where, camera = f"{path}: {folder}, camera {name}", by_name[name]
    sizes = {"R": 9, "T": 3, "f": 2, "c": 2, "k": 3, "p": 2}
    parts = {key: _numbers(where, camera, key, size) for key, size in sizes.items()}
    intrinsic = np.concatenate([parts[key] for key in ("f", "c", "k", "p")])
    return parts["R"].reshape(3, 3).T, parts["T"], intrinsic


def _letters(camera: Any) -> str:
    codes = np.asarray(camera["Name"]).ravel()
    return "".join(chr(int(code)) for code in codes[:32]) if codes.dtype.kind in "fiu" else ""


def _numbers(where: str, camera: Any, key: str, size: int) -> Array:
    if key not in camera:
        raise FormatError(f"{where}: lacks '{key}'")
    numbers: Array = np.asarray(camera[key], dtype=np.float64)
    if numbers.size != size or not np.isfinite(numbers).all():
        raise FormatError(f"{where}: '{key}': expected {size} numbers, got {numbers.shape}")
    return numbers.ravel()

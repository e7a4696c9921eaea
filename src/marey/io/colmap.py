"""COLMAP's text model: `cameras.txt` (lenses) and `images.txt` (places), world to camera, **arbitrary scale**.

`CAMERA_ID MODEL WIDTH HEIGHT PARAMS...`; `IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME`, followed by a line of image
points that is not read. One view an image. COLMAP counts pixels from the corner of the image, so its principal points
are half a pixel larger than ours, which count from the first pixel's centre.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import CalibrationError, FormatError, InputError
from marey.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.camera_parts import (
    Array,
    CameraEntry,
    assemble,
    checked_matrix,
    checked_size,
    decimals,
    disassemble,
    limited_distortion,
    parse_numbers,
    placed,
    read_camera_text,
    sized,
    without_skew,
)
from marey.io.image_headers import IMAGE_SUFFIXES
from marey.io.text import LONGEST_LINE, read_text_limited
from marey.io.units import Unit

CAMERAS, IMAGES, POINTS = "cameras.txt", "images.txt", "points3D.txt"

PIXEL_CENTER = 0.5
"""Of the first pixel, in COLMAP's coordinates."""

MODELS: dict[str, tuple[str, ...]] = {
    "SIMPLE_PINHOLE": ("f", "cx", "cy"),
    "PINHOLE": ("fx", "fy", "cx", "cy"),
    "SIMPLE_RADIAL": ("f", "cx", "cy", "k1"),
    "RADIAL": ("f", "cx", "cy", "k1", "k2"),
    "OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "OPENCV_FISHEYE": ("fx", "fy", "cx", "cy", "k1", "k2", "k3", "k4"),
    "SIMPLE_RADIAL_FISHEYE": ("f", "cx", "cy", "k1"),
    "RADIAL_FISHEYE": ("f", "cx", "cy", "k1", "k2"),
}
"""The parameters of each camera model that OpenCV's models contain."""

_PINHOLE_TERMS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE_TERMS = ("k1", "k2", "k3", "k4")
_NO_POINTS = "# 3D point list with one line of data per point\n# Number of points: 0\n"


def read_colmap(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from COLMAP's text model: one view an image, named by the image without its suffix.

    Without `images.txt` the result has intrinsics only, one view a camera, `cam_<id>`.

    Args:
        path: The folder, or one of the two files.
        unit: Of the translations, most often as a number: the metres in one unit of the model. None: metres, with a
            warning, provided that the cameras then stand at plausible distances.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera in the files, an image without its camera, or an implausible scale.
        FormatError: a file is not such text, is binary, or has a camera model that OpenCV's do not contain.
        InputError: a file cannot be read, or the unit is none.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not (folder / CAMERAS).is_file() and (folder / "cameras.bin").is_file():
        raise FormatError(f"{folder}: a binary model; run: colmap model_converter --output_type TXT")
    lenses = _lenses(folder / CAMERAS)
    if not (folder / IMAGES).is_file():
        return assemble(path, lenses.values(), unit=unit, dtype=dtype)
    if unit is None:
        warnings.warn(
            f"{folder}: COLMAP's scale is arbitrary; taken for metres. If one unit is another length, give that "
            "length in metres as the unit",
            stacklevel=2,
        )
    return assemble(path, _images(folder / IMAGES, lenses), unit=unit, dtype=dtype)


def _lenses(path: Path) -> dict[str, CameraEntry]:
    """By camera number."""
    found: dict[str, CameraEntry] = {}
    for number, line in enumerate(read_camera_text(path).split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        where = f"{path}, line {number}"
        if len(words) < 4:
            raise FormatError(f"{where}: expected CAMERA_ID MODEL WIDTH HEIGHT PARAMS, got '{line[:80]}'")
        if words[0] in found:
            raise FormatError(f"{where}: camera {words[0]} repeats")
        found[words[0]] = _lens(where, words)
    return found


def _lens(where: str, words: list[str]) -> CameraEntry:
    identifier, model = words[:2]
    if model not in MODELS:
        raise FormatError(
            f"{where}: the camera model {model[:80]} has no equal in OpenCV; known: {', '.join(MODELS)}; "
            "undistort the images with COLMAP, or calibrate with one of these"
        )
    size = checked_size(where, parse_numbers(where, " ".join(words[2:4])))
    values = parse_numbers(f"{where}, {model}", " ".join(words[4:]), len(MODELS[model]))
    given = dict(zip(MODELS[model], values.tolist(), strict=True))
    fx, fy = given.get("fx", given.get("f", 0.0)), given.get("fy", given.get("f", 0.0))
    fisheye = model.endswith("FISHEYE")
    terms = [given.get(term, 0.0) for term in (_FISHEYE_TERMS if fisheye else _PINHOLE_TERMS)]
    matrix = np.array([[fx, 0, given["cx"] - PIXEL_CENTER], [0, fy, given["cy"] - PIXEL_CENTER], [0, 0, 1]])
    return CameraEntry(
        name=f"cam_{identifier}",
        matrix=checked_matrix(where, matrix),
        distortion=np.array(terms if fisheye or any(terms[4:]) else terms[:4] if any(terms) else []),
        size=size,
        fisheye=fisheye,
    )


def _images(path: Path, lenses: dict[str, CameraEntry]) -> Iterator[CameraEntry]:
    rows = list(_image_rows(path))
    names = [PurePosixPath(words[9]) for _, words in rows]
    plain = [str(name.with_suffix("") if name.suffix.lower() in IMAGE_SUFFIXES else name) for name in names]
    if len(set(plain)) < len(plain):  # cam.png beside cam.jpg
        plain = list(map(str, names))
    values = np.array([parse_numbers(where, " ".join(words[1:8])) for where, words in rows]).reshape(-1, 7)
    rotations = _rotations([where for where, _ in rows], values[:, :4])
    for (where, words), name, rotation, shift in zip(rows, plain, rotations, values[:, 4:], strict=True):
        if words[8] not in lenses:
            raise CalibrationError(f"{where}: image '{name}' was taken with camera {words[8]}, which {CAMERAS} lacks")
        yield replace(lenses[words[8]], name=name, pose=(rotation, shift))


def _image_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The ten words of every image; the line of points after each is passed over."""
    lines = enumerate(read_text_limited(path, longest_line=LONGEST_LINE).split("\n"), start=1)
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split(maxsplit=9)
        where = f"{path}, line {number}"
        if len(words) != 10:
            raise FormatError(f"{where}: expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, got '{line[:80]}'")
        yield where, [*words[:9], words[9].strip()]
        _, points = next(lines, (0, ""))
        if len(points.split()) % 3:
            raise FormatError(
                f"{path}, line {number + 1}: expected the image's points (X Y POINT3D_ID ...) or an empty line, "
                f"got '{points[:80]}'"
            )


def _rotations(places: list[str], quaternions: Array) -> Array:
    """(N, 3, 3) of quaternions w, x, y, z (N, 4)."""
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(quaternions, axis=1)
    strange = np.flatnonzero(~((lengths > 0.5) & (lengths < 2)))
    if len(strange):
        first = int(strange[0])
        raise FormatError(f"{places[first]}: the rotation {quaternions[first].tolist()} is not a unit quaternion")
    units = torch.tensor(np.roll(quaternions / lengths[:, None], -1, axis=1))
    matrices: Array = quaternion_to_matrix(units).numpy()
    return matrices


def write_colmap(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write COLMAP's text model into a folder, made if it is not there: one camera and one image a view, metres.

    The images are named as the views; a model that has points is never overwritten.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place or image size, a skew, or more than 8
            distortion coefficients.
        InputError: a name holds white space, or a file cannot be written.
    """
    entries = disassemble(cameras)
    lenses = [_camera_line(number, entry) for number, entry in enumerate(entries, start=1)]
    images = [_image_line(number, entry) for number, entry in enumerate(entries, start=1)]
    folder = check_writable(path)
    points = folder / POINTS
    if points.is_file() and points.stat().st_size != len(_NO_POINTS):
        raise InputError(f"{folder} holds another COLMAP model with its points; choose another folder")
    head = f"# Written by marey, in metres\n# Number of cameras: {len(entries)}\n"
    atomic_write_text(folder / CAMERAS, head + "".join(lenses))
    atomic_write_text(folder / IMAGES, head.replace("cameras", "images") + "".join(images))
    atomic_write_text(points, _NO_POINTS)


def _camera_line(number: int, entry: CameraEntry) -> str:
    without_skew(entry, "COLMAP")
    width, height = sized(entry, "COLMAP")
    fx, fy = entry.matrix[0, 0], entry.matrix[1, 1]
    model, terms = _model(entry)
    parameters = np.array([fx, fy, *(entry.matrix[:2, 2] + PIXEL_CENTER), *terms])
    return f"{number} {model} {width} {height} {decimals(parameters)}\n"


def _model(entry: CameraEntry) -> tuple[str, Array]:
    if entry.fisheye:
        return "OPENCV_FISHEYE", entry.distortion
    terms = limited_distortion(entry, 8, "COLMAP")
    if terms[4:].any():
        return "FULL_OPENCV", terms
    return ("OPENCV", terms[:4]) if terms.any() else ("PINHOLE", terms[:0])


def _image_line(number: int, entry: CameraEntry) -> str:
    if entry.name.split() != [entry.name]:
        raise InputError(f"COLMAP's names hold no white space; rename the camera '{entry.name}'")
    rotation, translation = placed(entry, "COLMAP")
    quaternion = np.roll(matrix_to_quaternion(torch.tensor(rotation)).numpy(), 1)
    quaternion = quaternion if quaternion[0] >= 0 else -quaternion
    return f"{number} {decimals(quaternion)} {decimals(translation)} {number} {entry.name}\n\n"

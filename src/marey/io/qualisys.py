"""Qualisys `.qca.txt`: the calibration that Qualisys Track Manager exports, XML.

Focal lengths, principal point and skew are in 1/64 pixel, on the whole sensor: the part that the video shows begins at
the left and top of `fov_video`. The distortion coefficients are plain numbers (a widespread converter divides them by
64 too). `transform` is millimetres: x, y, z is where the camera stands, the rows r11..r33 are its axes in the world:
x to the right, y up, z **backward**, so that OpenCV's camera is half a turn about x away.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError
from marey.io.atomic import atomic_write_text
from marey.io.camera_parts import (
    Array,
    CameraEntry,
    assemble,
    checked_matrix,
    checked_rotation,
    checked_size,
    decimals,
    disassemble,
    limited_distortion,
    parse_numbers,
    placed,
    read_camera_text,
    sized,
)
from marey.io.naming import listed
from marey.io.units import Unit

SUBPIXELS = 64.0
"""Of the intrinsics in one pixel."""

_HALF_TURN = np.diag([1.0, -1.0, -1.0])
"""About x: from y up, z backward to y down, z forward."""
_DEEPEST = 32
_DISTORTION = (
    "radialDistortion1",
    "radialDistortion2",
    "tangentalDistortion1",
    "tangentalDistortion2",
    "radialDistortion3",
)
"""In OpenCV's order; the missing 'i' and 'e' are in the files."""

Attributes = Mapping[str, str]


def read_qualisys(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from a `.qca.txt`, named by their serial numbers.

    Cameras that are not active are left out; so are marker cameras, with a warning, where other cameras are video
    cameras by their model. `viewrotation` says how windows turn the image; the calibration is of the image
    that is not turned. Cameras with one give a warning, because their videos may have been exported turned.

    Args:
        path: The file.
        unit: Of the positions. None: millimetres, as the format has it.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera in the file, or the unit is implausible.
        FormatError: it is not such a file, or declares a document type, which could hold a bomb.
        InputError: the file cannot be read.
    """
    path = Path(path)
    cameras = [camera for camera in _parse(path) if camera["camera"].get("active", "1").lower() not in ("0", "false")]
    entries = [_entry(path, camera) for camera in _video_cameras(path, cameras)]
    _tell_turned(path, cameras)
    return assemble(path, entries, unit=unit, stated="mm", dtype=dtype)


def _parse(path: Path) -> list[dict[str, Attributes]]:
    """The attributes of each camera's elements, by tag."""
    text = read_camera_text(path)
    cameras: list[dict[str, Attributes]] = []
    tags: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        tags.append(tag)
        if len(tags) > _DEEPEST:
            raise FormatError(f"{path}: elements nest more than {_DEEPEST} deep; refused")
        if tag == "camera":
            cameras.append({tag: attributes})
        elif "camera" in tags:
            cameras[-1].setdefault(tag, attributes)

    def refuse(*_: object) -> None:
        raise FormatError(f"{path}: declares a document type or entities, which no calibration needs; refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: tags.pop()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"{path}: not an XML file: {error}") from error
    return cameras


def _video_cameras(path: Path, cameras: list[dict[str, Attributes]]) -> Iterator[dict[str, Attributes]]:
    is_video = ["video" in camera["camera"].get("model", "").lower() for camera in cameras]
    if not any(is_video) or all(is_video):
        yield from cameras
        return
    others = [camera["camera"].get("serial", "?") for camera, video in zip(cameras, is_video, strict=True) if not video]
    warnings.warn(f"{path}: left out {', '.join(others)}, which are not video cameras by their model", stacklevel=4)
    yield from (camera for camera, video in zip(cameras, is_video, strict=True) if video)


def _tell_turned(path: Path, cameras: list[dict[str, Attributes]]) -> None:
    turned = {camera["camera"].get("serial", "?"): camera["camera"].get("viewrotation", "0") for camera in cameras}
    named = [f"{serial} (viewrotation {turn[:8]})" for serial, turn in turned.items() if turn.strip() not in ("", "0")]
    if named:
        warnings.warn(
            f"{path}: the views of {listed(named)} are turned in Qualisys' windows, but the calibration is of the "
            "image as the sensor sees it; if the videos were exported turned, turn them back",
            stacklevel=3,
        )


def _entry(path: Path, camera: Mapping[str, Attributes]) -> CameraEntry:
    name = camera["camera"].get("serial", "").strip()
    if not name:
        raise FormatError(f"{path}: a camera without 'serial'")
    where = f"{path}, camera '{name}'"
    fx, fy, cx, cy, skew = (
        _values(
            where,
            camera,
            "intrinsic",
            ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV", "skew"),
        )
        / SUBPIXELS
    )
    left, top, right, bottom = _values(where, camera, "fov_video", ("left", "top", "right", "bottom"))
    rotation = _values(where, camera, "transform", tuple(f"r{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)))
    rotation = _HALF_TURN @ checked_rotation(where, rotation)
    return CameraEntry(
        name=name,
        matrix=checked_matrix(where, np.array([[fx, skew, cx - left], [0, fy, cy - top], [0, 0, 1]])),
        distortion=_values(where, camera, "intrinsic", _DISTORTION),
        size=checked_size(where, np.array([right - left + 1, bottom - top + 1])),
        pose=(rotation, -rotation @ _values(where, camera, "transform", ("x", "y", "z"))),
    )


def _values(where: str, camera: Mapping[str, Attributes], tag: str, keys: tuple[str, ...]) -> Array:
    if tag not in camera:
        raise FormatError(f"{where}: the element '{tag}' is missing")
    missing = [key for key in keys if key not in camera[tag]]
    if missing:
        raise FormatError(f"{where}: '{tag}' lacks {', '.join(missing)}")
    return np.array([parse_numbers(f"{where}, {key}", camera[tag][key], 1)[0] for key in keys])


def write_qualisys(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) as a `.qca.txt`, millimetres; what Qualisys alone knows (residuals, wand) is 'none'.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place or image size, or have lenses that the
            format does not know (fisheye, more than k1 k2 p1 p2 k3).
        InputError: the file cannot be written.
    """
    elements = "".join(_element(entry) for entry in disassemble(cameras))
    atomic_write_text(
        path,
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        '<calibration created="none" qtm-version="none" source="marey" type="regular">\n'
        f"  <cameras>\n{elements}  </cameras>\n</calibration>\n",
    )


def _element(entry: CameraEntry) -> str:
    width, height = sized(entry, "Qualisys")
    rotation, translation = placed(entry, "Qualisys")
    lens = dict(zip(_DISTORTION, limited_distortion(entry, 5, "Qualisys"), strict=True))
    axes = _HALF_TURN @ rotation
    center = -rotation.T @ translation * 1000
    transform = {f"r{i + 1}{j + 1}": axes[i, j] for i in range(3) for j in range(3)}
    place = dict(zip("xyz", center, strict=True))
    intrinsic = {
        "focalLengthU": entry.matrix[0, 0] * SUBPIXELS,
        "focalLengthV": entry.matrix[1, 1] * SUBPIXELS,
        "centerPointU": entry.matrix[0, 2] * SUBPIXELS,
        "centerPointV": entry.matrix[1, 2] * SUBPIXELS,
        "skew": entry.skew * SUBPIXELS,
        "sensorMinU": 0.0,
        "sensorMinV": 0.0,
        "sensorMaxU": (width - 1) * SUBPIXELS,
        "sensorMaxV": (height - 1) * SUBPIXELS,
    }
    window = f'left="0" top="0" right="{width - 1}" bottom="{height - 1}"'
    return (
        f'    <camera active="1" model="none" serial={quoteattr(entry.name)} viewrotation="0">\n'
        f"      <fov_video {window}/>\n      <fov_video_max {window}/>\n"
        f"      <transform {_attributes({**transform, **place})}/>\n"
        f"      <intrinsic {_attributes({**intrinsic, **lens})}/>\n    </camera>\n"
    )


def _attributes(values: Mapping[str, float]) -> str:
    return " ".join(f'{key}="{decimals(value)}"' for key, value in values.items())

"""Cameras as Blender has them, in JSON that a few lines of `bpy` load (see `docs/howto/convert_cameras.md`).

`{"format": "marey-blender-cameras", "version": 1, "unit": "m", "cameras": [...]}`; each camera:

==================================  ==============================================================================
`name`                              of the view
`resolution`                        [width, height], pixels
`pixel_aspect`                      [x, y], at least 1 each, of the scene's render settings
`lens`, `sensor_width`              millimetres; sensor fit HORIZONTAL
`shift_x`, `shift_y`                in widths of the image, as Blender counts them
`matrix_world`                      4x4 rows, camera to world, metres; the camera looks along -z, y is up
`distortion`, `fisheye`             OpenCV's; Blender's cameras have no such lens, so it ignores them
==================================  ==============================================================================

The world is that of the calibration: nothing is turned to make Blender's z the upward axis.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError
from marey.io.atomic import atomic_write_text
from marey.io.camera_parts import (
    Array,
    CameraEntry,
    assemble,
    checked_distortion,
    checked_matrix,
    checked_numbers,
    checked_rotation,
    checked_size,
    disassemble,
    placed,
    sized,
    without_skew,
)
from marey.io.panoptic import camera_tables
from marey.io.units import Unit

FORMAT = "marey-blender-cameras"
VERSION = 1
SENSOR_WIDTH = 36.0
"""Millimetres that are written: Blender's default. Only its ratio to the focal length matters."""

_AXES = np.diag([1.0, -1.0, -1.0])
"""Blender's camera has y up and looks along -z."""
_CORNER = 0.5
"""From the corner of the image, where Blender begins, to the first pixel's centre."""


def read_blender_cameras(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from the JSON that `write_blender_cameras` and the script in the documentation write.

    Args:
        path: The file.
        unit: Of the places. None: metres.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera in the file, or the unit is implausible.
        FormatError: it is not such a file, or an entry is missing or malformed.
        InputError: the file cannot be read.
    """
    path = Path(path)
    entries = [_entry(f"{path}, camera {place}", table) for place, table in enumerate(camera_tables(path))]
    return assemble(path, entries, unit=unit, stated="m", dtype=dtype)


def _entry(where: str, table: Mapping[str, Any]) -> CameraEntry:
    keys = ("name", "resolution", "lens", "sensor_width", "matrix_world")
    missing = [key for key in keys if key not in table]
    if missing:
        raise FormatError(f"{where}: lacks {', '.join(missing)}")
    if table.get("sensor_fit", "HORIZONTAL") != "HORIZONTAL":
        raise FormatError(f"{where}: 'sensor_fit' is {table['sensor_fit']!r:.40}, expected HORIZONTAL")
    size = checked_size(where, checked_numbers(where, "resolution", table["resolution"], (2,)))
    world = checked_numbers(where, "matrix_world", table["matrix_world"], (4, 4))
    if world[3].tolist() != [0, 0, 0, 1]:
        raise FormatError(f"{where}: the last row of 'matrix_world' is {world[3].tolist()}, expected 0 0 0 1")
    rotation = _AXES @ checked_rotation(where, world[:3, :3]).T
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise FormatError(f"{where}: 'fisheye' is {fisheye!r:.40}, expected true or false")
    distortion = checked_numbers(where, "distortion", table.get("distortion", []), None)
    return CameraEntry(
        name=str(table["name"]),
        matrix=checked_matrix(where, _intrinsics(where, table, size)),
        distortion=checked_distortion(where, distortion, fisheye=fisheye),
        size=size,
        fisheye=fisheye,
        pose=(rotation, -rotation @ world[:3, 3]),
    )


def _intrinsics(where: str, table: Mapping[str, Any], size: Array) -> Array:
    def number(key: str, default: float = 0.0) -> float:
        return float(checked_numbers(where, key, table.get(key, default), (1,))[0])

    aspect = checked_numbers(where, "pixel_aspect", table.get("pixel_aspect", [1, 1]), (2,))
    width, height = size
    sensor = number("sensor_width")
    if sensor <= 0 or (aspect <= 0).any():
        raise FormatError(f"{where}: 'sensor_width' and 'pixel_aspect' have to be above 0")
    stretch = aspect[0] / aspect[1]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as intrinsics
        focal = number("lens") / sensor * width
        center_x = width / 2 - number("shift_x") * width - _CORNER
        center_y = height / 2 + number("shift_y") * width * stretch - _CORNER
    return np.array([[focal, 0, center_x], [0, focal * stretch, center_y], [0, 0, 1]])


def write_blender_cameras(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) for Blender, metres. Distortion is written, with a warning, but Blender does not render it.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place or image size, or a skew.
        InputError: the file cannot be written.
    """
    entries = disassemble(cameras)
    distorted = [entry.name for entry in entries if entry.fisheye or entry.distortion.any()]
    if distorted:
        warnings.warn(
            f"Blender's cameras have no lens distortion: {', '.join(distorted)} will show straight lines; undistort "
            "the images that you lay under them",
            stacklevel=2,
        )
    document = {"format": FORMAT, "version": VERSION, "unit": "m", "cameras": [_table(entry) for entry in entries]}
    atomic_write_text(path, json.dumps(document, indent=1) + "\n")


def _table(entry: CameraEntry) -> dict[str, Any]:
    without_skew(entry, "Blender")
    width, height = sized(entry, "Blender")
    rotation, translation = placed(entry, "Blender")
    fx, fy, (cx, cy) = entry.matrix[0, 0], entry.matrix[1, 1], entry.matrix[:2, 2] + _CORNER
    world = np.eye(4)
    world[:3, :3] = (_AXES @ rotation).T
    world[:3, 3] = -rotation.T @ translation
    return {
        "name": entry.name,
        "resolution": [width, height],
        "pixel_aspect": [max(1.0, fy / fx), max(1.0, fx / fy)],
        "sensor_fit": "HORIZONTAL",
        "sensor_width": SENSOR_WIDTH,
        "lens": fx * SENSOR_WIDTH / width,
        "shift_x": (width / 2 - cx) / width,
        "shift_y": (cy - height / 2) / width * fx / fy,
        "matrix_world": world.tolist(),
        "distortion": entry.distortion.tolist(),
        "fisheye": entry.fisheye,
    }

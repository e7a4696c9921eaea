"""Camera TOML: the dialect of anipose, Pose2Sim and FreeMoCap, and Caliscope's own.

Both hold one table a camera with `size`, `matrix`, `distortions`, `rotation`, `translation`, world to camera. They
differ in where the tables lie (`[cam_0]` or `[cameras.0]`), in the rotation (Rodrigues vector or 3x3 matrix) and in how
a camera is named. **None of them states the unit of the translations.** What else a file holds is passed
over and absent from one that is written of the cameras: FreeMoCap's `world_position` and `world_orientation`, which say
the pose once more, and its board and date in `[metadata]`; Caliscope's `rotation_count`, `exposure` and errors.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError
from marey.io.atomic import atomic_write_text
from marey.io.camera_parts import (
    Array,
    CameraEntry,
    assemble,
    checked_distortion,
    checked_matrix,
    checked_numbers,
    checked_rotation,
    disassemble,
    read_camera_text,
    rotation_vector,
)
from marey.io.naming import last_number
from marey.io.units import Unit

_MOST_DOTS, _MOST_QUOTED = 50, 5
"""In a key, and its quoted parts; a file of cameras has two. The parser takes the square of them in time."""
_BETWEEN_KEYS = re.compile(r"[,={}\[\]]")
_QUOTED_PART = re.compile(r"[\"']\s*\.\s*[\w\"'-]")


def read_camera_toml(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from a camera TOML, in natural order of their names (`cam_2` before `cam_10`).

    Distortion coefficients are padded with zeros to one length. Cameras marked `ignore = true` are left out.
    Caliscope's `rotation_count` says how its windows turn the image and does not touch the calibration, so it is not
    applied. If no camera has a rotation and a translation the result has intrinsics only; the rotation [0, 0, 0] is the
    identity.

    Args:
        path: The file.
        unit: Of the translations in the file. None: the unit that the file states under `[metadata]` (ours do), else
            metres, provided that the cameras then stand at plausible distances.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera in the file; some cameras are placed and others are not; the unit is not given and
            the translations cannot be metres; the cameras would stand less than 5 cm apart, in whatever unit.
        FormatError: the file is not TOML, or an entry is missing or malformed.
        InputError: the file cannot be read.
    """
    path = Path(path)
    document = _load(path)
    metadata = document.get("metadata")
    stated = metadata.get("unit") if isinstance(metadata, dict) else None
    return assemble(
        path, _entries(path, document), unit=unit, stated=stated if isinstance(stated, str) else None, dtype=dtype
    )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        text = read_camera_text(path)
        if any(map(_has_long_key, text.split("\n"))):
            raise FormatError(f"a key of more than {_MOST_DOTS} parts, which the parser would take hours for")
        return tomllib.loads(text)
    except InputError as error:
        raise InputError(f"cannot read the calibration: {error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and FormatError are ValueErrors
        raise FormatError(f"{path}: not a TOML file: {error}") from error


def _has_long_key(line: str) -> bool:
    """Whether a key in a line could have very many parts: one without commas and braces, or quoted with them."""
    if line.count(".") <= _MOST_DOTS or line.lstrip().startswith("#"):
        return False
    longest = max(piece.count(".") for piece in _BETWEEN_KEYS.split(line))
    return longest > _MOST_DOTS or len(_QUOTED_PART.findall(line)) > _MOST_QUOTED


def _entries(path: Path, document: Mapping[str, Any]) -> list[CameraEntry]:
    nested = document.get("cameras")
    tables = (
        {f"cam_{key}": table for key, table in nested.items()}
        if isinstance(nested, dict) and "matrix" not in nested
        else dict(document)
    )
    return [
        _entry(f"{path}, camera '{key}'", key, table)
        for key, table in tables.items()
        if isinstance(table, dict)
        and table.keys() & {"matrix", "size", "image_size"}
        and table.get("ignore") is not True
    ]


def _entry(where: str, key: str, table: Mapping[str, Any]) -> CameraEntry:
    matrix = checked_matrix(where, _numbers(where, table, "matrix", (3, 3)))
    distortion = _numbers(where, table, "distortions", None) if "distortions" in table else np.zeros(0)
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise FormatError(f"{where}: 'fisheye' is {fisheye!r}, expected true or false")
    size_key = "size" if "size" in table else "image_size"
    return CameraEntry(
        name=str(table.get("name", key)),
        matrix=matrix,
        distortion=checked_distortion(where, distortion, fisheye=fisheye),
        size=_numbers(where, table, size_key, (2,)) if size_key in table else np.full(2, np.nan),
        fisheye=fisheye,
        pose=_pose(where, table),
    )


def _pose(where: str, table: Mapping[str, Any]) -> tuple[Array, Array] | None:
    if "rotation" not in table or "translation" not in table:
        return None
    rotation = checked_rotation(where, _numbers(where, table, "rotation", None))
    return rotation, _numbers(where, table, "translation", (3,))


def _numbers(where: str, table: Mapping[str, Any], key: str, shape: tuple[int, ...] | None) -> Array:
    if key not in table:
        raise FormatError(f"{where}: '{key}' is missing")
    return checked_numbers(where, key, table[key], shape)


def write_camera_toml(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) as a TOML that anipose, Pose2Sim and FreeMoCap read: metres, Rodrigues vectors.

    Names that are missing become `cam_0`, `cam_1`, ... An unknown image size is left out. `[metadata]` states the unit,
    which other programs ignore and `read_camera_toml` honours.

    Raises:
        CalibrationError: the cameras are not one batch of views.
        InputError: the file cannot be written.
    """
    tables = [_table(entry) for entry in disassemble(cameras)]
    atomic_write_text(path, "\n".join([*tables, '[metadata]\nadjusted = false\nerror = 0.0\nunit = "m"\n']))


def _table(entry: CameraEntry) -> str:
    """One camera's TOML table."""
    name = entry.name
    head = [f"[{name if re.fullmatch(r'[A-Za-z0-9_-]+', name) else _quoted(name)}]", f"name = {_quoted(name)}"]
    pose = [] if entry.pose is None else [_line("rotation", rotation_vector(entry.pose[0]))]
    return "\n".join([*head, *_body(entry), *pose, *_tail(entry)])


def _body(entry: CameraEntry) -> list[str]:
    size = [_line("size", entry.size)] if np.isfinite(entry.size).all() else []
    return [*size, _line("matrix", entry.matrix), _line("distortions", entry.distortion)]


def _tail(entry: CameraEntry) -> list[str]:
    pose = [] if entry.pose is None else [_line("translation", entry.pose[1])]
    return [*pose, f"fisheye = {str(entry.fisheye).lower()}", ""]


def write_caliscope_toml(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) as Caliscope's own `camera_array.toml`: tables `[cameras.0]`, rotation matrices, metres.

    Caliscope numbers its cameras: the number in each name (`cam_3`) is taken.

    Raises:
        CalibrationError: the cameras are not one batch of views.
        InputError: the numbers in their names are missing or repeat, or the file cannot be written.
    """
    entries = disassemble(cameras)
    numbers = [last_number(entry.name) for entry in entries]
    if None in numbers or len(set(numbers)) != len(numbers):
        raise InputError(
            f"Caliscope numbers its cameras, but the names are {', '.join(entry.name for entry in entries)}; "
            "name them cam_0, cam_1, ... or write an anipose TOML, which Caliscope exports too"
        )
    tables = [_native_table(number or 0, entry) for number, entry in zip(numbers, entries, strict=True)]
    atomic_write_text(path, "\n".join(tables))


def _native_table(number: int, entry: CameraEntry) -> str:
    head = [f"[cameras.{number}]", f"cam_id = {number}", "rotation_count = 0", "ignore = false"]
    pose = [] if entry.pose is None else [_line("rotation", entry.pose[0])]
    size = [f"size = [{int(entry.size[0])}, {int(entry.size[1])}]"] if np.isfinite(entry.size).all() else []
    return "\n".join([*head, *size, *_body(entry)[-2:], *pose, *_tail(entry)])


def _line(key: str, values: Array) -> str:
    """Shortest decimals that give the same float64 back."""
    return f"{key} = {values.tolist()}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

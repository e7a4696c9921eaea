"""CMU Panoptic `calibration_*.json`: world to camera, **centimetres**.

A list `cameras` of objects with `name`, `type` (vga, hd, kinect-color, ...), `resolution` [w, h], `K`, `distCoef`
(k1 k2 p1 p2 k3), `R`, `t`.
"""

from __future__ import annotations

import json
import os
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
    checked_entry,
    checked_numbers,
    checked_rotation,
    disassemble,
    limited_distortion,
    placed,
    read_camera_text,
)
from marey.io.units import Unit


def read_panoptic(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) of every type in a calibration of CMU Panoptic; index the result for one type.

    Args:
        path: The file.
        unit: Of the translations. None: centimetres, as the format has it.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera in the file, some are placed and others are not, or the unit is implausible.
        FormatError: it is not such a file, or an entry is missing or malformed.
        InputError: the file cannot be read.
    """
    path = Path(path)
    tables = camera_tables(path)
    entries = [_entry(f"{path}, camera {place}", table) for place, table in enumerate(tables)]
    return assemble(path, entries, unit=unit, stated="cm", dtype=dtype)


def camera_tables(path: Path) -> list[Mapping[str, Any]]:
    """The objects in the list `cameras` of a JSON file.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not JSON, or has no such list.
    """
    text = read_camera_text(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not a JSON file: {error}") from error
    tables = document.get("cameras") if isinstance(document, dict) else None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FormatError(f"{path}: no list of objects under 'cameras'")
    return tables


def _entry(where: str, table: Mapping[str, Any]) -> CameraEntry:
    missing = [key for key in ("name", "K") if key not in table]
    if missing:
        raise FormatError(f"{where}: lacks {' and '.join(missing)}")
    name = table["name"]
    if not isinstance(name, str | int):
        raise FormatError(f"{where}: 'name' is {name!r:.80}, expected a text")
    where = f"{where} '{name}'"
    size = table.get("resolution")
    return checked_entry(
        where,
        str(name),
        matrix=checked_numbers(where, "K", table["K"], (3, 3)),
        distortion=checked_numbers(where, "distCoef", table.get("distCoef", []), None),
        size=None if size is None else checked_numbers(where, "resolution", size, (2,)),
        pose=_pose(where, table),
    )


def _pose(where: str, table: Mapping[str, Any]) -> tuple[Array, Array] | None:
    if "R" not in table or "t" not in table:
        return None
    rotation = checked_rotation(where, checked_numbers(where, "R", table["R"], (3, 3)))
    return rotation, checked_numbers(where, "t", table["t"], (3,))


def write_panoptic(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) as CMU Panoptic has them: centimetres, type 'hd'. An unknown image size is left out.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place, or have lenses that the format does not
            know (fisheye, more than k1 k2 p1 p2 k3).
        InputError: the file cannot be written.
    """
    tables = [_table(entry) for entry in disassemble(cameras)]
    atomic_write_text(path, json.dumps({"calibDataSource": "marey", "cameras": tables}, indent=1) + "\n")


def _table(entry: CameraEntry) -> dict[str, Any]:
    rotation, translation = placed(entry, "CMU Panoptic")
    known = bool(np.isfinite(entry.size).all())
    size = {"resolution": [int(side) if side == int(side) else side for side in entry.size.tolist()]} if known else {}
    return {
        "name": entry.name,
        "type": "hd",
        **size,
        "K": entry.matrix.tolist(),
        "distCoef": limited_distortion(entry, 5, "CMU Panoptic").tolist(),
        "R": rotation.tolist(),
        "t": (translation[:, None] * 100).tolist(),
    }

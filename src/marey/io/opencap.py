"""OpenCap's `cameraIntrinsicsExtrinsics.pickle`: one a camera, world to camera, **millimetres**.

A dict of arrays: `intrinsicMat` (3, 3), `distortion` (1, 5), `imageSize` [height, width], `rotation` (3, 3),
`translation` (3, 1). The world is the frame of OpenCap's board, which hangs on a wall: its x and y axes are the board's
edges, so the world's up is not z. Cameras are read into that world as it is.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError
from marey.io.atomic import atomic_path, check_writable
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
    file_names,
    limited_distortion,
    placed,
    sized,
)
from marey.io.units import Unit
from marey.io.unpickle import restricted_load

FILE = "cameraIntrinsicsExtrinsics.pickle"
SUFFIXES = (".pickle", ".pkl")

_PROTOCOL = 4
"""That the Python of any OpenCap reads."""


def read_opencap(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from OpenCap's pickles, without running anything in them.

    A camera is named by its folder (`Cam0/cameraIntrinsicsExtrinsics.pickle`), or by its file if that has another name.

    Args:
        path: A pickle, a folder of them, or the folder of such folders (OpenCap's `Videos`).
        unit: Of the translations. None: millimetres, as the format has it.
        dtype: Precision of the result.

    Raises:
        CalibrationError: the unit is implausible.
        FormatError: a file is no pickle of plain data, or an entry is missing or malformed.
        InputError: there is no file, or it cannot be read.
    """
    path = Path(path)
    files = opencap_files(path) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no {FILE}, nor folders with one")
    return assemble(path, map(_entry, files), unit=unit, stated="mm", dtype=dtype)


def opencap_files(folder: Path) -> list[Path]:
    """The pickles in a folder, else those of OpenCap's name one folder below."""
    here = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return here or sorted(folder.glob(f"*/{FILE}"))


def _entry(path: Path) -> CameraEntry:
    table = restricted_load(path)
    where = str(path)
    if not isinstance(table, dict):
        raise FormatError(f"{where}: holds a {type(table).__name__}, expected a dict of a camera")
    size = _numbers(where, table, "imageSize", (2,))[::-1]
    has_pose = "rotation" in table and "translation" in table
    return CameraEntry(
        name=path.absolute().parent.name if path.name == FILE else path.stem,
        matrix=checked_matrix(where, _numbers(where, table, "intrinsicMat", (3, 3))),
        distortion=checked_distortion(where, _numbers(where, table, "distortion", None)),
        size=checked_size(where, size),
        pose=(
            checked_rotation(where, _numbers(where, table, "rotation", None)),
            _numbers(where, table, "translation", (3,)),
        )
        if has_pose
        else None,
    )


def _numbers(where: str, table: dict[Any, Any], key: str, shape: tuple[int, ...] | None) -> Array:
    if key not in table:
        raise FormatError(f"{where}: '{key}' is missing")
    return checked_numbers(where, key, table[key], shape)


def write_opencap(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write `<name>/cameraIntrinsicsExtrinsics.pickle` a camera into a folder; a path to a pickle takes one camera.

    The world stays as it is; OpenCap itself expects that of its board.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place or image size, or have lenses that the
            format does not know (fisheye, more than k1 k2 p1 p2 k3).
        InputError: a name cannot be a folder, several cameras were given for one file, or a file cannot be written.
    """
    path = Path(path)
    entries = disassemble(cameras)
    tables = [_table(entry) for entry in entries]
    if path.suffix.lower() in SUFFIXES:
        if len(tables) != 1:
            raise InputError(f"{path}: OpenCap has one camera a file, got {len(tables)}; give a folder")
        _write(path, tables[0])
        return
    for name, table in zip(file_names(entries), tables, strict=True):
        _write(check_writable(path / name) / FILE, table)


def _write(path: Path, table: dict[str, Array]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(pickle.dumps(table, protocol=_PROTOCOL))


def _table(entry: CameraEntry) -> dict[str, Array]:
    width, height = sized(entry, "OpenCap")
    rotation, translation = placed(entry, "OpenCap")
    return {
        "intrinsicMat": entry.matrix,
        "distortion": limited_distortion(entry, 5, "OpenCap")[None],
        "imageSize": np.array([[height], [width]], dtype=np.float64),
        "rotation": rotation,
        "translation": translation[:, None] * 1000,
    }

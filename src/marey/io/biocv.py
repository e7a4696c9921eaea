"""bioCV `.calib`: one text file a camera, world to camera, **millimetres**.

Width; height; three rows of the intrinsics; three rows [R | t], perhaps a fourth, 0 0 0 1; a row of distortion
coefficients. Empty lines between them do not count.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.camera_parts import (
    CameraEntry,
    assemble,
    checked_distortion,
    checked_matrix,
    checked_rotation,
    checked_size,
    decimals,
    disassemble,
    file_names,
    limited_distortion,
    parse_numbers,
    placed,
    read_camera_text,
    sized,
)
from marey.io.units import Unit

SUFFIX = ".calib"

_LINES = 9
"""Without the row 0 0 0 1."""


def read_biocv(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from bioCV files, named by the files (`00` of `00.calib` or `00.mp4.calib`).

    Args:
        path: A folder of `.calib` files, or one file of any name.
        unit: Of the translations. None: millimetres, as the format has it.
        dtype: Precision of the result.

    Raises:
        CalibrationError: the unit is implausible.
        FormatError: a file is not such text.
        InputError: there is no file, or it cannot be read.
    """
    path = Path(path)
    files = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: holds no {SUFFIX} file")
    return assemble(path, map(_entry, files), unit=unit, stated="mm", dtype=dtype)


def _entry(path: Path) -> CameraEntry:
    lines = [line for line in read_camera_text(path).split("\n") if line.strip()]
    if len(lines) not in (_LINES, _LINES + 1) or (len(lines) == _LINES and lines[-1].split() == ["0", "0", "0", "1"]):
        raise FormatError(
            f"{path}: {len(lines)} lines, expected width, height, 3 rows of the intrinsics, 3 or 4 of the pose and one "
            "of the distortion; is it cut off?"
        )
    where = str(path)
    rows = [parse_numbers(where, line, 4) for line in lines[5:-1]]
    if len(rows) == 4 and rows[3].tolist() != [0, 0, 0, 1]:
        raise FormatError(f"{path}: the fourth row of the pose is {rows[3].tolist()}, expected 0 0 0 1")
    pose = np.stack(rows[:3])
    matrix = np.stack([parse_numbers(where, line, 3) for line in lines[2:5]])
    return CameraEntry(
        name=path.name.removesuffix(SUFFIX).partition(".")[0] or path.name,
        matrix=checked_matrix(where, matrix),
        distortion=checked_distortion(where, parse_numbers(where, lines[-1])),
        size=checked_size(where, np.concatenate([parse_numbers(where, line, 1) for line in lines[:2]])),
        pose=(checked_rotation(where, pose[:, :3]), pose[:, 3]),
    )


def write_biocv(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write one `<name>.calib` a camera into a folder, millimetres; a path that ends in `.calib` takes one camera.

    Raises:
        CalibrationError: the cameras are not one batch of views, have no place or image size, or have lenses that the
            format does not know (fisheye, more than k1 k2 p1 p2 k3).
        InputError: a name cannot be a file name, several cameras were given for one file, or a file cannot be written.
    """
    path = Path(path)
    entries = disassemble(cameras)
    texts = [_text(entry) for entry in entries]
    if path.suffix.lower() == SUFFIX:
        if len(texts) != 1:
            raise InputError(f"{path}: bioCV has one camera a file, got {len(texts)}; give a folder")
        atomic_write_text(path, texts[0])
        return
    names = file_names(entries)
    folder = check_writable(path)
    for name, text in zip(names, texts, strict=True):
        atomic_write_text(folder / f"{name}{SUFFIX}", text)


def _text(entry: CameraEntry) -> str:
    width, height = sized(entry, "bioCV")
    rotation, translation = placed(entry, "bioCV")
    pose = np.vstack([np.column_stack([rotation, translation * 1000]), [0, 0, 0, 1]])
    matrix = "\n".join(map(decimals, entry.matrix))
    distortion = decimals(limited_distortion(entry, 5, "bioCV"))
    return f"{width}\n{height}\n{matrix}\n\n" + "\n".join(map(decimals, pose)) + f"\n\n{distortion}\n"

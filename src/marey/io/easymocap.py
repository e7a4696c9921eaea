"""EasyMocap's `intri.yml` and `extri.yml`: OpenCV YAML, world to camera, metres by custom.

`names`, `K_<name>` 3x3, `dist_<name>` 1x5, perhaps `H_<name>` and `W_<name>`; `R_<name>` Rodrigues 3x1, `Rot_<name>`
3x3, `T_<name>` 3x1. The image size is often absent: it is then unknown, never guessed from the principal point.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch

from marey.core.cameras import Cameras
from marey.core.errors import CalibrationError, FormatError, InputError
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.camera_parts import (
    Array,
    CameraEntry,
    assemble,
    checked_entry,
    checked_numbers,
    checked_rotation,
    disassemble,
    limited_distortion,
    parse_numbers,
    placed,
    rotation_vector,
)
from marey.io.opencv_yaml import Value, opencv_yaml, read_opencv_yaml
from marey.io.units import Unit

INTRINSICS, EXTRINSICS = "intri.yml", "extri.yml"

_TOLERANCE = 1e-3
"""By how much the two forms of one rotation may differ; files round to a few digits."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_KEYS = re.compile(r"(?:K|R|Rot|T)_(.+)")


def read_easymocap(
    path: str | os.PathLike[str], *, unit: Unit | float | None = None, dtype: torch.dtype = torch.float32
) -> Cameras:
    """Read cameras (V,) from the two files of EasyMocap; without `extri.yml` the result has intrinsics only.

    Args:
        path: Their folder, or one of the two (the other is looked for beside it), or one file that holds both.
        unit: Of the translations. None: metres, provided that the cameras then stand at plausible distances.
        dtype: Precision of the result.

    Raises:
        CalibrationError: no camera has intrinsics, some are placed and others are not, or the unit is implausible.
        FormatError: a file is not such YAML, or an entry is missing or malformed.
        InputError: a file cannot be read.
    """
    path = Path(path)
    files = _files(path)
    entries: dict[str, Value] = {}
    for file in files:
        entries |= {key: value for key, value in read_opencv_yaml(file).items() if key != "names" or key not in entries}
    names = entries.get("names")
    listed = names if isinstance(names, list) else [match[1] for key in entries if (match := _KEYS.fullmatch(key))]
    where = " and ".join(map(str, files))
    found = [_camera(f"{where}, camera '{name}'", name, entries) for name in dict.fromkeys(listed)]
    return assemble(path, found, unit=unit, dtype=dtype)


def _files(path: Path) -> list[Path]:
    folder = path if path.is_dir() else path.parent
    pair = [folder / INTRINSICS, folder / EXTRINSICS]
    if path.is_dir() and not pair[0].is_file():
        raise InputError(f"{path}: holds no {INTRINSICS}; give the folder of {INTRINSICS} and {EXTRINSICS}")
    return [file for file in pair if file.is_file()] if path.is_dir() or path in pair else [path]


def _camera(where: str, name: str, entries: dict[str, Value]) -> CameraEntry:
    distortion = _array(where, entries, f"dist_{name}", None)
    if distortion is None:
        distortion = _array(where, entries, f"D_{name}", None)  # the older name
    matrix = _array(where, entries, f"K_{name}", (3, 3))
    if matrix is None:
        raise CalibrationError(f"{where}: 'K_{name}' is missing; give the folder that holds {INTRINSICS} too")
    pose = _pose(where, name, entries)
    return checked_entry(where, name, matrix=matrix, distortion=distortion, size=_size(where, name, entries), pose=pose)


def _size(where: str, name: str, entries: dict[str, Value]) -> Array | None:
    """Width and height, unless one of the two is not told."""
    told = [text for key in "WH" if isinstance(text := entries.get(f"{key}_{name}"), str)]
    return np.array([parse_numbers(where, text, 1)[0] for text in told]) if len(told) == 2 else None


def _pose(where: str, name: str, entries: dict[str, Value]) -> tuple[Array, Array] | None:
    matrix = _array(where, entries, f"Rot_{name}", (3, 3))
    vector = _array(where, entries, f"R_{name}", (3,))
    translation = _array(where, entries, f"T_{name}", (3,))
    given = [checked_rotation(where, rotation) for rotation in (matrix, vector) if rotation is not None]
    if not given or translation is None:
        return None
    if len(given) == 2 and not np.allclose(given[0], given[1], atol=_TOLERANCE):
        raise FormatError(f"{where}: 'Rot_{name}' and 'R_{name}' are different rotations")
    return given[-1], translation


def _array(where: str, entries: dict[str, Value], key: str, shape: tuple[int, ...] | None) -> Array | None:
    value = entries.get(key)
    if value is None:
        return None
    if isinstance(value, str | list):
        raise FormatError(f"{where}: '{key}' is not a matrix")
    return checked_numbers(where, key, value, shape)


def write_easymocap(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write `intri.yml` and, for placed cameras, `extri.yml`, metres.

    Args:
        path: Folder, made if it is not there; or the path of one of the two files.
        cameras: (V,).

    Raises:
        CalibrationError: the cameras are not one batch of views, or one is a fisheye camera.
        InputError: a name is more than letters, digits, '.', '_' and '-', a file cannot be written, or
            `extri.yml` is there and the cameras have no place.
    """
    entries = disassemble(cameras)
    strange = [entry.name for entry in entries if not _NAME.fullmatch(entry.name)]
    if strange:
        raise InputError(f"EasyMocap's names are letters, digits, '.', '_' and '-'; rename {', '.join(strange)}")
    path = Path(path)
    folder = check_writable(path.parent if path.name in (INTRINSICS, EXTRINSICS) else path)
    names = [entry.name for entry in entries]
    intrinsics: dict[str, Array | int | list[str]] = {"names": names}
    extrinsics: dict[str, Array | int | list[str]] = {"names": names}
    for entry in entries:
        intrinsics |= _intrinsics(entry)
        if cameras.has_extrinsics:
            rotation, translation = placed(entry, "EasyMocap")
            extrinsics |= {
                f"R_{entry.name}": rotation_vector(rotation)[:, None],
                f"Rot_{entry.name}": rotation,
                f"T_{entry.name}": translation[:, None],
            }
    if not cameras.has_extrinsics and (folder / EXTRINSICS).exists():
        raise InputError(f"{folder / EXTRINSICS} is of other cameras and would be read with these; remove it")
    atomic_write_text(folder / INTRINSICS, opencv_yaml(intrinsics))
    if cameras.has_extrinsics:
        atomic_write_text(folder / EXTRINSICS, opencv_yaml(extrinsics))


def _intrinsics(entry: CameraEntry) -> dict[str, Array | int | list[str]]:
    distortion = limited_distortion(entry, max(5, entry.distortion.size), "EasyMocap")
    known = np.isfinite(entry.size).all()
    size = {f"H_{entry.name}": round(entry.size[1]), f"W_{entry.name}": round(entry.size[0])} if known else {}
    return {f"K_{entry.name}": entry.matrix, f"dist_{entry.name}": distortion[None], **size}

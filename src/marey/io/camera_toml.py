"""Camera TOML: the dialect of anipose, Pose2Sim and FreeMoCap, and Caliscope's own.

Both hold one table a camera with `size`, `matrix`, `distortions`, `rotation`, `translation`, world to camera. They
differ in where the tables lie (`[cam_0]` or `[cameras.0]`), in the rotation (Rodrigues vector or 3x3 matrix) and in how
a camera is named. **None of them states the unit of the translations.**
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from marey.core.cameras import DISTORTION_LENGTHS, Cameras
from marey.core.errors import CalibrationError, FormatError, InputError
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.atomic import atomic_write_text
from marey.io.naming import natural_key

Unit = Literal["m", "cm", "mm"]
METRES: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
"""How many metres one unit is."""

PLAUSIBLE_SPREAD = (0.05, 50.0)
"""Median distance between cameras around a person, metres; outside of it the unit is probably another one."""

Array = npt.NDArray[np.float64]


def read_camera_toml(
    path: str | os.PathLike[str], *, unit: Unit | None = None, dtype: torch.dtype = torch.float32
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
    entries = sorted(_entries(path, document), key=lambda entry: natural_key(entry.name))
    if not entries:
        raise CalibrationError(f"{path}: no camera in it; expected tables with 'size' and 'matrix', one a camera")
    names = tuple(entry.name for entry in entries)
    if len(set(names)) != len(names):
        raise FormatError(f"{path}: camera names repeat: {', '.join(names)}")
    placed = [entry.pose is not None for entry in entries]
    if any(placed) and not all(placed):
        missing = ", ".join(name for name, known in zip(names, placed, strict=True) if not known)
        raise CalibrationError(
            f"{path}: no rotation and translation for {missing}, though other cameras have them; "
            "calibrate these cameras or mark them 'ignore = true'"
        )
    cameras = _assemble(entries, dtype)
    return _to_metres(path, cameras, unit, document)


@dataclass(frozen=True)
class _Entry:
    """One camera as the file has it."""

    name: str
    matrix: Array
    distortion: Array
    size: Array
    fisheye: bool
    pose: tuple[Array, Array] | None
    """Rotation, as a vector or a matrix, and translation in the file's unit."""


def _load(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the calibration {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise FormatError(f"{path}: not a TOML file: {error}") from error


def _entries(path: Path, document: Mapping[str, Any]) -> list[_Entry]:
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


def _entry(where: str, key: str, table: Mapping[str, Any]) -> _Entry:
    matrix = _numbers(where, table, "matrix", (3, 3))
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and np.array_equal(matrix[2], [0, 0, 1]) and matrix[1, 0] == 0):
        raise FormatError(
            f"{where}: 'matrix' is not [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0: {matrix}"
        )
    distortion = _numbers(where, table, "distortions", None) if "distortions" in table else np.zeros(0)
    fisheye = table.get("fisheye", False)
    if not isinstance(fisheye, bool):
        raise FormatError(f"{where}: 'fisheye' is {fisheye!r}, expected true or false")
    if distortion.size > (4 if fisheye else DISTORTION_LENGTHS[-1]):
        raise FormatError(
            f"{where}: {distortion.size} distortion coefficients, expected at most "
            f"{'4 for a fisheye camera' if fisheye else DISTORTION_LENGTHS[-1]}"
        )
    size_key = "size" if "size" in table else "image_size"
    size = _numbers(where, table, size_key, (2,)) if size_key in table else np.full(2, np.nan)
    name = table.get("name", key)
    return _Entry(str(name), matrix, distortion, size, fisheye, _pose(where, table))


def _pose(where: str, table: Mapping[str, Any]) -> tuple[Array, Array] | None:
    if "rotation" not in table or "translation" not in table:
        return None
    rotation = _numbers(where, table, "rotation", None)
    if rotation.size == 9:
        rotation = rotation.reshape(3, 3)
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
            raise FormatError(f"{where}: 'rotation' is not a rotation matrix (orthonormal, determinant 1): {rotation}")
    elif rotation.size != 3:
        raise FormatError(f"{where}: 'rotation' has {rotation.size} numbers, expected a Rodrigues vector or 3x3 matrix")
    return rotation, _numbers(where, table, "translation", (3,))


def _numbers(where: str, table: Mapping[str, Any], key: str, shape: tuple[int, ...] | None) -> Array:
    """A finite array; `shape` None: flat, of any length."""
    if key not in table:
        raise FormatError(f"{where}: '{key}' is missing")
    try:
        found = np.asarray(table[key], dtype=np.float64)
        array = found.reshape(shape or -1)
    except (TypeError, ValueError, OverflowError):
        expected = f"numbers of shape {shape}" if shape else "a list of numbers"
        raise FormatError(f"{where}: '{key}' is {table[key]!r}, expected {expected}") from None
    if not np.isfinite(array).all():
        raise FormatError(f"{where}: '{key}' holds values that are not finite: {table[key]!r}")
    return array


def _assemble(entries: list[_Entry], dtype: torch.dtype) -> Cameras:
    fisheye = [entry.fisheye for entry in entries]
    longest = max(max(entry.distortion.size for entry in entries), 4 if any(fisheye) else 0)
    length = next(allowed for allowed in DISTORTION_LENGTHS if allowed >= longest)
    distortion = np.stack([np.pad(entry.distortion, (0, length - entry.distortion.size)) for entry in entries])
    poses = [entry.pose for entry in entries if entry.pose is not None]
    return Cameras(
        intrinsics=torch.tensor(np.stack([entry.matrix for entry in entries])).to(dtype),
        distortion=torch.tensor(distortion).to(dtype),
        image_size=torch.tensor(np.stack([entry.size for entry in entries])).to(dtype),
        rotation=torch.stack([_rotation_matrix(rotation) for rotation, _ in poses]).to(dtype) if poses else None,
        translation=torch.tensor(np.stack([shift for _, shift in poses])).to(dtype) if poses else None,
        fisheye=torch.tensor(fisheye) if any(fisheye) else None,
        names=tuple(entry.name for entry in entries),
    )


def _rotation_matrix(rotation: Array) -> torch.Tensor:
    tensor = torch.tensor(rotation)
    return rotvec_to_matrix(tensor) if tensor.ndim == 1 else tensor


def _to_metres(path: Path, cameras: Cameras, unit: Unit | None, document: Mapping[str, Any]) -> Cameras:
    if unit is not None and unit not in METRES:
        raise InputError(f"unit: expected one of {', '.join(METRES)}, got {unit!r}")
    if not cameras.has_extrinsics:
        return cameras
    metadata = document.get("metadata")
    stated = metadata.get("unit") if isinstance(metadata, dict) else None
    known = unit or (stated if stated in METRES else None)
    scale = METRES[known or "m"]
    metric = replace(cameras, translation=cameras.extrinsics[1] * scale)
    spread = _spread(metric)
    low, high = PLAUSIBLE_SPREAD
    if low <= spread <= high:
        return metric
    problem = f"{path}: in {known or 'm'} the cameras would stand {spread:.3g} m apart (median)"
    if spread < low:
        likely = [f"'{name}'" for name, metres in METRES.items() if low <= spread / scale * metres <= high]
        advice = f"pass unit={' or '.join(likely)}" if likely else "check unit= and the translations"
        raise CalibrationError(f"{problem}, less than {low:g} m; {advice}")
    if known is None and spread > high:
        raise CalibrationError(f"{problem}; the file does not state its unit: pass unit='mm', 'cm' or, if true, 'm'")
    warnings.warn(f"{problem}; check unit=", stacklevel=3)
    return metric


def _spread(cameras: Cameras) -> float:
    """Median distance between pairs of cameras; of a single camera, its distance from the origin."""
    centers = cameras.centers
    if len(centers) == 1:
        return float(torch.linalg.vector_norm(centers[0]).clamp_min(PLAUSIBLE_SPREAD[0]))
    return float(torch.pdist(centers).median())


def write_camera_toml(path: str | os.PathLike[str], cameras: Cameras) -> None:
    """Write cameras (V,) as a TOML that anipose, Pose2Sim and FreeMoCap read: metres, Rodrigues vectors.

    Names that are missing become `cam_0`, `cam_1`, ... An unknown image size is left out. `[metadata]` states the unit,
    which other programs ignore and `read_camera_toml` honours.

    Raises:
        CalibrationError: the cameras are not one batch of views.
        InputError: the file cannot be written.
    """
    if len(cameras.batch_shape) != 1:
        raise CalibrationError(
            f"cameras: expected the batch shape (V,), got {cameras.batch_shape}; write one rig a file"
        )
    names = cameras.names or tuple(f"cam_{view}" for view in range(cameras.batch_shape[0]))
    tables = [_table(name, cameras[view]) for view, name in enumerate(names)]
    atomic_write_text(path, "\n".join([*tables, '[metadata]\nadjusted = false\nerror = 0.0\nunit = "m"\n']))


def _table(name: str, camera: Cameras) -> str:
    """One camera's TOML table; `camera` has no batch dimension."""
    fisheye = camera.fisheye is not None and bool(camera.fisheye)
    lines = [f"[{name if re.fullmatch(r'[A-Za-z0-9_-]+', name) else _quoted(name)}]", f"name = {_quoted(name)}"]
    if bool(torch.isfinite(camera.image_size).all()):
        lines.append(f"size = {_listed(camera.image_size)}")
    lines += [
        f"matrix = {_listed(camera.intrinsics)}",
        f"distortions = {_listed(camera.distortion[:4] if fisheye else camera.distortion)}",
    ]
    if camera.has_extrinsics:
        rotation, translation = camera.extrinsics
        lines += [
            f"rotation = {_listed(matrix_to_rotvec(rotation.double()))}",
            f"translation = {_listed(translation)}",
        ]
    return "\n".join([*lines, f"fisheye = {str(fisheye).lower()}", ""])


def _listed(tensor: torch.Tensor) -> str:
    """Shortest decimals that give the same float64 back."""
    return str(tensor.double().tolist())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

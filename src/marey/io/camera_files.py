"""Camera files of every format: which one a file is, and one function each to read and to write.

Which format it is, is decided in this order:

1. A folder by what lies in it: `cameras.txt` (or `.bin`) COLMAP, `intri.yml` EasyMocap, `*.calib` bioCV, pickles
   OpenCap. Two of these: the format has to be given.
2. A file by its name where that is enough: `.toml`, `.yml` and `.yaml`, `.calib`, `.pickle` and `.pkl`, `cameras.txt`
   and `images.txt`.
3. Else by its content: XML with cameras is Qualisys; JSON is Blender if its cameras have `matrix_world`, CMU Panoptic
   if they have `K`; OpenCV's YAML is EasyMocap; text with `matrix =` is TOML; text that begins with two whole numbers,
   one a line, is bioCV; what begins as a pickle does is OpenCap.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError
from marey.io.formats import FileFormat
from marey.io.text import read_start
from marey.io.units import Unit

CAMERA_FORMATS: dict[str, FileFormat] = {
    "toml": FileFormat(
        "camera TOML: .toml of anipose, Pose2Sim, FreeMoCap, Caliscope",
        "marey.io.camera_toml:read_camera_toml",
        "marey.io.camera_toml:write_camera_toml",
        (".toml",),
    ),
    "caliscope": FileFormat(
        "Caliscope's own camera_array.toml",
        "marey.io.camera_toml:read_camera_toml",
        "marey.io.camera_toml:write_caliscope_toml",
        ("camera_array.toml",),
    ),
    "qualisys": FileFormat(
        "Qualisys .qca.txt",
        "marey.io.qualisys:read_qualisys",
        "marey.io.qualisys:write_qualisys",
        (".qca.txt", ".xml"),
    ),
    "easymocap": FileFormat(
        "EasyMocap intri.yml and extri.yml",
        "marey.io.easymocap:read_easymocap",
        "marey.io.easymocap:write_easymocap",
        ("intri.yml", "extri.yml"),
    ),
    "panoptic": FileFormat(
        "CMU Panoptic calibration_*.json", "marey.io.panoptic:read_panoptic", "marey.io.panoptic:write_panoptic"
    ),
    "colmap": FileFormat(
        "COLMAP text model: folder of cameras.txt and images.txt",
        "marey.io.colmap:read_colmap",
        "marey.io.colmap:write_colmap",
    ),
    "biocv": FileFormat(
        "bioCV: .calib, one a camera", "marey.io.biocv:read_biocv", "marey.io.biocv:write_biocv", (".calib",)
    ),
    "opencap": FileFormat(
        "OpenCap cameraIntrinsicsExtrinsics.pickle, one a camera",
        "marey.io.opencap:read_opencap",
        "marey.io.opencap:write_opencap",
        (".pickle", ".pkl"),
    ),
    "blender": FileFormat(
        "cameras for Blender, .json",
        "marey.io.blender_cameras:read_blender_cameras",
        "marey.io.blender_cameras:write_blender_cameras",
    ),
}

_NAMES = {"cameras.txt": "colmap", "images.txt": "colmap"}
_SUFFIXES = {
    ".toml": "toml",
    ".yml": "easymocap",
    ".yaml": "easymocap",
    ".calib": "biocv",
    ".pickle": "opencap",
    ".pkl": "opencap",
}
_FOLDERS = {
    "colmap": ("cameras.txt", "cameras.bin"),
    "easymocap": ("intri.yml",),
    "biocv": ("*.calib",),
    "opencap": ("*.pickle", "*.pkl", "*/cameraIntrinsicsExtrinsics.pickle"),
}
_TOML_MATRIX = re.compile(r"^[ \t]*matrix[ \t]*=", re.MULTILINE)
_HEAD = 1 << 20
"""Bytes of a file that are looked at; every key that decides comes well before."""


def read_cameras(
    path: str | os.PathLike[str],
    *,
    unit: Unit | float | None = None,
    format: str | None = None,  # noqa: A002 - the word that users know
    dtype: torch.dtype = torch.float32,
) -> Cameras:
    """Read cameras (V,) from a camera file or folder of any format that is known, in metres.

    Args:
        path: The file or folder.
        unit: Of its translations, a name or the metres in one unit, if the format does not state it or the file breaks
            the rule.
        format: A name in `CAMERA_FORMATS`. None: found by name and content.
        dtype: Precision of the result.

    Raises:
        CalibrationError: the cameras are incomplete, or the unit is implausible.
        FormatError: the format is unknown or ambiguous, or the file is not what it demands.
        InputError: the file cannot be read, or no format is called so.
    """
    name = camera_format(path) if format is None else _known(format)
    cameras: Cameras = CAMERA_FORMATS[name].read(path, unit=unit, dtype=dtype)
    return cameras


def write_cameras(
    path: str | os.PathLike[str],
    cameras: Cameras,
    *,
    format: str | None = None,  # noqa: A002 - the word that users know
) -> None:
    """Write cameras (V,) as a camera file or folder. What the format cannot hold is an error that names it.

    Args:
        path: The file or folder.
        cameras: (V,).
        format: A name in `CAMERA_FORMATS`. None: by the suffix, where that means one format.

    Raises:
        CalibrationError: the format cannot hold these cameras.
        FormatError: the suffix does not say the format.
        InputError: the file cannot be written, or no format is called so.
    """
    name = target_camera_format(path) if format is None else _known(format)
    CAMERA_FORMATS[name].write(path, cameras)


def _known(name: str) -> str:
    if name not in CAMERA_FORMATS:
        raise InputError(f"format: expected one of {', '.join(CAMERA_FORMATS)}, got '{name}'")
    return name


def camera_format(path: str | os.PathLike[str]) -> str:
    """The name in `CAMERA_FORMATS` of what lies at `path`; the order of the tests is at the top of this module.

    Raises:
        FormatError: it is none, or more than one.
        InputError: it cannot be read.
    """
    path = Path(path)
    found = camera_formats_of(path)
    if len(found) == 1:
        return found[0]
    problem = (
        f"is {' and '.join(found)} at once; say which by its format" if found else "is no camera file that is known"
    )
    known = "; ".join(f"{name}: {entry.files}" for name, entry in CAMERA_FORMATS.items())
    raise FormatError(f"{path} {problem}. Known are: {known}")


def camera_formats_of(path: str | os.PathLike[str]) -> list[str]:
    """The names in `CAMERA_FORMATS` that what lies at `path` may have: none, one, or several.

    Raises:
        InputError: it cannot be read.
    """
    path = Path(path)
    return _formats_of_folder(path) if path.is_dir() else _formats_of_file(path)


def target_camera_format(path: str | os.PathLike[str]) -> str:
    """The name in `CAMERA_FORMATS` that the end of a path means to a writer; the longest end decides.

    Raises:
        FormatError: it means none, or more than one.
    """
    name = Path(path).name.lower()
    fits = [(len(end), key) for key, entry in CAMERA_FORMATS.items() for end in entry.suffixes if name.endswith(end)]
    if not fits:
        raise FormatError(
            f"{path}: its name does not say which camera format to write; give one of {', '.join(CAMERA_FORMATS)}"
        )
    return max(fits)[1]


def _formats_of_folder(folder: Path) -> list[str]:
    return [name for name, patterns in _FOLDERS.items() if any(any(folder.glob(pattern)) for pattern in patterns)]


def _formats_of_file(path: Path) -> list[str]:
    head = read_start(path, _HEAD)
    named = _NAMES.get(path.name.lower()) or _SUFFIXES.get(path.suffix.lower())
    return [named] if named else _formats_of_content(head.decode("utf-8-sig", errors="replace"))


def _formats_of_content(text: str) -> list[str]:
    start = text.lstrip()
    if start.startswith("<"):
        return ["qualisys"] if "<camera" in start else []
    if start.startswith("{"):
        if '"cameras"' not in start:
            return []
        return [name for key, name in (('"matrix_world"', "blender"), ('"K"', "panoptic")) if key in start]
    if start.startswith("\ufffd"):  # the byte 0x80 that begins a pickle is no UTF-8
        return ["opencap"]
    if start.startswith("%YAML") or "!!opencv-matrix" in start:
        return ["easymocap"]
    if _TOML_MATRIX.search(start):
        return ["toml"]
    first_lines = [line.strip() for line in start.splitlines() if line.strip()][:2]
    return ["biocv"] if len(first_lines) == 2 and all(line.isdecimal() for line in first_lines) else []

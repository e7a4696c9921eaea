"""What every camera file has in common: one entry a camera, checks of its numbers, the unit, the way to `Cameras`."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from marey.core.cameras import DISTORTION_LENGTHS, Cameras
from marey.core.errors import CalibrationError, FormatError, InputError
from marey.geometry.projection import invertible_share
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.naming import listed, natural_key
from marey.io.number_rows import decimal_comma_hint
from marey.io.text import read_text_limited
from marey.io.units import METRES, Unit, metres_per_unit

PLAUSIBLE_SPREAD = (0.05, 50.0)
"""Median distance between cameras around a person, metres; outside of it the unit is probably another one."""

MOST_BYTES = 16 << 20
"""Of a camera file; a rig of 500 cameras has half a megabyte."""

_SAMPLE = 1000
"""So many cameras are enough to judge how far apart they stand, and their lenses."""
_GRID, _FOLDED = 15, 0.01
"""Points along a side of the image at which distortions are inverted, and the share that may fail."""
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FILE_NAME = re.compile(r"\w[\w -]*")
_ORTHONORMAL = 1e-3
"""How far a rotation matrix of a file may be from one; files round to four digits."""

Array = npt.NDArray[np.float64]


def _none() -> Array:
    return np.zeros(0)


def _unknown_size() -> Array:
    return np.full(2, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraEntry:
    """One camera as a file has it, in the conventions of `Cameras` but in the file's unit."""

    name: str
    """Of the view."""
    matrix: Array
    """Intrinsics, (3, 3), pixels."""
    distortion: Array = field(default_factory=_none)
    """(D,), OpenCV order."""
    size: Array = field(default_factory=_unknown_size)
    """Width and height, pixels; NaN where the file does not say."""
    fisheye: bool = False
    """Whether the distortion is OpenCV's fisheye model."""
    pose: tuple[Array, Array] | None = None
    """Rotation (3, 3) and translation (3,), world to camera, in the file's unit; None: unknown."""

    @property
    def skew(self) -> float:
        """Of the intrinsics, pixels."""
        return float(self.matrix[0, 1])


def read_camera_text(path: str | os.PathLike[str]) -> str:
    """The text of a camera file, of at most 16 MiB.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is too large or no text.
    """
    return read_text_limited(path, most_bytes=MOST_BYTES)


def parse_numbers(where: str, text: str, count: int | None = None) -> Array:
    """Numbers between white space; `count` of them if given.

    Raises:
        FormatError: something else stands there, a decimal comma for example, or their number is another.
    """
    words = text.split()
    for word in words:
        if not _DECIMAL.fullmatch(word):
            raise FormatError(f"{where}: '{word[:80]}' is not a finite decimal number{decimal_comma_hint(word)}")
    if count is not None and len(words) != count:
        raise FormatError(f"{where}: {len(words)} numbers, expected {count}: '{text.strip()[:120]}'")
    return checked_numbers(where, "value", [float(word) for word in words], None)


def checked_numbers(where: str, key: str, value: Any, shape: tuple[int, ...] | None) -> Array:
    """A finite array of `shape`; None: flat, of any length.

    Raises:
        FormatError: it is something else.
    """
    try:
        array = np.asarray(value, dtype=np.float64).reshape(shape or -1)
    except (TypeError, ValueError, OverflowError, RecursionError):
        expected = f"numbers of shape {shape}" if shape else "a list of numbers"
        raise FormatError(f"{where}: '{key}' is {_shown(value)}, expected {expected}") from None
    if not np.isfinite(array).all():
        raise FormatError(f"{where}: '{key}' holds values that are not finite: {_shown(value)}")
    return array


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def checked_matrix(where: str, matrix: Array) -> Array:
    """Intrinsics that are some.

    Raises:
        FormatError: they are not [[fx, skew, cx], [0, fy, cy], [0, 0, 1]].
    """
    focal = matrix[0, 0] > 0 and matrix[1, 1] > 0 and bool(np.isfinite(matrix).all())
    if not (focal and np.array_equal(matrix[2], [0, 0, 1]) and matrix[1, 0] == 0):
        raise FormatError(
            f"{where}: 'matrix' is not [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0: {matrix.tolist()}"
        )
    return matrix


def checked_distortion(where: str, distortion: Array, *, fisheye: bool = False) -> Array:
    """Coefficients of a number that the model has.

    Raises:
        FormatError: they are too many.
    """
    if distortion.size > (4 if fisheye else DISTORTION_LENGTHS[-1]):
        raise FormatError(
            f"{where}: {distortion.size} distortion coefficients, expected at most "
            f"{'4 for a fisheye camera' if fisheye else DISTORTION_LENGTHS[-1]}"
        )
    return distortion


def checked_size(where: str, size: Array) -> Array:
    """Width and height above zero.

    Raises:
        FormatError: they are not.
    """
    if not (size > 0).all():
        raise FormatError(f"{where}: the image size is {size.tolist()}, expected width and height above 0")
    return size


def checked_entry(
    where: str,
    name: str,
    *,
    matrix: Array,
    distortion: Array | None = None,
    size: Array | None = None,
    pose: tuple[Array, Array] | None = None,
) -> CameraEntry:
    """A camera of which matrix, distortion and size are checked; None: no distortion, an unknown size, no place.

    Raises:
        FormatError: one of them is not what it must be.
        CalibrationError: as for `checked_matrix` and `checked_distortion`.
    """
    return CameraEntry(
        name=name,
        matrix=checked_matrix(where, matrix),
        distortion=checked_distortion(where, np.zeros(0) if distortion is None else distortion),
        size=_unknown_size() if size is None else checked_size(where, size),
        pose=pose,
    )


def checked_rotation(where: str, rotation: Array) -> Array:
    """A rotation matrix (3, 3), of a Rodrigues vector or of a matrix.

    Raises:
        FormatError: it is neither.
    """
    if rotation.size == 3:
        turned: Array = rotvec_to_matrix(torch.tensor(rotation.reshape(3))).numpy()
        return turned
    if rotation.size != 9:
        raise FormatError(f"{where}: 'rotation' has {rotation.size} numbers, expected a Rodrigues vector or 3x3 matrix")
    matrix = rotation.reshape(3, 3)
    with np.errstate(over="ignore", invalid="ignore"):
        good = np.allclose(matrix @ matrix.T, np.eye(3), atol=_ORTHONORMAL) and np.linalg.det(matrix) > 0
    if not good:
        raise FormatError(
            f"{where}: 'rotation' is not a rotation matrix (orthonormal, determinant 1): {matrix.tolist()}"
        )
    return matrix


def assemble(
    path: Path,
    entries: Iterable[CameraEntry],
    *,
    unit: Unit | float | None = None,
    stated: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Cameras:
    """Make `Cameras` (V,) of a file's entries, in natural order of their names, in metres.

    Args:
        path: For messages.
        entries: In any order. Distortions are padded with zeros to one length.
        unit: Of the translations, as the caller says it: a name, or the metres in one unit.
        stated: The unit that the file or its format states.
        dtype: Precision of the result.

    A distortion without an inverse in more than a hundredth of the image gives a warning that names the camera.

    Raises:
        CalibrationError: there is no camera, some are placed and others are not, or the unit is implausible.
        FormatError: names repeat.
        InputError: the unit is none.
    """
    ordered = sorted(entries, key=lambda entry: natural_key(entry.name))
    if not ordered:
        raise CalibrationError(f"{path}: no camera in it; is it a camera file?")
    names = tuple(entry.name for entry in ordered)
    if len(set(names)) != len(names):
        repeated = [name for name, count in Counter(names).items() if count > 1]
        raise FormatError(f"{path}: camera names repeat: {listed(repeated)}")
    unplaced = [entry.name for entry in ordered if entry.pose is None]
    if unplaced and len(unplaced) < len(ordered):
        raise CalibrationError(
            f"{path}: no rotation and translation for {listed(unplaced)}, though other cameras have them; "
            "calibrate these cameras or leave them out ('ignore = true' in a TOML)"
        )
    cameras = _stacked(ordered, dtype)
    _tell_folds(path, cameras)
    return _to_metres(path, cameras, unit, stated)


def _stacked(entries: Sequence[CameraEntry], dtype: torch.dtype) -> Cameras:
    fisheye = [entry.fisheye for entry in entries]
    longest = max(max(entry.distortion.size for entry in entries), 4 if any(fisheye) else 0)
    length = next(allowed for allowed in DISTORTION_LENGTHS if allowed >= longest)
    distortion = np.stack([np.pad(entry.distortion, (0, length - entry.distortion.size)) for entry in entries])
    poses = [entry.pose for entry in entries if entry.pose is not None]
    return Cameras(
        intrinsics=torch.tensor(np.stack([entry.matrix for entry in entries])).to(dtype),
        distortion=torch.tensor(distortion).to(dtype),
        image_size=torch.tensor(np.stack([entry.size for entry in entries])).to(dtype),
        rotation=torch.tensor(np.stack([rotation for rotation, _ in poses])).to(dtype) if poses else None,
        translation=torch.tensor(np.stack([shift for _, shift in poses])).to(dtype) if poses else None,
        fisheye=torch.tensor(fisheye) if any(fisheye) else None,
        names=tuple(entry.name for entry in entries),
    )


def _tell_folds(path: Path, cameras: Cameras) -> None:
    """Warn of lenses without an inverse in a part of the image: two directions meet in a pixel there."""
    known = cameras.image_size.isfinite().all(-1) & cameras.distortion.any(-1)
    at = known.nonzero()[:_SAMPLE, 0]
    if not len(at):
        return
    lenses = cameras[at]
    lost = 1 - invertible_share(lenses, samples=_GRID)
    folded = [
        f"{name} ({share:.0%} of the image)"
        for name, share in zip(lenses.names, lost.tolist(), strict=True)
        if share > _FOLDED
    ]
    if folded:
        warnings.warn(
            f"{path}: the distortion has no inverse in a part of the image of {listed(folded)}; points there count as "
            "not seen; calibrate with fewer coefficients, or with boards that reach into the corners",
            stacklevel=4,
        )


def _to_metres(path: Path, cameras: Cameras, unit: Unit | float | None, stated: str | None) -> Cameras:
    known = stated if unit is None and stated in METRES else unit
    scale = metres_per_unit("m" if known is None else known)
    if not cameras.has_extrinsics:
        return cameras
    metric = replace(cameras, translation=cameras.extrinsics[1] * scale)
    spread = _spread(metric)
    if not math.isfinite(spread):
        raise CalibrationError(f"{path}: the cameras' places are beyond all numbers; check the translations")
    low, high = PLAUSIBLE_SPREAD
    if low <= spread <= high:
        return metric
    named = f"units of {known:g} m" if isinstance(known, float | int) else known or "m"
    problem = f"{path}: in {named} the cameras would stand {spread:.3g} m apart (median)"
    if spread < low:
        likely = [f"'{name}'" for name in get_args(Unit) if low <= spread / scale * METRES[name] <= high]
        advice = f"pass unit={' or '.join(likely)}" if likely else "check unit= and the translations"
        raise CalibrationError(f"{problem}, less than {low:g} m; {advice}")
    if known is None:
        raise CalibrationError(f"{problem}; the file does not state its unit: pass unit='mm', 'cm' or, if true, 'm'")
    warnings.warn(f"{problem}; check unit=", stacklevel=4)
    return metric


def _spread(cameras: Cameras) -> float:
    """Median distance between pairs of cameras; of a single camera, its distance from the origin."""
    centers = cameras.centers.double()
    if len(centers) == 1:
        return float(torch.linalg.vector_norm(centers[0]).clamp_min(PLAUSIBLE_SPREAD[0]))
    sample = centers[torch.linspace(0, len(centers) - 1, min(len(centers), _SAMPLE)).long()]
    return float(torch.pdist(sample).median())


def disassemble(cameras: Cameras) -> list[CameraEntry]:
    """One entry a camera of a rig (V,), in float64 and metres, for a writer; nameless cameras are `cam_0`, `cam_1`, ...

    Raises:
        CalibrationError: the cameras are not one batch of views.
    """
    if len(cameras.batch_shape) != 1:
        raise CalibrationError(
            f"cameras: expected the batch shape (V,), got {cameras.batch_shape}; write one rig a file"
        )
    names = cameras.names or tuple(f"cam_{view}" for view in range(cameras.batch_shape[0]))
    return [_entry(name, cameras[view]) for view, name in enumerate(names)]


def _entry(name: str, camera: Cameras) -> CameraEntry:
    """`camera` has no batch dimension."""
    fisheye = camera.fisheye is not None and bool(camera.fisheye)
    distortion = _array(camera.distortion)
    pose = (_array(camera.rotation), _array(camera.translation)) if camera.has_extrinsics else None
    return CameraEntry(
        name=name,
        matrix=_array(camera.intrinsics),
        distortion=distortion[:4] if fisheye else distortion,
        size=_array(camera.image_size),
        fisheye=fisheye,
        pose=pose,
    )


def _array(tensor: torch.Tensor | None) -> Array:
    assert tensor is not None
    array: Array = tensor.detach().cpu().double().numpy()
    return array


def rotation_vector(rotation: Array) -> Array:
    """Rodrigues vector (3,) of a rotation matrix."""
    vector: Array = matrix_to_rotvec(torch.tensor(rotation)).numpy()
    return vector


def placed(entry: CameraEntry, format_name: str) -> tuple[Array, Array]:
    """The pose of a camera, for a format that cannot do without.

    Raises:
        CalibrationError: it is unknown.
    """
    if entry.pose is None:
        raise CalibrationError(
            f"camera '{entry.name}' has no rotation and translation, which {format_name} cannot leave out; "
            "calibrate it, or write a TOML, which can"
        )
    return entry.pose


def sized(entry: CameraEntry, format_name: str) -> tuple[int, int]:
    """Whole width and height, for a format that cannot do without.

    Raises:
        CalibrationError: they are unknown or no whole numbers.
    """
    if not np.isfinite(entry.size).all() or (entry.size != np.round(entry.size)).any():
        raise CalibrationError(
            f"camera '{entry.name}': the image size is {entry.size.tolist()}, but {format_name} needs whole numbers; "
            "set Cameras.image_size, or write a TOML, which can leave it out"
        )
    return int(entry.size[0]), int(entry.size[1])


def limited_distortion(entry: CameraEntry, most: int, format_name: str) -> Array:
    """The pinhole distortion as exactly `most` coefficients.

    Raises:
        CalibrationError: it is a fisheye camera or has more coefficients that are not zero.
    """
    if entry.fisheye:
        raise CalibrationError(
            f"camera '{entry.name}' is a fisheye camera, which {format_name} cannot hold; write a TOML or COLMAP"
        )
    if entry.distortion[most:].any():
        raise CalibrationError(
            f"camera '{entry.name}': {np.flatnonzero(entry.distortion)[-1] + 1} distortion coefficients, "
            f"{format_name} holds {most}; write a TOML, or calibrate with the smaller model"
        )
    return np.pad(entry.distortion[:most], (0, max(0, most - entry.distortion.size)))


def without_skew(entry: CameraEntry, format_name: str) -> None:
    """Refuse a skewed camera for a format that has no place for it.

    Raises:
        CalibrationError: the skew is not zero.
    """
    if entry.skew:
        raise CalibrationError(
            f"camera '{entry.name}' has a skew of {entry.skew:g} px, which {format_name} cannot hold; write a TOML"
        )


def decimals(values: Any) -> str:
    """Numbers between blanks, each the shortest that gives the same float64 back."""
    return " ".join(repr(float(value)) for value in np.ravel(values))


def file_names(entries: Sequence[CameraEntry]) -> list[str]:
    """The cameras' names, for formats with one file or folder a camera.

    Raises:
        InputError: a name cannot be one, or two differ in case only.
    """
    names = [entry.name for entry in entries]
    strange = [name for name in names if not _FILE_NAME.fullmatch(name)]
    if strange or len({name.casefold() for name in names}) < len(names):
        raise InputError(
            f"the names become file names: letters, digits, blanks, '_' and '-', no two alike; "
            f"rename {listed(strange or names)}"
        )
    return names

"""C3D, the binary marker files of biomechanics laboratories: Vicon, Qualisys, OptiTrack, Visual3D, OpenSim, Mokka.

After "The C3D File Format User Guide" (Motion Lab Systems, 2021). Read and written here without another library: the
native ones trust the counts that a damaged file states.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, ShapeError
from marey.io.atomic import atomic_path
from marey.io.c3d_parameters import (
    BLOCK,
    DEC,
    INTEL,
    MIPS,
    Numbers,
    Value,
    Written,
    packed_parameters,
    parse_parameters,
)
from marey.io.motion_files import unique_names
from marey.io.text import read_bytes_limited, read_start
from marey.io.units import METRES, metres_per_unit

_KEY = 0x50
_MOST_BYTES = 4 << 30
_MOST_SECTION = 256 * BLOCK
"""Bytes within which the parameters begin: their block is one byte."""
_CHUNK = 4096
"""Frames taken from the bytes at once."""
_MOST_WORD = 0xFFFF
_LABELS = 255
"""In one parameter; further ones go into LABELS2, LABELS3, ..."""
_LONGEST_NAME = 120


@dataclass(frozen=True, kw_only=True)
class C3dFile:
    """Markers over time, in metres whatever the file's unit. Analog channels are not read."""

    positions: npt.NDArray[np.float64]
    """(T, M, 3) metres in the file's own axes; NaN in gaps."""
    residuals: npt.NDArray[np.float64]
    """(T, M) metres, by which the rays of the cameras missed each other; 0 where it was not measured; NaN in gaps."""
    names: tuple[str, ...]
    """Of the M markers."""
    rate: float
    """Frames per second."""
    first_frame: int
    """Number of the first frame, counting from 1."""
    unit: str
    """In which the file has its coordinates, as it says."""
    screen: tuple[str, str] | None
    """The file's axes to the right and upwards on a screen, such as ("+X", "+Z"), if it says so."""
    parameters: Mapping[str, Mapping[str, Value]]
    """All of the file's parameters, by group and name in capitals: events, subjects, force plates, ..."""


def read_c3d(path: str | os.PathLike[str], *, unit: str | float | None = None) -> C3dFile:
    """Read the markers of a C3D file of any processor, in whole numbers or floats.

    A negative residual, or a coordinate that is no number, is a gap. A file that ends before its last frame is read as
    far as it goes, with a warning; names that are missing are numbered.

    Args:
        path: The file.
        unit: Of the coordinates, against what the file says: m, cm, mm, in, or the metres in one unit. None: what the
            file says in POINT:UNITS.

    Raises:
        InputError: the file cannot be read, or `unit` is unknown.
        FormatError: it is not C3D, contradicts itself, or states no known unit.
    """
    path = Path(path)
    head = _Header.of(path, read_start(path, _MOST_SECTION))
    data = read_bytes_limited(path, most_bytes=_MOST_BYTES)
    parameters = parse_parameters(path, _section(data, head), head.numbers)
    point = parameters.get("POINT", {})
    if not head.data:
        head = replace(head, data=int(_number(point, "DATA_START", 0.0)) & _MOST_WORD)
    if head.data * BLOCK <= head.section:
        raise FormatError(f"{path}: its frames begin at block {head.data}, before its parameters")
    stated = _text(point, "UNITS")
    metres = _metres(path, stated) if unit is None else metres_per_unit(unit)
    values = _frames(path, data, head, _promised(head, parameters))
    rate = _number(point, "RATE", head.rate)
    if not (math.isfinite(rate) and rate > 0):
        raise FormatError(f"{path}: POINT:RATE is {rate}, expected frames per second above 0")
    positions, residuals = _points(values, head, _number(point, "SCALE", head.scale))
    right, upwards = _text(point, "X_SCREEN"), _text(point, "Y_SCREEN")
    return C3dFile(
        positions=positions * metres,
        residuals=residuals * metres,
        names=_names(path, point, head.points),
        rate=rate,
        first_frame=head.first,
        unit=stated,
        screen=(right, upwards) if right and upwards else None,
        parameters=parameters,
    )


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The first block, and how the file writes numbers."""

    numbers: Numbers
    section: int
    """Byte at which the parameters begin."""
    points: int
    analogs: int
    """Analog samples in one frame, all channels together."""
    first: int
    last: int
    """First and last frame; the last is at most 65535 here."""
    scale: float
    """What whole numbers are multiplied by; negative: coordinates are floats."""
    data: int
    """Block at which the frames begin, from 1; 0: not said."""
    rate: float

    @classmethod
    def of(cls, path: Path, data: bytes) -> _Header:
        section = (data[0] - 1) * BLOCK if data else -1
        if len(data) < 2 or data[1] != _KEY or section < BLOCK:
            raise FormatError(f"{path}: not a C3D file; expected 0x50 in its second byte")
        if len(data) < section + 4:
            raise FormatError(f"{path}: ends before its parameters; cut off?")
        processor = data[section + 3]
        if processor not in (INTEL, DEC, MIPS):
            raise FormatError(f"{path}: processor type {processor}, expected 84 (Intel), 85 (DEC) or 86 (MIPS)")
        numbers = Numbers(processor)
        words = numbers.words(data[:24]).astype(np.int64) & _MOST_WORD
        scale, rate = numbers.floats(data[12:16])[0], numbers.floats(data[20:24])[0]
        return cls(
            numbers=numbers,
            section=section,
            points=int(words[1]),
            analogs=int(words[2]),
            first=int(words[3]),
            last=int(words[4]),
            scale=float(scale),
            data=int(words[8]),
            rate=float(rate),
        )


def _section(data: bytes, head: _Header) -> bytes:
    """The parameters, as far as their number of blocks goes, or to the end where it is 0, as some programs write."""
    blocks = data[head.section + 2] or 255
    return data[head.section : head.section + blocks * BLOCK]


def _promised(head: _Header, parameters: Mapping[str, Mapping[str, Value]]) -> int:
    """Frames that the file says it has; the header's 16 bits do not reach for more than 65535."""
    trial, point = parameters.get("TRIAL", {}), parameters.get("POINT", {})
    start, end = (_long(trial.get(f"ACTUAL_{name}_FIELD")) for name in ("START", "END"))
    if start is not None and end is not None and end >= start:
        return end - start + 1
    long = _number(point, "LONG_FRAMES", 0.0)
    if math.isfinite(long) and long > _MOST_WORD:
        return int(long)
    if head.last >= _MOST_WORD:
        return int(_number(point, "FRAMES", float(_MOST_WORD))) & _MOST_WORD
    return max(head.last - head.first + 1, 0)


def _long(value: Value | None) -> int | None:
    """A whole number in two words, the lower one first."""
    if not isinstance(value, np.ndarray) or len(value) != 2:
        return None
    low, high = (int(word) & _MOST_WORD for word in value)
    return low + (high << 16)


def _frames(path: Path, data: bytes, head: _Header, promised: int) -> npt.NDArray[np.float64]:
    """(T, M, 4) numbers as they stand in the file: x, y, z and the word of the residual."""
    size = (head.points * 4 + head.analogs) * (4 if head.scale < 0 else 2)
    body = data[(head.data - 1) * BLOCK :]
    count = min(promised, len(body) // size) if size else 0
    if count < promised and head.points:
        warnings.warn(f"{path}: {count} frames, but it promises {promised}; cut off?", stacklevel=3)
    values = np.empty((count, head.points, 4))
    for start in range(0, count, _CHUNK):  # analog data may be a hundred times the markers'
        stop = min(start + _CHUNK, count)
        rows = np.frombuffer(body, np.uint8, (stop - start) * size, start * size).reshape(stop - start, size)
        part = rows[:, : head.points * (16 if head.scale < 0 else 8)].tobytes()
        read = head.numbers.floats(part) if head.scale < 0 else head.numbers.words(part)
        values[start:stop] = read.reshape(stop - start, head.points, 4)
    return values


def _points(
    values: npt.NDArray[np.float64], head: _Header, scale: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Positions (T, M, 3) and residuals (T, M) in the file's unit, NaN in gaps."""
    scale = scale if math.isfinite(scale) and scale != 0 else head.scale
    positions = values[..., :3] * (1.0 if head.scale < 0 else abs(scale))
    word = values[..., 3]
    there = (word >= 0) & np.isfinite(positions).all(axis=-1)
    low = np.where(there & (word <= _MOST_WORD), word, 0).astype(np.int64) & 0xFF  # above it: which cameras saw it
    return np.where(there[..., None], positions, np.nan), np.where(there, low * abs(scale), np.nan)


def _names(path: Path, point: Mapping[str, Value], count: int) -> tuple[str, ...]:
    names: list[str] = []
    for number in range(1, 1 + count // _LABELS + 1):
        value = point.get("LABELS" if number == 1 else f"LABELS{number}", ())
        names += value if isinstance(value, tuple) else ()
    names = (names + [""] * count)[:count]
    return unique_names(path, [name or f"point_{place}" for place, name in enumerate(names, start=1)])


def _text(parameters: Mapping[str, Value], name: str) -> str:
    value = parameters.get(name, ())
    return value[0] if isinstance(value, tuple) and value else ""


def _number(parameters: Mapping[str, Value], name: str, default: float) -> float:
    value = parameters.get(name, ())
    return float(value[0]) if isinstance(value, np.ndarray) and len(value) else default


def _metres(path: Path, unit: str) -> float:
    if unit.lower() not in METRES:
        raise FormatError(
            f"{path}: POINT:UNITS is '{unit[:40]}', expected one of {', '.join(METRES)}; pass unit= to say it"
        )
    return METRES[unit.lower()]


def write_c3d(
    path: str | os.PathLike[str],
    positions: npt.ArrayLike,
    names: Sequence[str],
    *,
    fps: float,
    first_frame: int = 1,
    unit: Literal["mm", "m"] = "mm",
    up: Literal["y", "z"] = "y",
) -> None:
    """Write markers of one or more people as floats on an Intel processor, the kind that every program reads.

    Gaps are zeros with residual -1, as the format demands; other residuals are 0.

    Args:
        path: The file.
        positions: (T, M, 3) metres, in the axes to be written; NaN in gaps.
        names: Of the M markers.
        fps: Frames per second.
        first_frame: Number of the first frame, from 1.
        unit: To write the coordinates in; programs expect mm most often.
        up: Which axis points upwards; told to programs in POINT:X_SCREEN and Y_SCREEN.

    Raises:
        ShapeError: positions and names do not fit together.
        InputError: the frame rate, the unit, the axis or the names cannot be written, or the file cannot.
    """
    values = np.asarray(positions, dtype=np.float64)
    if values.ndim != 3 or values.shape[1:] != (len(names), 3):
        raise ShapeError(f"positions: expected (T, {len(names)}, 3) for the {len(names)} names, got {values.shape}")
    _check_arguments(names, fps=fps, first_frame=first_frame, unit=unit, up=up)
    groups = _groups(names, len(values), fps=fps, first_frame=first_frame, unit=unit, up=up)
    blocks = len(packed_parameters(groups)) // BLOCK
    groups["POINT"]["DATA_START"] = 2 + blocks
    section = packed_parameters(groups)
    last = min(first_frame + len(values) - 1, _MOST_WORD)
    header = struct.pack("<BBHHHHHfHHf", 2, _KEY, len(names), 0, first_frame, last, 0, -1.0, 2 + blocks, 0, fps)
    cells = np.zeros((len(values), len(names), 4), dtype="<f4")
    there = np.logical_and.reduce(np.isfinite(values), axis=-1, dtype=np.bool_)
    cells[..., :3] = np.where(there[..., None], values / METRES[unit], 0.0)
    cells[..., 3] = np.where(there, 0.0, -1.0)
    body = cells.tobytes()
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header.ljust(BLOCK, b"\0") + section)
        file.write(body)
        if len(values) <= _MOST_WORD:  # whole blocks; longer files are read to their end, where zeros would be markers
            file.write(bytes(-len(body) % BLOCK))


def _check_arguments(names: Sequence[str], *, fps: float, first_frame: int, unit: str, up: str) -> None:
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps: a C3D file needs a frame rate above 0, got {fps}")
    if unit not in ("mm", "m") or up not in ("y", "z"):
        raise InputError(f"unit, up: expected mm or m and y or z, got {unit!r} and {up!r}")
    if not 1 <= first_frame <= _MOST_WORD or len(names) > _MOST_WORD:
        raise InputError(f"first_frame, names: expected 1 to 65535, got {first_frame} and {len(names)} names")
    for name in names:
        if not name.strip() or len(name.encode()) > _LONGEST_NAME:
            raise InputError(f"names: '{name[:40]}' is empty or longer than {_LONGEST_NAME} bytes")


def _groups(
    names: Sequence[str], count: int, *, fps: float, first_frame: int, unit: str, up: str
) -> dict[str, dict[str, Written]]:
    point: dict[str, Written] = {
        "USED": len(names),
        "FRAMES": min(count, _MOST_WORD),
        "DATA_START": 0,
        "SCALE": -1.0,
        "RATE": float(fps),
        "X_SCREEN": "+X",
        "Y_SCREEN": f"+{up.upper()}",
        "UNITS": unit,
    }
    if count > _MOST_WORD:
        point["LONG_FRAMES"] = float(count)
    for number, start in enumerate(range(0, max(len(names), 1), _LABELS), start=1):
        point["LABELS" if number == 1 else f"LABELS{number}"] = list(names[start : start + _LABELS])
    ends = [first_frame, first_frame + count - 1]
    fields = [np.array([end & _MOST_WORD, end >> 16], dtype=np.uint16).view(np.int16) for end in ends]
    return {
        "POINT": point,
        "ANALOG": {"USED": 0, "GEN_SCALE": 1.0, "RATE": float(fps)},
        "FORCE_PLATFORM": {"USED": 0},
        "TRIAL": {"ACTUAL_START_FIELD": fields[0], "ACTUAL_END_FIELD": fields[1], "CAMERA_RATE": float(fps)},
    }

"""TRC, the marker trajectories of OpenSim: tab-separated text with five header lines."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, ShapeError
from marey.io.atomic import atomic_path
from marey.io.number_rows import parse_number, parse_number_rows
from marey.io.text import LONGEST_LINE, read_text_limited
from marey.io.units import METRES

_DECIMALS = {"m": 6, "mm": 3}
"""Of the written coordinates: a micrometre either way."""
_MOST_FRAMES = 1 << 53

FIELDS = (
    "DataRate",
    "CameraRate",
    "NumFrames",
    "NumMarkers",
    "Units",
    "OrigDataRate",
    "OrigDataStartFrame",
    "OrigNumFrames",
)
"""Names in the second header line."""


@dataclass(frozen=True, kw_only=True)
class TrcFile:
    """Markers over time, in metres whatever the file's unit."""

    positions: npt.NDArray[np.float64]
    """(T, M, 3) metres in the file's own axes (OpenSim's have y up); NaN in gaps."""
    names: tuple[str, ...]
    """Of the M markers."""
    frames: npt.NDArray[np.int64]
    """(T,), the column Frame#, which usually counts from 1."""
    times: npt.NDArray[np.float64]
    """(T,) seconds."""
    rate: float
    """Frames per second."""
    unit: str
    """In which the file has its coordinates: m, cm or mm."""


def read_trc(path: str | os.PathLike[str]) -> TrcFile:
    """Read marker trajectories; tab- and comma-separated files both occur.

    Empty cells and NaN are gaps. Fewer rows than the header promises, or a last row that is cut off, give a warning.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not a TRC file, its unit is unknown, or a row is malformed.
    """
    path = Path(path)
    lines = _lines(path)
    separator = "\t" if "\t" in lines[0] else ","
    header, names = _header(path, lines, separator)
    unit = header.get("Units", "").strip().lower()
    if unit not in METRES:
        raise FormatError(f"{path}: unit '{unit}', expected one of {', '.join(METRES)}")
    table = parse_number_rows(path, lines[5:], first=6, width=2 + 3 * len(names), separator=separator, gaps=True)
    if not (np.isfinite(table[:, :2]).all() and (np.abs(table[:, 0]) < _MOST_FRAMES).all()):
        raise FormatError(f"{path}: a row has no frame number or no time")
    expected = _number(path, header, "NumFrames")
    if expected != len(table):
        warnings.warn(f"{path}: {len(table)} frames, but its header promises {expected:.0f}; cut off?", stacklevel=2)
    return TrcFile(
        positions=table[:, 2:].reshape(len(table), len(names), 3) * METRES[unit],
        names=names,
        frames=table[:, 0].astype(np.int64),
        times=table[:, 1].copy(),
        rate=_number(path, header, "DataRate"),
        unit=unit,
    )


def _lines(path: Path) -> list[str]:
    lines = read_text_limited(path, longest_line=LONGEST_LINE).split("\n")
    if len(lines) < 5 or not lines[0].startswith("PathFileType"):
        raise FormatError(f"{path}: not a TRC file; expected five header lines, the first starting with PathFileType")
    return lines


def _header(path: Path, lines: list[str], separator: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Field name -> value of lines 2 and 3, and the marker names of line 4."""
    header = dict(zip(lines[1].split(separator), lines[2].split(separator), strict=False))
    cells = [cell.strip() for cell in lines[3].split(separator)]
    names = cells[2::3]
    count = _number(path, header, "NumMarkers")
    while names and not names[-1]:
        names.pop()
    if len(names) != count or not all(names):
        raise FormatError(f"{path}: {count:.0f} markers in line 3, but line 4 names {len(names)}")
    return header, tuple(names)


def _number(path: Path, header: dict[str, str], field: str) -> float:
    return parse_number(path, header.get(field, ""), f"header field {field}")


def write_trc(
    path: str | os.PathLike[str],
    positions: npt.ArrayLike,
    names: Sequence[str],
    *,
    fps: float,
    frames: Sequence[int] | None = None,
    unit: Literal["m", "mm"] = "m",
) -> None:
    """Write marker trajectories of one person as OpenSim reads them.

    Gaps are empty cells: the text NaN breaks OpenSim's readers. Frame numbers are written counting from 1 and times
    from 0, so that frame index i of a recording is row `Frame# = i + 1` at `i / fps` seconds.

    Args:
        path: The file.
        positions: (T, J, 3) metres, in the axes to be written (OpenSim expects y up); NaN in gaps.
        names: Of the J markers.
        fps: Frames per second.
        frames: (T,) frame indices counting from 0; None: 0..T-1.
        unit: To write the coordinates in.

    Raises:
        ShapeError: positions, names and frames do not fit together.
        InputError: the frame rate, the unit or a name cannot be written, or the file cannot.
    """
    values = np.asarray(positions, dtype=np.float64)
    if values.ndim != 3 or values.shape[1:] != (len(names), 3):
        raise ShapeError(f"positions: expected (T, {len(names)}, 3) for the {len(names)} names, got {values.shape}")
    indices = np.arange(len(values)) if frames is None else np.asarray(frames)
    if indices.shape != (len(values),):
        raise ShapeError(f"frames: expected {len(values)} indices, got {indices.shape}")
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps: a TRC file needs a frame rate above 0, got {fps}")
    if unit not in _DECIMALS:
        raise InputError(f"unit: expected one of {', '.join(_DECIMALS)}, got {unit!r}")
    if any(not name or set(name) & set("\t\r\n") for name in names):
        raise InputError(f"names: empty, or with tabs or line feeds in them: {list(names)}")
    path = Path(path)
    cells = values.reshape(len(values), -1) / METRES[unit]
    form = f"%.{_DECIMALS[unit]}f"
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_written_header(path.name, names, len(values), int(indices[0]) if len(values) else 0, fps, unit))
        for index, row in zip(indices.tolist(), cells.tolist(), strict=True):
            written = [form % cell if math.isfinite(cell) else "" for cell in row]
            file.write("\t".join([str(index + 1), f"{index / fps:.6f}", *written]) + "\n")


def _written_header(file: str, names: Sequence[str], count: int, first: int, fps: float, unit: str) -> str:
    rate = f"{fps:.10g}"
    values = [rate, rate, str(count), str(len(names)), unit, rate, str(first + 1), str(count)]
    axes = [f"{axis}{place}" for place in range(1, len(names) + 1) for axis in "XYZ"]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", file],
        FIELDS,
        values,
        ["Frame#", "Time", *(cell for name in names for cell in (name, "", ""))],
        ["", "", *axes],
    ]
    return "".join("\t".join(line) + "\n" for line in lines)

"""MOT and STO, the tables over time of OpenSim: coordinates of a model, forces, activations."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, ShapeError
from marey.io.atomic import atomic_path
from marey.io.number_rows import parse_number, parse_number_rows
from marey.io.text import LONGEST_LINE, read_text_limited

_MOST_HEADER = 1000
"""Lines before `endheader`."""


@dataclass(frozen=True, kw_only=True)
class MotFile:
    """Columns over time, as they stand in the file."""

    times: npt.NDArray[np.float64]
    """(T,) seconds, rising."""
    values: npt.NDArray[np.float64]
    """(T, C) angles in degrees or radians as `in_degrees` says, lengths in metres; NaN where the file has NaN."""
    names: tuple[str, ...]
    """Of the C columns, such as knee_angle_r."""
    in_degrees: bool
    """Of the angles; which columns are angles, only the model knows."""
    title: str
    """First line of the file."""
    header: dict[str, str]
    """The other lines of the form key=value, keys in small letters."""


def read_mot(path: str | os.PathLike[str]) -> MotFile:
    """Read a table of OpenSim; columns separated by tabs, commas or spaces all occur.

    Fewer or more rows than the header promises, or a last row that is cut off, give a warning.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such table, a row is malformed, or its times do not rise.
    """
    path = Path(path)
    lines = read_text_limited(path, longest_line=LONGEST_LINE).split("\n")
    end, header = _header(path, lines)
    labels = lines[end + 1] if end + 1 < len(lines) else ""
    separator = next((sign for sign in "\t," if sign in labels), None)
    names = [name.strip() for name in labels.split(separator)]
    if names[:1] not in (["time"], ["Time"], ["TIME"]) or not all(names) or len(set(names)) < len(names):
        raise FormatError(
            f"{path}, line {end + 2}: expected 'time' and names, none empty or twice, got '{labels[:60]}'"
        )
    table = parse_number_rows(path, lines[end + 2 :], first=end + 3, width=len(names), separator=separator)
    _check_counts(path, header, table)
    if not (np.isfinite(table[:, 0]).all() and (np.diff(table[:, 0]) > 0).all()):
        raise FormatError(f"{path}: its times do not rise from row to row")
    return MotFile(
        times=table[:, 0].copy(),
        values=table[:, 1:].copy(),
        names=tuple(names[1:]),
        in_degrees=header.get("indegrees", "no").lower() in ("yes", "true", "1"),
        title=lines[0].strip(" ,\t"),
        header=header,
    )


def _header(path: Path, lines: Sequence[str]) -> tuple[int, dict[str, str]]:
    """Place of `endheader`, and what stands before it."""
    header: dict[str, str] = {}
    for place, line in enumerate(lines[:_MOST_HEADER]):
        text = line.strip(" ,\t")
        if text.lower() == "endheader":
            return place, header
        key, sign, value = text.partition("=")
        if sign:
            header[key.strip().lower()] = value.strip()
    raise FormatError(f"{path}: not a table of OpenSim; expected a header that ends with the line endheader")


def _check_counts(path: Path, header: dict[str, str], table: npt.NDArray[np.float64]) -> None:
    for key, found, what in (("nrows", table.shape[0], "rows"), ("ncolumns", table.shape[1], "columns")):
        if key in header and parse_number(path, header[key], f"header field {key}") != found:
            warnings.warn(f"{path}: {found} {what}, but its header promises {header[key]}; cut off?", stacklevel=3)


def write_mot(
    path: str | os.PathLike[str],
    values: npt.ArrayLike,
    names: Sequence[str],
    *,
    fps: float,
    frames: Sequence[int] | None = None,
    in_degrees: bool = True,
    title: str = "Coordinates",
) -> None:
    """Write columns over time as OpenSim reads them.

    OpenSim's tables have no gaps: unknown values are written on a straight line between the known ones, held at the
    ends, and columns that are known nowhere are left out, both with a warning.

    Args:
        path: The file; `.mot` and `.sto` are the same.
        values: (T, C) angles and lengths as they are to be written; NaN in gaps.
        names: Of the C columns.
        fps: Frames per second.
        frames: (T,) frame indices counting from 0, rising; None: 0..T-1. Frame i is at `i / fps` seconds.
        in_degrees: Whether the angles among the values are degrees; else radians.
        title: The file's first line.

    Raises:
        ShapeError: values, names and frames do not fit together.
        InputError: the frame rate, frames or a name cannot be written, nothing is known, or the file cannot be written.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ShapeError(f"values: expected (T, {len(names)}) for the {len(names)} names, got {table.shape}")
    indices = np.arange(len(table)) if frames is None else np.asarray(frames)
    if indices.shape != (len(table),):
        raise ShapeError(f"frames: expected {len(table)} indices, got {indices.shape}")
    if not (math.isfinite(fps) and fps > 0) or not (np.diff(indices) > 0).all():
        raise InputError(f"fps, frames: expected a rate above 0, got {fps}, and frames that rise")
    if any(not name or set(name) & set("\t\r\n ,") for name in names) or len({"time", *names}) <= len(names):
        raise InputError(f"names: empty, twice, 'time', or with spaces, commas or tabs in them: {list(names)}")
    if set(title) & set("\r\n"):
        raise InputError(f"title: expected one line, got {title!r}")
    table, kept = _without_gaps(path, table, indices)
    columns = ["time", *(names[place] for place in kept)]
    lines = [title, "version=1", f"nRows={len(table)}", f"nColumns={len(columns)}"]
    lines += [f"inDegrees={'yes' if in_degrees else 'no'}", "endheader", "\t".join(columns)]
    form = "%.6f" + "\t%.8f" * len(kept) + "\n"
    rows = np.column_stack((indices / fps, table))
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        file.writelines(form % tuple(row) for row in (rows.round(8) + 0.0).tolist())  # no -0


def _without_gaps(
    path: str | os.PathLike[str], table: npt.NDArray[np.float64], at: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """The table with its gaps bridged, and the columns that are left."""
    known = np.isfinite(table)
    kept = np.flatnonzero(known.any(axis=0)).tolist()
    if not kept:
        raise InputError(f"{path}: no value is known, nothing to write")
    missing = int((~known[:, kept]).sum())
    if len(kept) < table.shape[1]:
        warnings.warn(f"{path}: {table.shape[1] - len(kept)} columns are known nowhere and left out", stacklevel=3)
    if missing:
        warnings.warn(
            f"{path}: {missing} of {len(table) * len(kept)} values are unknown, and OpenSim's tables have no gaps: "
            "they are written on straight lines between the known ones",
            stacklevel=3,
        )
    columns = [np.interp(at, at[known[:, place]], table[known[:, place], place]) for place in kept]
    return np.stack(columns, axis=1), kept

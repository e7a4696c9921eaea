"""Caliscope's tables: 2D points of all cameras (`xy_*.csv`) and the times of their frames.

Both come in two spellings: the camera is `port` or, newer, `cam_id`; the point is `point_id` or `keypoint_id`. Rows of
the same `sync_index` were seen at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.core.skeletons import skeleton
from marey.io.keypoint_files import KeypointFile, mask_missing

POSE_POINTS = 33
"""MediaPipe Holistic numbers the pose 0..32, hands from 100 and 200, the face from 500."""
_ALIASES = {"cam_id": "port", "keypoint_id": "point_id"}
_CHUNK = 200_000
_LONGEST_LINE = 64 << 10
_FEW_FRAMES = 10_000
"""Of all cameras together: so many may be missing whatever a table has. Beyond, a quarter has to be there."""
Table = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CaliscopePoints:
    """MediaPipe pose keypoints of V synchronised cameras, T frames each."""

    names: tuple[str, ...]
    """Of the V views: `cam_0`, ... as in Caliscope's calibration."""
    views: tuple[KeypointFile, ...]
    """Of the V views, with one person slot and the sync indices as frame numbers, the same for all."""
    timestamps: npt.NDArray[np.float64]
    """(V, T) seconds; NaN where the camera saw no point at that index."""


def read_caliscope_csv(path: str | os.PathLike[str]) -> CaliscopePoints:
    """Read the body pose of a table of MediaPipe points; hands and face are left out, and a note says so.

    The file has no scores: a point that is there has score 1. Sync indices that are missing in between are gaps.

    Raises:
        InputError: the file cannot be read.
        FormatError: a column is missing, a row is malformed, there is no body pose, or the points are those of a
            calibration board.
    """
    path = Path(path)
    columns = ("sync_index", "port", "frame_time", "point_id", "img_loc_x", "img_loc_y")
    table, dropped = read_columns(path, columns, keep_points=True)
    if not len(table):
        raise FormatError(f"{path}: no MediaPipe pose in it (point_id 0..{POSE_POINTS - 1})")
    start, count, ports = table_extent(path, table)
    view, frame = np.searchsorted(ports, table[:, 1]), (table[:, 0] - start).astype(np.int64)
    points = np.full((len(ports), count, 1, POSE_POINTS, 2), np.nan, np.float32)
    points[view, frame, 0, table[:, 3].astype(np.int64)] = table[:, 4:6]
    timestamps = np.full((len(ports), count), np.nan)
    timestamps[view, frame] = table[:, 2]
    note = f"{path.name}: {dropped} points of hands and face were left out; scores are 1 because the file has none."
    positions, score = mask_missing(points, np.ones(points.shape[:-1], np.float32))
    files = tuple(
        KeypointFile(
            positions=positions[place],
            score=score[place],
            skeleton=skeleton("mediapipe_33"),
            frame_numbers=start + np.arange(count),
            notes=(note,) if place == 0 else (),
        )
        for place in range(len(ports))
    )
    return CaliscopePoints(names=camera_names(ports), views=files, timestamps=timestamps)


def read_caliscope_timestamps(
    path: str | os.PathLike[str],
) -> tuple[tuple[str, ...], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Read `frame_time_history.csv` or `timestamps.csv`: when each camera took each synchronised frame.

    Returns:
        View names (V), sync indices (T,), and seconds (V, T), NaN where a camera dropped the frame.

    Raises:
        InputError: the file cannot be read.
        FormatError: a column is missing or a row is malformed.
    """
    path = Path(path)
    table, _ = read_columns(path, ("sync_index", "port", "frame_time"), keep_points=False)
    if not len(table):
        raise FormatError(f"{path}: no row in it")
    start, count, ports = table_extent(path, table)
    times = np.full((len(ports), count), np.nan)
    times[np.searchsorted(ports, table[:, 1]), (table[:, 0] - start).astype(np.int64)] = table[:, 2]
    return camera_names(ports), start + np.arange(count), times


def read_columns(path: Path, columns: Sequence[str], *, keep_points: bool) -> tuple[Table, int]:
    """The columns of all rows, in pieces, keeping only rows of the body pose if asked; and how many were dropped."""
    pieces, dropped = [np.zeros((0, len(columns)))], 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines_of_file = _lines(path, file)
            header = [_ALIASES.get(cell.strip(), cell.strip()) for cell in next(lines_of_file, "").split(",")]
            places = _places(path, header, columns)
            board = header.index("obj_loc_x") if keep_points and "obj_loc_x" in header else None
            rows = (line for line in lines_of_file if not line.isspace())
            while lines := list(islice(rows, _CHUNK)):
                if board is not None and lines[0].count(",") >= board and lines[0].split(",")[board].strip():
                    raise FormatError(f"{path}: these are points of a calibration board (obj_loc_x is filled), no pose")
                piece = np.loadtxt(lines, delimiter=",", usecols=places, ndmin=2, comments=None)
                body = piece[:, 3] < POSE_POINTS if keep_points else np.ones(len(piece), bool)
                pieces.append(piece[body])
                dropped += len(piece) - int(body.sum())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except FormatError:
        raise
    except ValueError as error:  # UnicodeDecodeError is one
        raise FormatError(f"{path}: malformed row: {error}") from error
    return np.concatenate(pieces), dropped


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """Its lines, none of them too long for the memory."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise FormatError(f"{path}: a line of more than {_LONGEST_LINE >> 10} KiB; refused")
        yield line


def _places(path: Path, header: list[str], columns: Sequence[str]) -> list[int]:
    missing = [column for column in columns if column not in header]
    if missing:
        raise FormatError(
            f"{path}: not a table of Caliscope: no column {', '.join(missing)}; got {','.join(header)[:200]}"
        )
    return [header.index(column) for column in columns]


def table_extent(path: Path, table: Table) -> tuple[int, int, Table]:
    """First sync index, number of indices up to the last, and the cameras in ascending order.

    Raises:
        FormatError: a number is none to count with, or so few frames are there that it asks for memory without data.
    """
    whole = table[:, [0, 1]] if table.shape[1] == 3 else table[:, [0, 1, 3]]
    if not (np.isfinite(whole).all() and (whole == whole.round()).all() and (whole >= 0).all()):
        raise FormatError(f"{path}: sync_index, camera and point must be whole numbers from 0")
    indices, ports = np.unique(table[:, 0]), np.unique(table[:, 1])
    count = int(indices[-1] - indices[0]) + 1
    if count > 10 * len(indices) + 1000 or len(ports) > 1000 or count * len(ports) > 4 * len(table) + _FEW_FRAMES:
        raise FormatError(
            f"{path}: {len(table)} rows of {len(ports)} cameras, {len(indices)} sync indices over a range of {count}: "
            "nearly all are missing; damaged?"
        )
    return int(indices[0]), count, ports


def camera_names(ports: Table) -> tuple[str, ...]:
    """Caliscope's names of cameras, `cam_0`, ..., from their numbers."""
    return tuple(f"cam_{int(port)}" for port in ports)

"""CSV of the joints, one row a frame, person and joint: what a spreadsheet or R reads without help.

Columns: `frame` (index in the recording, from 0), `time` (seconds), `person` (from 0), `joint` (name), `x`, `y`, `z`
(metres, world), `sd_x`, `sd_y`, `sd_z` (standard deviations, metres), `score` (0..1), `filled` (0 or 1: not measured in
this frame). Unknown values are empty cells; the decimal sign is a point and the separator a comma, in every locale.

Tables of other programs and hands may have fewer columns, in any order: `frame`, `person`, `joint`, `x`, `y` and `z`
suffice, and a joint with a place then has the score 1.
"""

from __future__ import annotations

import csv
import io
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, ShapeError
from marey.core.results import Joints3D
from marey.io.atomic import atomic_path
from marey.io.text import LONGEST_LINE, read_text_limited

COLUMNS = ("frame", "time", "person", "joint", "x", "y", "z", "sd_x", "sd_y", "sd_z", "score", "filled")
NEEDED = ("frame", "person", "joint", "x", "y", "z")

_MOST_MISSING = 10
"""Places in the result for each row; Marey's own tables have a row for every one."""


@dataclass(frozen=True, kw_only=True)
class JointTable:
    """What a joint table holds: T frames, P people, J joints; rows that are absent are NaN with score 0."""

    positions: npt.NDArray[np.float64]
    """(T, P, J, 3) metres."""
    deviations: npt.NDArray[np.float64]
    """(T, P, J, 3) standard deviations along the axes, metres."""
    score: npt.NDArray[np.float64]
    """(T, P, J)"""
    filled: npt.NDArray[np.bool_]
    """(T, P, J)"""
    joints: tuple[str, ...]
    """Names of the J joints in the order of their first rows."""
    frames: npt.NDArray[np.int64]
    """(T,) ascending."""
    times: npt.NDArray[np.float64]
    """(T,) seconds, NaN if unknown."""


def write_joint_table(
    path: str | os.PathLike[str], joints: Joints3D, *, fps: float | None = None, frames: Sequence[int] | None = None
) -> None:
    """Write joints (T, P) as the CSV described at the top of this module, a frame at a time.

    Args:
        path: The file.
        joints: Batch shape (T, P).
        fps: Frames per second; None leaves the times empty.
        frames: (T,) indices in the recording; None: 0..T-1.

    Raises:
        ShapeError: the joints are not (T, P), or there is not one index a frame.
        InputError: the file cannot be written.
    """
    if len(joints.batch_shape) != 2:
        raise ShapeError(f"joints: expected the batch shape (T, P), got {joints.batch_shape}")
    indices = list(range(joints.batch_shape[0])) if frames is None else list(frames)
    if len(indices) != joints.batch_shape[0]:
        raise ShapeError(f"frames: expected {joints.batch_shape[0]} indices, got {len(indices)}")
    deviations = joints.covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for place, index in enumerate(indices):
            time = "" if fps is None else f"{index / fps:.6f}"
            writer.writerows(_frame_rows(joints[place], deviations[place].tolist(), index, time))


def _frame_rows(joints: Joints3D, deviations: list[list[list[float]]], index: int, time: str) -> Iterable[list[str]]:
    """The rows of one frame; `joints` has the batch shape (P,)."""
    people = zip(joints.positions.tolist(), deviations, joints.score.tolist(), joints.filled.tolist(), strict=True)
    for person, values in enumerate(people):
        for name, position, deviation, score, filled in zip(joints.skeleton.joints, *values, strict=True):
            lengths = [f"{value:.6f}" if math.isfinite(value) else "" for value in (*position, *deviation)]
            yield [str(index), time, str(person), name, *lengths, f"{score:.4f}", str(int(filled))]


def read_joint_table(path: str | os.PathLike[str]) -> JointTable:
    """Read the CSV described at the top of this module; rows may come in any order.

    Raises:
        InputError: the file cannot be read.
        FormatError: the columns are others, or a row is malformed or there twice.
    """
    path = Path(path)
    rows = csv.reader(io.StringIO(read_text_limited(path, longest_line=LONGEST_LINE), newline=""))
    try:
        head = next(rows, [])
        if not set(NEEDED) <= set(head) <= set(COLUMNS) or len(set(head)) < len(head):
            raise FormatError(
                f"{path}: expected the columns {','.join(COLUMNS)}, or fewer but {','.join(NEEDED)}, "
                f"got {','.join(head)[:200]}"
            )
        return _assemble(path, *_parse(path, rows if tuple(head) == COLUMNS else _completed(path, rows, head)))
    except csv.Error as error:
        raise FormatError(f"{path}: not a CSV file: {error}") from error


def _completed(path: Path, rows: Iterable[list[str]], head: list[str]) -> Iterator[list[str]]:
    """Rows with all columns, those that the table lacks empty; the score is 1 where there is a place."""
    place = {column: number for number, column in enumerate(head)}
    for line, row in enumerate(rows, start=2):
        if len(row) != len(head):
            raise FormatError(f"{path}, row {line}: {len(row)} cells, expected {len(head)}")
        known = all(row[place[axis]].strip() for axis in ("x", "y", "z"))
        others = {"score": "1" if known else "0", "filled": "0"}
        yield [row[place[column]] if column in place else others.get(column, "") for column in COLUMNS]


def _parse(path: Path, rows: Iterable[list[str]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], list[str]]:
    """(rows, 11) numbers without the name column, the place (rows,) of each row's joint among the names, the names."""
    numbers, joint, places = array("d"), array("q"), dict[str, int]()  # a twentieth of lists of lists
    for line, row in enumerate(rows, start=2):
        try:
            if len(row) != len(COLUMNS):
                raise ValueError(f"{len(row)} cells, expected {len(COLUMNS)}")
            numbers.extend([float(cell or "nan") for cell in (*row[:3], *row[4:])])
        except ValueError as error:
            raise FormatError(f"{path}, row {line}: {error}") from None
        joint.append(places.setdefault(row[3], len(places)))
    table = np.array(numbers).reshape(-1, len(COLUMNS) - 1)
    keys = table[:, [0, 2]]
    if not (np.isfinite(keys).all() and (keys == keys.round()).all() and (keys >= 0).all() and (keys < 2**53).all()):
        raise FormatError(f"{path}: the columns frame and person must hold whole numbers from 0")
    return table, np.array(joint), list(places)


def _assemble(
    path: Path, numbers: npt.NDArray[np.float64], joint: npt.NDArray[np.int64], joints: list[str]
) -> JointTable:
    frames, first, frame = np.unique(numbers[:, 0], return_index=True, return_inverse=True)
    people, person = np.unique(numbers[:, 2], return_inverse=True)
    shape = (len(frames), len(people), len(joints))
    if math.prod(shape) > _MOST_MISSING * len(numbers) + 1000:
        raise FormatError(f"{path}: {len(numbers)} rows for {shape} frames, people and joints; most are missing")
    flat = np.ravel_multi_index((frame, person, joint), shape) if len(numbers) else joint
    if len(np.unique(flat)) != len(flat):
        raise FormatError(f"{path}: a frame, person and joint is there twice")
    values = np.full((math.prod(shape), 8), np.nan)
    values[:, 6:] = 0
    values[flat] = numbers[:, 3:]
    grid = values.reshape(*shape, 8)
    return JointTable(
        positions=grid[..., :3],
        deviations=grid[..., 3:6],
        score=grid[..., 6],
        filled=grid[..., 7] == 1,
        joints=tuple(joints),
        frames=frames.astype(np.int64),
        times=numbers[first, 1],
    )

"""Poses in rows: the file that predictions and labels are scored from, one npz without pickle.

A row is one person in one frame of one sequence. Keys of the archive (N rows, J joints):

======================  =====================================================================================
`format`                1
`benchmark`             text; name and version of the labels, empty if unknown
`joint_names`           (J,) text
`keypoint_names`        (K,) text; empty: those of the joints
`sequence`, `frame`     (N,) text; (N,) integers
`person`                (N,) integers; of labels who it is, of predictions the place among the frame's detections
`joints`                (N, J, 3) metres
`joints_universal`      (N, J, 3) metres, of the universal skeleton of MPI-INF-3DHP and MuPoTS
`keypoints`             (N, K, 2) pixels
`visible`               (N, J) boolean, of joints; `keypoints_visible` (N, K) of keypoints
`score`                 (N,) of a detection
`subject`, `action`,    (N,) text
`scene`
...                     whatever else a protocol asks for, N long
======================  =====================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, MareyError, ShapeError
from marey.io.atomic import atomic_path
from marey.io.npz import read_arrays

FORMAT = 1
LISTED = 5
"""Rows that a message names before it only counts them."""

Array = npt.NDArray[Any]

_KEYS = ("format", "benchmark", "joint_names", "keypoint_names", "sequence", "frame", "person")


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseRows:
    """N people, each in one frame of one sequence."""

    joint_names: tuple[str, ...]
    sequence: Array
    """(N,) text."""
    frame: Array
    """(N,) integers."""
    person: Array
    """(N,) integers; of labels who it is, of predictions the place among the frame's detections."""
    values: Mapping[str, Array] = field(default_factory=dict)
    """Arrays of N entries by name; `joints` is (N, J, 3) in metres, the others are listed at the top of the module."""
    keypoint_names: tuple[str, ...] = ()
    """(K,) of `keypoints`; empty: those of the joints."""
    benchmark: str = ""
    """Name and version of the labels that these are, or were predicted for; empty if unknown."""
    origin: Array | None = None
    """(N,) the numbers of the rows in the table that these were picked from; None: they are all of it."""

    def __post_init__(self) -> None:
        if self.sequence.ndim != 1 or self.sequence.dtype.kind != "U":
            raise ShapeError(f"sequence: expected (N,) text, got {self.sequence.shape} of {self.sequence.dtype}")
        for name in ("frame", "person"):
            found = getattr(self, name)
            if found.shape != self.sequence.shape or found.dtype.kind not in "iu":
                raise ShapeError(f"{name}: expected ({len(self)},) integers, got {found.shape} of {found.dtype}")
        for name, array in self.values.items():
            if array.ndim == 0 or len(array) != len(self):
                raise ShapeError(f"{name}: expected one entry for each of the {len(self)} rows, got {array.shape}")
        for name, size in (("joints", 3), ("joints_universal", 3), ("keypoints", 2)):
            expected = (len(self), len(self.names_of(name)), size)
            if name in self.values and self.values[name].shape != expected:
                raise ShapeError(f"{name}: expected {expected} for these names, got {self.values[name].shape}")

    def __len__(self) -> int:
        return len(self.sequence)

    def names_of(self, key: str) -> tuple[str, ...]:
        """Of the joints or keypoints in an array."""
        return self.keypoint_names if key.startswith("keypoints") and self.keypoint_names else self.joint_names

    def __getitem__(self, rows: Array) -> PoseRows:
        """Some rows, by indices or by a mask."""
        return PoseRows(
            joint_names=self.joint_names,
            keypoint_names=self.keypoint_names,
            sequence=self.sequence[rows],
            frame=self.frame[rows],
            person=self.person[rows],
            values={name: array[rows] for name, array in self.values.items()},
            benchmark=self.benchmark,
            origin=(np.arange(len(self)) if self.origin is None else self.origin)[rows],
        )

    def described(self, rows: npt.ArrayLike) -> str:
        """Words for some rows, the first few by number and name."""
        found = np.asarray(rows).tolist()
        numbers = found if self.origin is None else self.origin[found].tolist()
        names = [f"{self.sequence[row]} frame {self.frame[row]} person {self.person[row]}" for row in found[:LISTED]]
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        return f"rows {', '.join(map(str, numbers[:LISTED]))} ({'; '.join(names)}){more}"


def pose_rows(
    joints: Array | None = None,
    *,
    joint_names: Sequence[str] = (),
    keypoint_names: Sequence[str] = (),
    sequence: Sequence[str] | Array,
    frame: Sequence[int] | Array,
    person: Sequence[int] | Array | None = None,
    benchmark: str = "",
    **values: npt.ArrayLike,
) -> PoseRows:
    """Gather rows from sequences and arrays.

    Args:
        joints: (N, J, 3) metres.
        joint_names: (J,)
        keypoint_names: (K,); none: those of the joints.
        sequence: (N,)
        frame: (N,)
        person: (N,); None: the place of each row among those of its frame.
        benchmark: Name and version of the labels.
        **values: Further arrays of N entries.

    Raises:
        ShapeError: an array has not one entry a row, or joints have other names than `joint_names`.
    """
    arrays = {name: np.asarray(value) for name, value in values.items()}
    if joints is not None:
        arrays = {"joints": np.asarray(joints), **arrays}
    names, frames = np.asarray(sequence, dtype=np.str_), np.asarray(frame, dtype=np.int64)
    return PoseRows(
        joint_names=tuple(joint_names),
        keypoint_names=tuple(keypoint_names),
        sequence=names,
        frame=frames,
        person=places_in_groups(names, frames) if person is None else np.asarray(person, dtype=np.int64),
        values=arrays,
        benchmark=benchmark,
    )


def places_in_groups(*keys: Array) -> Array:
    """(N,) how many rows before this one have the same keys (N,)."""
    if len({len(key) for key in keys}) != 1:
        raise ShapeError(f"keys: expected as many entries in each, got {[len(key) for key in keys]}")
    group = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        found = np.unique(key, return_inverse=True)[1].reshape(-1)
        group = np.unique(group * (found.max(initial=0) + 1) + found, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(group), dtype=np.int64)
    places[order] = np.arange(len(group)) - starts
    return places


def intrinsics_by_sequence(rows: PoseRows) -> dict[str, Array] | None:
    """The first (3, 3) of `intrinsics` of each sequence; None: the rows have none."""
    if "intrinsics" not in rows.values:
        return None
    names, first = np.unique(rows.sequence, return_index=True)
    return dict(zip(names.tolist(), rows.values["intrinsics"][first], strict=True))


def project_by_sequence(joints: Array, sequence: Array, intrinsics: Mapping[str, npt.ArrayLike]) -> Array:
    """Where joints (N, J, 3) in the camera's frame fall in the image, pixels (N, J, 2).

    Args:
        joints: Of N rows.
        sequence: (N,) their names.
        intrinsics: (3, 3) by sequence.

    Raises:
        InputError: a sequence has none.
    """
    names, place = np.unique(sequence, return_inverse=True)
    if absent := [str(name) for name in names if str(name) not in intrinsics]:
        raise InputError(f"intrinsics: none for {', '.join(absent)}; they are given by sequence")
    matrices = np.stack([np.asarray(intrinsics[str(name)], dtype=np.float64) for name in names])[place.reshape(-1)]
    points = joints @ matrices.transpose(0, 2, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels: Array = points[..., :2] / points[..., 2:]
    return pixels


def rows_with_keys(rows: PoseRows, wanted: PoseRows) -> Array:
    """(N,) places in rows of those with the sequence, frame and person of each of the N wanted.

    Raises:
        InputError: one of them is not there.
    """
    columns = ("sequence", "frame", "person")
    ours, theirs = (zip(*(getattr(side, name).tolist() for name in columns), strict=True) for side in (rows, wanted))
    places = {key: place for place, key in enumerate(ours)}
    found = [places.get(key, -1) for key in theirs]
    if -1 in found:
        raise InputError(f"rows: none for {wanted.described([found.index(-1)])}")
    return np.array(found, dtype=np.int64)


def write_pose_rows(path: str | os.PathLike[str], rows: PoseRows) -> None:
    """Write rows; the keys are listed at the top of this module.

    Raises:
        InputError: the file cannot be written, or a value has the name of a key.
    """
    if taken := sorted(set(rows.values) & set(_KEYS)):
        raise InputError(f"values: {', '.join(taken)} are keys of the file itself; rename them")
    arrays = {
        "format": np.array(FORMAT),
        "benchmark": np.array(rows.benchmark),
        "joint_names": np.array(rows.joint_names, dtype=np.str_),
        "keypoint_names": np.array(rows.keypoint_names, dtype=np.str_),
        "sequence": rows.sequence,
        "frame": rows.frame,
        "person": rows.person,
        **rows.values,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_pose_rows(path: str | os.PathLike[str]) -> PoseRows:
    """Read rows. Nothing in the file is unpickled.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such archive, is cut off, holds pickled objects, or its arrays do not fit together.
    """
    path = Path(path)
    arrays = read_arrays(path)
    try:
        if arrays["format"] != FORMAT:
            raise FormatError(f"format {arrays['format']}, this version reads {FORMAT}; install a newer marey")
        return PoseRows(
            joint_names=tuple(map(str, arrays["joint_names"].tolist())),
            keypoint_names=tuple(map(str, arrays["keypoint_names"].tolist())) if "keypoint_names" in arrays else (),
            sequence=arrays["sequence"],
            frame=arrays["frame"],
            person=arrays["person"],
            values={name: array for name, array in arrays.items() if name not in _KEYS},
            benchmark=str(arrays["benchmark"]),
        )
    except KeyError as error:
        raise FormatError(f"{path}: no rows of poses: the key {error} is missing") from error
    except (MareyError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: {error}") from error

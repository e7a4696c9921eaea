"""Joints in space as a kind of thing that `marey convert` knows: an estimate, whatever file it comes from.

Every reader here gives an estimate with a frame rate, the indices of its frames, and `world_up` in its provenance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Estimate, FormatError, Joints3D, Skeleton
from marey.io.c3d import read_c3d, write_c3d
from marey.io.formats import FileFormat
from marey.io.npz import read_estimate_npz
from marey.io.table import read_joint_table, write_joint_table
from marey.io.trc import read_trc, write_trc
from marey.pipeline.conversion_parts import (
    NOTHING_SAID,
    Unstated,
    archive_members,
    named_skeleton,
    one_a_person,
    one_a_view,
)
from marey.pipeline.dataset_files import keypoints_of, write_human_data_files
from marey.pipeline.motions import DEFAULT_FPS
from marey.pipeline.world import Axis, find_up, to_y_up


def joints_from_npz(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """An estimate as it was written: cameras, keypoints and all."""
    estimate = read_estimate_npz(path)
    stated.only(path, *(() if estimate.fps else ("fps",)))
    if len(estimate.joints.batch_shape) != 2 or not isinstance(estimate.provenance, Mapping):
        raise FormatError(
            f"{path}: joints of {estimate.joints.batch_shape} frames and people, and a provenance of "
            f"{type(estimate.provenance).__name__}; expected two numbers, and an object"
        )
    said: Axis = estimate.provenance.get("world_up", "")
    up = said if said in get_args(Axis) else find_up(estimate.joints)[0]
    return completed(estimate, fps=estimate.fps or stated.fps or DEFAULT_FPS, up=up)


def joints_from_csv(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """The joints of a table; their covariances are its variances."""
    table = read_joint_table(path)
    rate = _rate(table.frames, table.times)
    stated.only(path, *(() if rate else ("fps",)))
    joints = Joints3D(
        positions=torch.from_numpy(table.positions),
        covariance=torch.diag_embed(torch.from_numpy(table.deviations).square()),
        score=torch.from_numpy(table.score),
        filled=torch.from_numpy(table.filled),
        skeleton=named_skeleton(table.joints),
    )
    estimate = Estimate(joints=joints, frames=tuple(table.frames.tolist()))
    return completed(estimate, fps=rate or stated.fps or DEFAULT_FPS, up=find_up(joints)[0])


def joints_from_trc(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """The markers of one person, which have y up."""
    stated.only(path)
    file = read_trc(path)
    joints = joints_of(torch.from_numpy(file.positions)[:, None], named_skeleton(file.names))
    frames = tuple((file.frames - file.frames.min(initial=1)).tolist())
    return completed(Estimate(joints=joints, frames=frames), fps=file.rate, up="y")


def joints_from_c3d(path: Path, stated: Unstated = NOTHING_SAID) -> Estimate:
    """The markers of one person, in the axes that the file states or, if it does not, those in which people stand."""
    stated.only(path, "unit")
    file = read_c3d(path, unit=stated.unit)
    joints = joints_of(torch.from_numpy(file.positions)[:, None], named_skeleton(file.names))
    axes: dict[str, Axis] = {"X": "x", "Y": "y", "Z": "z", "-X": "-x", "-Y": "-y", "-Z": "-z"}
    said = axes.get(file.screen[1].strip().upper().removeprefix("+")) if file.screen else None
    frames = tuple(range(file.first_frame - 1, file.first_frame - 1 + len(file.positions)))
    return completed(Estimate(joints=joints, frames=frames), fps=file.rate, up=said or find_up(joints)[0])


def joints_of(positions: Tensor, joints: Skeleton, score: Tensor | None = None) -> Joints3D:
    """Joints of positions (T, P, J, 3) without covariance; the score (T, P, J) of those that are known is 1 if None."""
    known = positions.isfinite().all(-1)
    score = known.to(positions.dtype) if score is None else torch.where(known, score.to(positions.dtype), 0.0)
    return Joints3D(
        positions=torch.where(known[..., None], positions, torch.nan),
        covariance=positions.new_full((*positions.shape, 3), torch.nan),
        score=score,
        filled=torch.zeros_like(known),
        skeleton=joints,
    )


def completed(estimate: Estimate, *, fps: float, up: Axis) -> Estimate:
    """The estimate with what every reader here promises."""
    frames = estimate.frames or tuple(range(estimate.joints.batch_shape[0]))
    return replace(estimate, fps=fps, frames=frames, provenance={**estimate.provenance, "world_up": up})


def write_joints_csv(path: Path, estimate: Estimate) -> None:
    """Write joints as a table."""
    write_joint_table(path, estimate.joints, fps=estimate.fps, frames=estimate.frames)


def write_joints_trc(path: Path, estimate: Estimate) -> list[Path]:
    """Write joints as TRC, y up, one file a person."""
    names = estimate.joints.skeleton.joints
    files = one_a_person(path, list(markers_of(estimate).values()))
    for file, positions in files:
        write_trc(file, positions, names, fps=estimate.fps or DEFAULT_FPS, frames=estimate.frames)
    return [file for file, _ in files]


def write_joints_c3d(path: Path, estimate: Estimate) -> list[Path]:
    """Write joints as C3D, y up, one file a person."""
    names, frames = estimate.joints.skeleton.joints, estimate.frames
    files = one_a_person(path, list(markers_of(estimate).values()))
    for file, positions in files:
        write_c3d(file, positions, names, fps=estimate.fps or DEFAULT_FPS, first_frame=frames[0] + 1 if frames else 1)
    return [file for file, _ in files]


def write_joints_human_data(path: Path, estimate: Estimate) -> list[Path]:
    """Write joints and keypoints as HumanData, one file a view."""
    files = one_a_view(path, keypoints_of(estimate).names)
    write_human_data_files(files, estimate)
    return files


def markers_of(estimate: Estimate) -> dict[int, npt.NDArray[np.float64]]:
    """Person -> joints (T, J, 3) with y up, of everybody who is there: a slot may stay empty."""
    up: Axis = estimate.provenance.get("world_up", "z")
    positions = to_y_up(estimate.joints.positions, up).double().cpu().numpy()
    there = np.isfinite(positions).all(-1).any((0, 2))
    return {int(person): positions[:, person] for person in np.flatnonzero(there)}


def told_joints(estimate: Estimate) -> str:
    """What was read, in a few words."""
    frames, people = estimate.joints.batch_shape
    joints = len(estimate.joints.skeleton)
    return f"{joints} joints of {people} people in {frames} frames at {estimate.fps or DEFAULT_FPS:g} per second"


def joint_formats_of(path: Path) -> list[str]:
    """The names in `JOINT_FORMATS` that an existing file may have."""
    end = path.suffix.lower()
    if not path.is_file():
        return []
    if end == ".npz":
        return _archive_formats(archive_members(path))
    if end == ".csv":
        with path.open("rb") as file:
            return ["csv"] if file.readline(4096).startswith(b"frame,time,person,joint,") else []
    return [end[1:]] if end in (".trc", ".c3d") else []


def _archive_formats(members: frozenset[str]) -> list[str]:
    holds: Mapping[str, bool] = {
        "npz": {"format", "joints", "joint_names"} <= members,
        "videopose3d": "positions_3d" in members,
        "humandata": any(name.startswith("keypoints3d") for name in members),
    }
    return [name for name, there in holds.items() if there]


def _rate(frames: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> float | None:
    """Frames per second by the first and the last time, so that rounded times do not matter; None if unknown."""
    known = np.flatnonzero(np.isfinite(times))
    if len(known) < 2 or not times[known[-1]] > times[known[0]]:
        return None
    rate = (frames[known[-1]] - frames[known[0]]) / (times[known[-1]] - times[known[0]])
    return float(round(rate, 3)) or None


_HERE = "marey.pipeline.joint_conversion"
JOINT_FORMATS: dict[str, FileFormat] = {
    "npz": FileFormat(
        "estimate.npz of Marey, the whole result",
        f"{_HERE}:joints_from_npz",
        "marey.io.npz:write_estimate_npz",
        (".npz",),
    ),
    "csv": FileFormat(
        "joints.csv of Marey, one row a frame, person and joint",
        f"{_HERE}:joints_from_csv",
        f"{_HERE}:write_joints_csv",
        (".csv",),
    ),
    "trc": FileFormat(
        ".trc, marker trajectories of OpenSim", f"{_HERE}:joints_from_trc", f"{_HERE}:write_joints_trc", (".trc",)
    ),
    "c3d": FileFormat(
        ".c3d, markers of motion capture", f"{_HERE}:joints_from_c3d", f"{_HERE}:write_joints_c3d", (".c3d",)
    ),
    "videopose3d": FileFormat(
        "VideoPose3D data_3d_*.npz",
        "marey.pipeline.dataset_conversion:joints_from_videopose",
        "marey.pipeline.dataset_files:write_videopose_joints",
    ),
    "humandata": FileFormat(
        "HumanData .npz of mmhuman3d, one a view",
        "marey.pipeline.dataset_conversion:joints_from_human_data",
        f"{_HERE}:write_joints_human_data",
    ),
}

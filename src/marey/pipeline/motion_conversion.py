"""Joints, motions and joint angles as kinds of things that `marey convert` knows.

Joints become motions and angles by inverse kinematics; motions become joints by forward kinematics. Motions of other
programs do not become angles: their rest poses are their own.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.body.kinematics import inverse_kinematics
from marey.core import Estimate, FormatError, InputError, Joints3D, Skeleton, skeleton
from marey.core.motion import Motion
from marey.core.skeletons import skeleton_names
from marey.io.bvh import read_bvh, write_bvh
from marey.io.c3d import read_c3d, write_c3d
from marey.io.formats import FileFormat
from marey.io.gltf import write_gltf
from marey.io.gltf_reader import read_gltf
from marey.io.mot import write_mot
from marey.io.npz import read_estimate_npz, write_estimate_npz
from marey.io.table import read_joint_table, write_joint_table
from marey.io.trc import read_trc, write_trc
from marey.io.usd import write_usd
from marey.pipeline.motions import DEFAULT_FPS, joints_y_up, opensim_coordinates
from marey.pipeline.world import Axis, find_up

Unit = str | float | None

_ALIASES = {"mid_hip": "pelvis", "c_hip": "pelvis", "hip": "pelvis", "head": "head_top"}
"""Names of markers, once in our spelling, that mean other joints than they say."""


@dataclass(frozen=True, kw_only=True)
class Take:
    """Joints of people over time, with what files of joints hold beside them."""

    joints: Joints3D
    """(T, P) metres."""
    fps: float
    up: Axis
    frames: tuple[int, ...]
    """Indices of the T frames, from 0."""


def read_joints(entry: FileFormat, path: Path, unit: Unit) -> Take:
    """Read joints with a row of `JOINT_FORMATS`.

    Raises:
        InputError: a unit is given and the file states its own.
    """
    if entry is JOINT_FORMATS["c3d"]:
        return take_of_c3d(path, unit=unit)
    _refuse_unit(path, unit)
    take: Take = entry.read(path)
    return take


def take_of_npz(path: Path) -> Take:
    """The joints of an estimate."""
    estimate = read_estimate_npz(path)
    up = estimate.provenance.get("world_up") or find_up(estimate.joints)[0]
    frames = estimate.frames or tuple(range(estimate.joints.batch_shape[0]))
    return Take(joints=estimate.joints, fps=estimate.fps or DEFAULT_FPS, up=up, frames=frames)


def take_of_csv(path: Path) -> Take:
    """The joints of a table; their covariances are its variances."""
    table = read_joint_table(path)
    joints = Joints3D(
        positions=torch.from_numpy(table.positions),
        covariance=torch.diag_embed(torch.from_numpy(table.deviations).square()),
        score=torch.from_numpy(table.score),
        filled=torch.from_numpy(table.filled),
        skeleton=named_skeleton(table.joints),
    )
    fps = _rate(table.frames, table.times)
    return Take(joints=joints, fps=fps, up=find_up(joints)[0], frames=tuple(table.frames.tolist()))


def take_of_trc(path: Path) -> Take:
    """The markers of one person, which have y up."""
    file = read_trc(path)
    frames = tuple((file.frames - file.frames.min(initial=1)).tolist())
    return Take(joints=joints_of_markers(file.positions, file.names), fps=file.rate, up="y", frames=frames)


def take_of_c3d(path: Path, *, unit: Unit = None) -> Take:
    """The markers of one person, in the axes that the file states or, if it does not, those in which people stand."""
    file = read_c3d(path, unit=unit)
    joints = joints_of_markers(file.positions, file.names)
    axes: dict[str, Axis] = {"X": "x", "Y": "y", "Z": "z", "-X": "-x", "-Y": "-y", "-Z": "-z"}
    stated = axes.get(file.screen[1].strip().upper().removeprefix("+")) if file.screen else None
    frames = tuple(range(file.first_frame - 1, file.first_frame - 1 + len(file.positions)))
    return Take(joints=joints, fps=file.rate, up=stated or find_up(joints)[0], frames=frames)


def joints_of_markers(positions: npt.NDArray[np.float64], names: Sequence[str]) -> Joints3D:
    """Joints (T, 1) of markers (T, M, 3), without covariance."""
    places = torch.from_numpy(np.ascontiguousarray(positions))[:, None]
    known = places.isfinite().all(-1)
    return Joints3D(
        positions=places,
        covariance=torch.full((*places.shape, 3), torch.nan, dtype=places.dtype),
        score=known.to(places.dtype),
        filled=torch.zeros_like(known),
        skeleton=named_skeleton(names),
    )


def named_skeleton(names: Sequence[str]) -> Skeleton:
    """The shipped skeleton with these joints, or one without links; names such as RHip become right_hip."""
    ours = tuple(_our_name(name) for name in names)
    ours = ours if len(set(ours)) == len(ours) else tuple(names)
    for known in skeleton_names():
        if skeleton(known).joints == ours:
            return skeleton(known)
    return Skeleton("markers", ours, ())


def motions_of_take(take: Take) -> tuple[Motion, ...]:
    """Motions with y up of everybody who is known.

    Raises:
        InputError: hips or shoulders are missing.
    """
    motions = inverse_kinematics(joints_y_up(take.joints, take.up), fps=take.fps)
    known = tuple(motion for motion in motions if motion.known.any())
    if not known:
        raise InputError("nobody is seen from hips to shoulders in any frame: there is no motion to write")
    return known


def take_of_motions(motions: Sequence[Motion]) -> Take:
    """The joints of motions, y up.

    Raises:
        InputError: they are of different trees, rates or lengths.
    """
    first = motions[0]
    if any((m.tree, m.fps, m.length) != (first.tree, first.fps, first.length) for m in motions):
        raise InputError("the motions differ in their joints, rates or lengths: convert them one by one")
    places = torch.stack([motion.positions() for motion in motions], 1).double()
    known = places.isfinite().all(-1)
    joints = Joints3D(
        positions=places,
        covariance=torch.full((*places.shape, 3), torch.nan, dtype=places.dtype),
        score=known.to(places.dtype),
        filled=torch.zeros_like(known),
        skeleton=Skeleton(first.tree.name or "motion", first.tree.joints, ()),
    )
    return Take(joints=joints, fps=first.fps, up="y", frames=tuple(range(first.length)))


def read_motions(entry: FileFormat, path: Path, unit: Unit) -> tuple[Motion, ...]:
    """Read motions with a row of `MOTION_FORMATS`.

    Raises:
        InputError: a unit is given and the file states its own.
    """
    if entry is MOTION_FORMATS["bvh"]:
        return (read_bvh(path, unit=unit, dtype=torch.float64),)
    _refuse_unit(path, unit)
    return read_gltf(path, dtype=torch.float64)


def write_take_npz(path: Path, take: Take) -> None:
    """Write joints as an estimate."""
    estimate = Estimate(joints=take.joints, fps=take.fps, frames=take.frames, provenance={"world_up": take.up})
    write_estimate_npz(path, estimate)


def write_take_csv(path: Path, take: Take) -> None:
    """Write joints as a table."""
    write_joint_table(path, take.joints, fps=take.fps, frames=take.frames)


def write_take_trc(path: Path, take: Take) -> None:
    """Write joints as TRC, y up, one file a person."""
    names = take.joints.skeleton.joints
    for file, positions in _one_by_one(path, _markers(take)):
        write_trc(file, positions, names, fps=take.fps, frames=take.frames)


def write_take_c3d(path: Path, take: Take) -> None:
    """Write joints as C3D, y up, one file a person."""
    names = take.joints.skeleton.joints
    first = take.frames[0] + 1 if take.frames else 1
    for file, positions in _one_by_one(path, _markers(take)):
        write_c3d(file, positions, names, fps=take.fps, first_frame=first)


def write_motions_bvh(path: Path, motions: Sequence[Motion]) -> None:
    """Write motions as BVH, one file a person."""
    for file, motion in _one_by_one(path, motions):
        write_bvh(file, motion)


def write_angles_mot(path: Path, motions: Sequence[Motion]) -> None:
    """Write joint angles as OpenSim reads them, one file a person."""
    for file, motion in _one_by_one(path, motions):
        names, values = opensim_coordinates(motion)
        write_mot(file, values.numpy(), names, fps=motion.fps)


def told_take(take: Take) -> str:
    """What was read, in a few words."""
    frames, people = take.joints.batch_shape
    return f"{len(take.joints.skeleton)} joints of {people} people in {frames} frames at {take.fps:g} per second"


def told_motions(motions: Sequence[Motion]) -> str:
    """What was read, in a few words."""
    joints = ", ".join(str(len(motion.tree)) for motion in motions)
    return f"{len(motions)} motions of {joints} joints in {motions[0].length if motions else 0} frames"


def joint_formats_of(path: Path) -> list[str]:
    """The names in `JOINT_FORMATS` that an existing file may have."""
    if path.is_dir():
        return []
    kind = path.suffix.lower().removeprefix(".")
    holds = _is_estimate(path) if kind == "npz" else kind != "csv" or _is_joint_table(path)
    return [kind] if kind in JOINT_FORMATS and holds else []


def motion_formats_of(path: Path) -> list[str]:
    """The names in `MOTION_FORMATS` that an existing file may have and that can be read."""
    end = path.suffix.lower()
    return [name for name, entry in MOTION_FORMATS.items() if entry.reader and end in entry.suffixes and path.is_file()]


def target_format(formats: Mapping[str, FileFormat]) -> Callable[[Path], str]:
    """What the end of a path means among these formats."""

    def meant(path: Path) -> str:
        for name, entry in formats.items():
            if path.suffix.lower() in entry.suffixes:
                return name
        raise FormatError(f"{path}: its name does not say which of {', '.join(formats)} to write")

    return meant


def write_gltf_of(path: Path, motions: Sequence[Motion]) -> None:
    """Write motions as one scene."""
    write_gltf(path, motions)


def write_usd_of(path: Path, motions: Sequence[Motion]) -> None:
    """Write motions as one scene."""
    write_usd(path, motions)


_HERE = "marey.pipeline.motion_conversion"
JOINT_FORMATS: dict[str, FileFormat] = {
    "npz": FileFormat("estimate.npz of Marey", f"{_HERE}:take_of_npz", f"{_HERE}:write_take_npz", (".npz",)),
    "csv": FileFormat("joints.csv of Marey", f"{_HERE}:take_of_csv", f"{_HERE}:write_take_csv", (".csv",)),
    "trc": FileFormat("*.trc", f"{_HERE}:take_of_trc", f"{_HERE}:write_take_trc", (".trc",)),
    "c3d": FileFormat("*.c3d", f"{_HERE}:take_of_c3d", f"{_HERE}:write_take_c3d", (".c3d",)),
}
MOTION_FORMATS: dict[str, FileFormat] = {
    "bvh": FileFormat("*.bvh", "marey.io.bvh:read_bvh", f"{_HERE}:write_motions_bvh", (".bvh",)),
    "gltf": FileFormat("*.glb, *.gltf", "marey.io.gltf_reader:read_gltf", f"{_HERE}:write_gltf_of", (".glb", ".gltf")),
    "usda": FileFormat("*.usda", "", f"{_HERE}:write_usd_of", (".usda",)),
}
ANGLE_FORMATS: dict[str, FileFormat] = {
    "mot": FileFormat("*.mot of OpenSim", "", f"{_HERE}:write_angles_mot", (".mot", ".sto"))
}


def _our_name(name: str) -> str:
    """A marker's name in our spelling: RHip and R_HIP become right_hip."""
    if name == name.lower():
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[RL])(?=[A-Z][a-z])", "_", name.strip())
    words = re.sub(r"[\s_.:-]+", "_", words).lower()
    side, _, rest = words.partition("_")
    sides = {"r": "right", "l": "left", "right": "right", "left": "left"}
    return f"{sides[side]}_{rest}" if side in sides and rest else _ALIASES.get(words, words)


def _rate(frames: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> float:
    """Frames per second by the first and the last time, so that rounded times do not matter."""
    known = np.flatnonzero(np.isfinite(times))
    if len(known) < 2 or not times[known[-1]] > times[known[0]]:
        return DEFAULT_FPS
    rate = (frames[known[-1]] - frames[known[0]]) / (times[known[-1]] - times[known[0]])
    return float(round(rate, 3))


def _refuse_unit(path: Path, unit: Unit) -> None:
    if unit is not None:
        raise InputError(f"{path} states its unit; leave out the unit")


def _is_estimate(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "joints.npy", "joint_names.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _is_joint_table(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline(4096).startswith(b"frame,time,person,joint,")


def _markers(take: Take) -> list[npt.NDArray[np.float64]]:
    """Joints (T, J, 3) with y up of everybody who is there."""
    positions = joints_y_up(take.joints, take.up).positions.double().cpu().numpy()
    there = np.isfinite(positions).all(-1).any((0, 2))
    return [positions[:, person] for person in np.flatnonzero(there)]


def _one_by_one(path: Path, items: Sequence[Any]) -> list[tuple[Path, Any]]:
    """A file for each item: the path itself for one, else numbered ones, which is told."""
    if not items:
        raise InputError(f"{path}: there is nobody to write")
    if len(items) == 1:
        return [(path, items[0])]
    files = [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(len(items))]
    warnings.warn(f"one file a person: {', '.join(file.name for file in files)}", stacklevel=3)
    return list(zip(files, items, strict=True))

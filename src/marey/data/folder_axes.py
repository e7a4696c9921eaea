"""TRC and C3D files have axes of their own: which way they are turned against the world of a calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch

from marey.core import InputError
from marey.data.folder_recording import FolderRecording, Joints, has_places, in_skeleton
from marey.data.labels.columns import Array
from marey.geometry import project

Axis = Literal["x", "y", "z", "-x", "-y", "-z"]

_FRAMES = 20
"""At which joints are compared with keypoints."""
_FAR = 50.0
"""Pixels in the median from which on joints and keypoints are hardly of the same world."""


def turned(held: FolderRecording, up: Axis | None) -> FolderRecording:
    """The recording with the joints of marker files in the world of the calibration.

    Such files have y up, worlds of calibrations often z. If `up` is not given, every axis is tried, and the one is
    taken with which projected joints lie nearest to the keypoints; without keypoints or cameras, joints stay as they
    are, and a note says so.

    Args:
        held: The recording.
        up: The axis of the calibration's world that points up; y stays as it is.

    Raises:
        InputError: there is no such axis.
    """
    if up is not None and up not in get_args(Axis):
        raise InputError(f"up: expected one of {', '.join(get_args(Axis))}, got '{up}'")
    if held.joints is None or not held.joints.of_markers:
        return held
    if up is not None:
        return _with(held, from_y_up(held.joints.positions, up), f"3D joints were turned from y up to {up} up.")
    distances = _distances(held, held.joints)
    if not np.isfinite(list(distances.values())).any():
        return _with(held, held.joints.positions, "3D joints were taken in the axes of their file; give --up to turn.")
    best = min(distances, key=lambda axis: np.nan_to_num(distances[axis], nan=np.inf))
    how = "in the axes of their file" if best == "y" else f"turned from y up to {best} up"
    note = f"3D joints were taken {how}: projected, they lie {distances[best]:.1f} pixels from keypoints in the median"
    note += "; are they of this calibration's world?" if distances[best] > _FAR else "."
    return _with(held, from_y_up(held.joints.positions, best), note)


def _with(held: FolderRecording, positions: Array, note: str) -> FolderRecording:
    assert held.joints is not None
    return replace(held, joints=replace(held.joints, positions=positions), notes=(*held.notes, note))


def from_y_up(positions: Array, up: Axis) -> Array:
    """Turn positions (..., 3) with y up so that another axis is: a cyclic change, half a turn where it is negative."""
    order = {"x": (1, 2, 0), "y": (0, 1, 2), "z": (2, 0, 1)}[up.removeprefix("-")]
    turn = {"-x": (-1, -1, 1), "-y": (1, -1, -1), "-z": (-1, 1, -1)}.get(up, (1, 1, 1))
    moved: Array = positions[..., list(order)] * np.array(turn, dtype=positions.dtype)
    return moved


def _distances(held: FolderRecording, joints: Joints) -> dict[Axis, float]:
    """Pixels in the median from projected joints to the nearest person's keypoints, by axis; NaN if unknown."""
    cameras, keypoints = held.recording.cameras, held.keypoints
    axes: tuple[Axis, ...] = get_args(Axis)
    if cameras is None or not has_places(cameras) or keypoints is None or not keypoints.positions.shape[2]:
        return dict.fromkeys(axes, float("nan"))
    both = np.flatnonzero(joints.frames < keypoints.positions.shape[1])
    rows = both[np.unique(np.linspace(0, len(both) - 1, _FRAMES).round().astype(int))] if len(both) else both
    seen = in_skeleton(keypoints.positions[:, joints.frames[rows]], keypoints.skeleton, joints.skeleton)
    found: dict[Axis, float] = {}
    for axis in axes:
        world = torch.from_numpy(from_y_up(joints.positions[rows], axis))
        projected = project(world.expand(len(seen), *world.shape), cameras.to(torch.float64)).numpy()
        found[axis] = _nearest(projected, seen)
    return found


def _nearest(projected: Array, seen: Array) -> float:
    """The median distance of people (V, F, P, J, 2) from the nearest of the slots (V, F, S, J, 2)."""
    distance = np.linalg.norm(projected[:, :, :, None] - seen[:, :, None], axis=-1)
    known = np.isfinite(distance)
    count = known.sum(-1)
    mean = np.where(count > 0, np.where(known, distance, 0).sum(-1) / np.maximum(count, 1), np.nan)
    people = mean[np.isfinite(mean).any(-1)]
    return float(np.median(np.nanmin(people, axis=-1))) if len(people) else float("nan")

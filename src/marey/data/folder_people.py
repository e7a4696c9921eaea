"""Who is where in the views of a user's recording: 3D joints and keypoints brought together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from marey.core import Skeleton
from marey.data.folder_recording import FolderRecording, Joints, Keypoints, has_places, in_skeleton
from marey.data.labels.columns import Array
from marey.geometry import project

_NEAR = 0.5
"""Of the diagonal of a person's box: keypoints farther from the projected joints are somebody else's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleInViews:
    """R people, each in one view at one frame."""

    frame: Array
    view: Array
    person: Array
    joints: Array | None
    """(R, J, 3)"""
    keypoints: Array | None
    """(R, J, 2)"""
    notes: tuple[str, ...] = ()


def people_in_views(held: FolderRecording, frames: Array, skeleton: Skeleton) -> PeopleInViews:
    """Everybody in some frames of a recording.

    With 3D joints a person is who they say, in every view, and keypoints are given to whom they lie nearest. Without
    them, people of different views are the same only if there is never more than one.

    Args:
        held: The recording.
        frames: (F,) increasing.
        skeleton: Of the result.
    """
    views = len(held.recording.names)
    keypoints = None if held.keypoints is None else _slots(held.keypoints, frames, skeleton)
    if held.joints is None:
        return _of_keypoints(keypoints, frames, views)
    joints = _at(held.joints, frames, skeleton)
    notes = _told(held.joints, held.recording.length)
    own = None
    if keypoints is not None:
        own, more = _given(held, joints, keypoints)
        notes += more
    known = np.broadcast_to(np.isfinite(joints).all(-1).any(-1), (views, *joints.shape[:2]))
    view, place, person = np.nonzero(known)
    return PeopleInViews(
        frame=frames[place],
        view=view,
        person=person,
        joints=joints[place, person],
        keypoints=None if own is None else own[view, place, person],
        notes=notes,
    )


def _slots(keypoints: Keypoints, frames: Array, skeleton: Skeleton) -> Array:
    """(V, F, S, J, 2) keypoints at some frames; NaN beyond the end."""
    found = in_skeleton(keypoints.positions, keypoints.skeleton, skeleton)
    there = frames < found.shape[1]
    taken = np.full((len(found), len(frames), *found.shape[2:]), np.nan)
    taken[:, there] = found[:, frames[there]]
    return taken


def _of_keypoints(keypoints: Array | None, frames: Array, views: int) -> PeopleInViews:
    if keypoints is None:
        nobody = np.zeros(0, dtype=np.int64)
        return PeopleInViews(frame=nobody, view=nobody, person=nobody, joints=None, keypoints=None)
    view, place, slot = np.nonzero(np.isfinite(keypoints).all(-1).any(-1))
    alone = keypoints.shape[2] <= 1
    notes = () if alone else ("people are numbered in each view apart: nothing says who is who across views.",)
    return PeopleInViews(
        frame=frames[place],
        view=view,
        person=slot if alone else view * keypoints.shape[2] + slot,
        joints=None,
        keypoints=keypoints[view, place, slot],
        notes=notes,
    )


def _at(joints: Joints, frames: Array, skeleton: Skeleton) -> Array:
    """(F, P, J, 3) joints at some frames; NaN where they have none."""
    found = in_skeleton(joints.positions, joints.skeleton, skeleton)
    place = np.searchsorted(joints.frames, frames).clip(max=max(len(joints.frames) - 1, 0))
    there = joints.frames[place] == frames if len(joints.frames) else np.zeros(len(frames), dtype=bool)
    taken = np.full((len(frames), *found.shape[1:]), np.nan)
    taken[there] = found[place[there]]
    return taken


def _told(joints: Joints, length: int) -> tuple[str, ...]:
    beyond = int((joints.frames >= length).sum())
    return (f"{beyond} frames of the 3D joints lie beyond the end of the views.",) if beyond else ()


def _given(held: FolderRecording, joints: Array, keypoints: Array) -> tuple[Array, tuple[str, ...]]:
    """(V, F, P, J, 2) keypoints of each person, and what was assumed."""
    people, slots = joints.shape[1], keypoints.shape[2]
    cameras = held.recording.cameras
    if people == 1 and slots == 1:
        return keypoints, ()
    if cameras is None or not has_places(cameras):
        return np.full((*keypoints.shape[:2], people, *keypoints.shape[3:]), np.nan), (
            "keypoints were left out: without cameras nothing says whose they are.",
        )
    world = torch.from_numpy(joints).expand(len(keypoints), *joints.shape)
    projected = project(world, cameras.to(torch.float64)).numpy()
    return _nearest(projected, keypoints), ("keypoints were given to the person whose projected joints lie nearest.",)


def _nearest(projected: Array, keypoints: Array) -> Array:
    """The keypoints (V, F, P, J, 2) of each person: of the slot (V, F, S, J, 2) nearest to them and to nobody else."""
    distance = np.linalg.norm(projected[..., :, None, :, :] - keypoints[..., None, :, :, :], axis=-1)
    known = np.isfinite(distance)
    count = known.sum(-1)
    mean = np.where(count > 0, np.where(known, distance, 0.0).sum(-1) / np.maximum(count, 1), np.inf)
    shape = (*mean.shape[:2], mean.shape[2], *keypoints.shape[3:])
    if not mean.size:
        return np.full(shape, np.nan)
    slot, person = mean.argmin(-1), mean.argmin(-2)
    mutual = np.take_along_axis(person, slot, axis=-1) == np.arange(mean.shape[2])
    near = np.take_along_axis(mean, slot[..., None], axis=-1)[..., 0] <= _NEAR * _diagonal(projected)
    picked = np.take_along_axis(keypoints, slot[..., None, None], axis=2)
    return np.where((mutual & near)[..., None, None], picked, np.nan)


def _diagonal(points: Array) -> Array:
    """Of the box around points (..., J, 2); 0 where there are none."""
    known = np.asarray(np.isfinite(points).all(-1))[..., None]
    low, high = np.where(known, points, np.inf).min(-2), np.where(known, points, -np.inf).max(-2)
    with np.errstate(invalid="ignore"):
        extent = np.linalg.norm(high - low, axis=-1)
    return np.where(known[..., 0].any(axis=-1), extent, 0.0)

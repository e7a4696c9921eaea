"""Which axis of a data set's world points up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from marey.core import Skeleton
from marey.data.folder_axes import Axis
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.labels.projection import joints_in_world

KNOWN: Mapping[str, Axis] = {"h36m": "z", "cmu": "-y"}
"""Of data sets by name, as they document it."""

ABOVE = ("head_top", "head", "nose", "neck", "left_shoulder", "right_shoulder")
BELOW = ("left_ankle", "right_ankle", "left_knee", "right_knee", "left_hip", "right_hip", "pelvis")

_MOST_ROWS = 4096
_LEAST_AGREEMENT = 0.7
"""Of the people's mean direction with an axis: 0.7 is 45 degrees; and of its length, 1 if all are parallel."""


def world_up(labels: Labels) -> Axis | None:
    """The axis of the labels' world that points up: known by name, or the one along which most people stand.

    None where the labels have no joints in the world, or people lean so that no axis is meant.
    """
    if labels.name in KNOWN:
        return KNOWN[labels.name]
    placed = labels.cameras is not None and labels.cameras.has_extrinsics
    if not len(labels) or not ("joints" in labels.values or ("joints_camera" in labels.values and placed)):
        return None
    rows = np.unique(np.linspace(0, len(labels) - 1, _MOST_ROWS).round().astype(np.int64))
    some = labels[rows]
    joints = joints_in_world(some).astype(np.float64)
    rise = _middle(joints, some.skeleton, ABOVE) - _middle(joints, some.skeleton, BELOW)
    length = np.linalg.norm(rise, axis=-1)
    known = length > 0  # NaN is not
    return _axis_along((rise[known] / length[known][:, None]).mean(0)) if known.any() else None


def _middle(joints: Array, skeleton: Skeleton, names: tuple[str, ...]) -> Array:
    """(R, 3) mean of those of the named joints that are known; NaN for none."""
    found = joints[:, [skeleton.index(name) for name in names if name in skeleton]]
    known = np.asarray(np.isfinite(found).all(-1, keepdims=True))
    count = known.sum(1)
    middle: Array = np.where(count > 0, np.where(known, found, 0).sum(1) / np.maximum(count, 1), np.nan)
    return middle


def _axis_along(direction: Array) -> Axis | None:
    place = int(np.abs(direction).argmax())
    if abs(direction[place]) < _LEAST_AGREEMENT:
        return None
    axes: tuple[tuple[Axis, Axis], ...] = (("x", "-x"), ("y", "-y"), ("z", "-z"))
    return axes[place][int(direction[place] < 0)]

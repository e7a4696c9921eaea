"""Which way is up: calibrations do not say, people do."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from marey.core import Joints3D, Skeleton

Axis = Literal["x", "y", "z", "-x", "-y", "-z"]

_HIGH = ("head_top", "head", "nose", "neck", "left_shoulder", "right_shoulder")
_LOW = ("left_ankle", "right_ankle", "left_heel", "right_heel", "left_big_toe", "right_big_toe")
_AXES: tuple[Axis, ...] = ("x", "y", "z", "-x", "-y", "-z")
_UPRIGHT = 0.7
"""Mean cosine between body and axis below which nobody is taken to stand upright."""


def find_up(joints: Joints3D, *, otherwise: Axis = "z") -> tuple[Axis, str]:
    """The world axis along which people's heads lie above their feet, and a sentence on how that was found.

    Falls back to `otherwise` where nobody is seen from head to foot or stands upright on the whole.
    """
    high = _center(joints.positions, joints.skeleton, _HIGH)
    low = _center(joints.positions, joints.skeleton, _LOW)
    body = torch.nn.functional.normalize(high - low, dim=-1).reshape(-1, 3)
    body = body[body.isfinite().all(-1)]
    if not len(body):
        return otherwise, f"Up is taken to be {otherwise}: nobody is seen from head to foot."
    mean = body.mean(0)
    signed = torch.cat((mean, -mean))
    best = int(signed.argmax())
    if signed[best] < _UPRIGHT:
        return otherwise, f"Up is taken to be {otherwise}: people do not stand upright along any axis of the world."
    return _AXES[best], f"Up is {_AXES[best]}, along which people stand."


def to_y_up(positions: Tensor, up: Axis) -> Tensor:
    """Turn positions (..., 3) so that y is up: a cyclic change of axes, after half a turn where up is negative."""
    if up.startswith("-"):
        # half a turn about the next axis reverses up and one other axis
        turn = {"-x": (-1, -1, 1), "-y": (1, -1, -1), "-z": (-1, 1, -1)}[up]
        positions = positions * positions.new_tensor(turn)
    order = {"x": (2, 0, 1), "y": (0, 1, 2), "z": (1, 2, 0)}[up.removeprefix("-")]
    return positions[..., list(order)]


def _center(positions: Tensor, skeleton: Skeleton, joints: tuple[str, ...]) -> Tensor:
    places = [skeleton.index(joint) for joint in joints if joint in skeleton]
    if not places:
        return positions.new_full((*positions.shape[:-2], 3), torch.nan)
    return positions[..., places, :].nanmean(dim=-2)

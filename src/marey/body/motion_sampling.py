"""Motions out of nothing: key poses of a sampler joined smoothly, on feet that stay where they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.body.ground import support
from marey.body.joint_limits import joint_limits
from marey.body.pose_sampling import PoseSampler, checked_numbers
from marey.body.smpl_tree import POSED_JOINTS, SMPL_TREE, average_joints, joints_of
from marey.core import InputError, ShapeError
from marey.core.results import BodyState
from marey.geometry.rotations import rotvec_to_matrix

_TAPS = 4
"""Keys that a frame of a cubic spline depends on."""


@dataclass(frozen=True, kw_only=True)
class SmoothMotions:
    """Motions of T frames: a cubic B-spline through the neighbourhood of key poses, in the coordinates of the limits.

    The spline stays within the hull of its keys, and the limits are convex: every frame is within them. It does not
    reach the keys, so motions are calmer than the poses of the sampler. The body turns at random, stands on its lowest
    joints, and moves as it must for them to stay where they are.
    """

    poses: PoseSampler
    frames: int
    fps: float = 30.0
    key_seconds: float = 0.6
    """Between key poses."""
    turn: float = 0.5
    """Radians by which the heading changes from key to key, at most."""

    def __post_init__(self) -> None:
        for name in ("frames", "fps", "key_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"SmoothMotions.{name}: expected more than 0, got {getattr(self, name)}")
        if not 0 <= self.turn < math.inf:
            raise InputError(f"SmoothMotions.turn: expected radians, 0 or more, got {self.turn}")

    @property
    def keys(self) -> int:
        """How many key poses a motion has."""
        return int((self.frames - 1) / (self.fps * self.key_seconds)) + _TAPS

    @property
    def numbers(self) -> int:
        """How many uniform numbers one motion takes: those of its key poses and a turn for each."""
        return self.keys * (self.poses.numbers + 1)

    def __call__(self, numbers: Tensor, *, joints: Tensor | None = None) -> BodyState:
        """Motions of numbers (..., `numbers`) in [0, 1).

        Args:
            numbers: Uniform.
            joints: (24, 3) metres, the rest pose of who moves; None: an average person.

        Returns:
            (..., T), y up, on the ground y = 0, beginning above the origin. The shape is empty.

        Raises:
            ShapeError: another number of numbers, or other joints.
        """
        rest = (average_joints() if joints is None else joints).to(numbers)
        if rest.shape != (len(SMPL_TREE), 3):
            raise ShapeError(f"joints: expected ({len(SMPL_TREE)}, 3) metres in the rest pose, got {tuple(rest.shape)}")
        rows = checked_numbers(numbers, self.numbers).reshape(*numbers.shape[:-1], self.keys, -1)
        limits = joint_limits().to(numbers)
        keys = self.poses.coordinates(rows[..., 1:])
        pose = limits.pose(self._joined(keys.flatten(-2)).reshape(*numbers.shape[:-1], -1, len(POSED_JOINTS), 3))
        steps = self.turn * (2 * rows[..., :1] - 1)
        steps = torch.cat((math.pi * (2 * rows[..., :1, :1] - 1), steps[..., 1:, :]), -2)
        heading = self._joined(steps.cumsum(-2))
        orientation = rotvec_to_matrix(torch.nn.functional.pad(heading, (1, 1)))
        return BodyState(
            orientation=orientation,
            pose=pose,
            shape=pose.new_zeros(*pose.shape[:-3], 0),
            translation=standing_still(orientation, pose, rest) - rest[0],
        )

    def _joined(self, keys: Tensor) -> Tensor:
        """Values (..., T, C) of a uniform cubic B-spline with control points (..., keys, C)."""
        time = torch.arange(self.frames, dtype=keys.dtype, device=keys.device) / (self.fps * self.key_seconds)
        first = time.floor().long().clamp_max(self.keys - _TAPS)
        u = (time - first)[:, None]
        taps = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
        parts = [tap / 6 * keys[..., first + place, :] for place, tap in enumerate(taps)]
        return parts[0] + parts[1] + parts[2] + parts[3]


def standing_still(orientation: Tensor, pose: Tensor, rest: Tensor) -> Tensor:
    """Places (..., T, 3) of the pelvis for which the lowest joints are on the ground and stay where they are.

    The first frame is above the origin.

    Args:
        orientation: (..., T, 3, 3) of the pelvis.
        pose: (..., T, 23, 3, 3).
        rest: (24, 3) metres, joints in the rest pose.
    """
    places = joints_of(torch.cat((orientation[..., None, :, :], pose), -3), rest)
    height, share = support(places)
    between = (share[..., 1:, :] + share[..., :-1, :])[..., None] / 2
    slid = (between * places.diff(dim=-3)).sum(-2).cumsum(-2)
    path = torch.nn.functional.pad(-slid, (0, 0, 1, 0))
    return torch.stack((path[..., 0], -height, path[..., 2]), -1)

"""What people do in front of the camera: single poses to learn from, motions to be tested on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from marey.body.joint_limits import joint_limits
from marey.body.motion_sampling import SmoothMotions
from marey.body.pose_prior import PriorPoses
from marey.body.pose_sampling import LimitPoses
from marey.body.smpl_tree import POSED_JOINTS
from marey.body.trees import part_of
from marey.data.synthetic.clips import Clips
from marey.data.synthetic.random import Draws
from marey.geometry.rotations import rotvec_to_matrix

_ARMS = ("collar", "shoulder", "elbow", "wrist", "hand")
_RATE = 10.0
"""Frames a second of motions."""


class Motions(Protocol):
    """Where poses come from."""

    def __call__(self, draws: Draws, frames: int) -> Tensor:
        """Rotations (C, T, 24, 3, 3) of C clips of T frames, the root relative to a world whose y points up."""
        ...


@dataclass(frozen=True, kw_only=True)
class PoseMix:
    """Shares of kinds of poses."""

    limits: float = 0.25
    """Share of the poses that are anything that joints allow; the others are drawn from the pose prior."""
    arms: float = 0.25
    """Share of the others whose arms do anything that joints allow."""
    joint_range: float = 0.8
    """Share of the range of the joints that those use."""
    lean: tuple[tuple[float, float], ...] = ((0.65, 0.1), (0.3, 0.35), (0.05, 3.0))
    """Pairs of a share of the poses and the standard deviation of their lean, radians."""
    filmed: float = 0.4
    """Share of all poses that are recorded ones, where there are any."""


_USUAL_MIX = PoseMix()


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedPoses:
    """Poses without a past, drawn anew for every frame: as people take them, anything joints allow, and recorded ones.

    Bodies stand upright, lean, or lie, and look anywhere.
    """

    mix: PoseMix = _USUAL_MIX
    clips: Clips | None = None

    def __call__(self, draws: Draws, frames: int) -> Tensor:
        """Rotations (C, T, 24, 3, 3)."""
        moments = draws.fork(torch.arange(frames).expand(len(draws.indices), -1), "pose")
        pose = joint_limits().to(torch.zeros((), dtype=torch.float32)).pose(self._coordinates(moments))
        local = torch.cat((self._root(moments)[:, None].float(), pose), 1)
        if self.clips is not None:
            recorded = self.clips.rotations(moments, torch.zeros(len(moments.indices), dtype=torch.float64)).float()
            recorded = torch.cat((_heading(moments).float()[:, None] @ recorded[:, :1], recorded[:, 1:]), 1)
            local = torch.where(moments.chance("filmed", self.mix.filmed)[:, None, None, None], recorded, local)
        return local.reshape(len(draws.indices), frames, *local.shape[1:])

    def _coordinates(self, moments: Draws) -> Tensor:
        """(M, 23, 3) of `JointLimits`."""
        usual, free = PriorPoses(tries=1), LimitPoses(fraction=self.mix.joint_range, tries=1)
        human = usual.coordinates(moments.uniform("prior", usual.numbers).float())
        any_ = free.coordinates(moments.uniform("limits", free.numbers).float())
        whole, arms = moments.chance("whole", self.mix.limits), moments.chance("arms", self.mix.arms)
        of_arms = torch.tensor([part_of(joint).endswith(_ARMS) for joint in POSED_JOINTS])
        return torch.where((whole[:, None] | (arms[:, None] & of_arms))[..., None], any_, human)

    def _root(self, moments: Draws) -> Tensor:
        kind = moments.choice("lean", [share for share, _ in self.mix.lean])
        deviation = torch.tensor([spread for _, spread in self.mix.lean], dtype=torch.float64)[kind]
        across = deviation[:, None] * moments.normal("tilt", 2)
        tilt = torch.stack((across[:, 0], torch.zeros_like(deviation), across[:, 1]), -1)
        return rotvec_to_matrix(tilt) @ _heading(moments)


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledMotions:
    """Smooth motions out of the pose prior."""

    def __call__(self, draws: Draws, frames: int) -> Tensor:
        """Rotations (C, T, 24, 3, 3)."""
        motions = SmoothMotions(poses=PriorPoses(), frames=frames, fps=_RATE)
        state = motions(draws.uniform("motion", motions.numbers))
        return torch.cat((state.orientation[..., None, :, :], state.pose), -3).float()


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedMotions:
    """Stretches of recorded motions."""

    clips: Clips

    def __call__(self, draws: Draws, frames: int) -> Tensor:
        """Rotations (C, T, 24, 3, 3)."""
        several = draws.fork(torch.zeros(len(draws.indices), frames, dtype=torch.int64), "motion")
        times = torch.arange(frames, dtype=torch.float64).repeat(len(draws.indices)) / _RATE
        local = self.clips.rotations(several, times)
        local = torch.cat((_heading(several)[:, None] @ local[:, :1], local[:, 1:]), 1).float()
        return local.reshape(len(draws.indices), frames, *local.shape[1:])


def _heading(draws: Draws) -> Tensor:
    """Rotations (M, 3, 3) about y by any angle."""
    angle = draws.uniform("heading", low=-math.pi, high=math.pi)
    zero = torch.zeros_like(angle)
    return rotvec_to_matrix(torch.stack((zero, angle, zero), -1))

"""Motions of the user's files as a source of poses: BVH, ASF with AMC, clips of the DeepMimic humanoid.

Which split a file belongs to is a matter of its name alone (`marey.body.motion_splits`), so a benchmark never shows a
motion that was trained on.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from marey.body.motion_splits import Split
from marey.body.recorded_motions import find_motions, read_motion
from marey.body.retarget import retarget
from marey.core import InputError
from marey.core.motion import Motion
from marey.data.synthetic.random import Draws
from marey.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """The frames of C motions one after the other, F in all."""

    names: tuple[str, ...]
    quaternions: Tensor
    """(F, 24, 4) of SMPL's joints relative to their parents, the root relative to a world whose y points up."""
    starts: Tensor
    """(C,) int64, the first frame of each."""
    lengths: Tensor
    """(C,) int64"""
    fps: Tensor
    """(C,) float64"""

    @classmethod
    def of(cls, motions: list[Motion]) -> Self:
        """Carry motions over to the body; frames that are unknown are left out.

        Raises:
            InputError: a motion is not that of a person, or has no frame.
        """
        frames = [_quaternions(motion) for motion in motions]
        lengths = torch.tensor([len(rows) for rows in frames])
        return cls(
            names=tuple(motion.name for motion in motions),
            quaternions=torch.cat(frames),
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            fps=torch.tensor([motion.fps for motion in motions], dtype=torch.float64),
        )

    def to(self, device: torch.device) -> Self:
        """A copy on a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return type(self)(names=self.names, **tensors)

    def rotations(self, persons: Draws, times: Tensor) -> Tensor:
        """What people do at times (G,) seconds: (G, 24, 3, 3), looking along z at time 0.

        Each begins at a random frame of a random clip, as likely as it is long, and goes back and forth in it.
        """
        first = (persons.uniform("frame") * len(self.quaternions)).long()
        clip = torch.searchsorted(self.starts, first, right=True) - 1
        start, last = self.starts[clip], (self.lengths[clip] - 1).to(torch.float64)
        place = (first - start) + times * self.fps[clip]
        place = last - (place.remainder((2 * last).clamp_min(1)) - last).abs()
        low = place.floor().clamp(torch.zeros_like(last), last)
        share = (place - low)[:, None]
        before = self.quaternions[start + low.long()]
        after = self.quaternions[start + (low + 1).minimum(last).long()]
        moved = quaternion_to_matrix(slerp(before, after, share))
        begun = quaternion_to_matrix(self.quaternions[first, 0])
        ahead = torch.atan2(begun[:, 0, 2], begun[:, 2, 2])
        return torch.cat(((_about_y(-ahead) @ moved[:, 0])[:, None], moved[:, 1:]), 1)


def read_clips(folder: str | os.PathLike[str], split: Split) -> Clips:
    """Read the motions of a folder, and of those within it, that belong to a split.

    Raises:
        InputError: there is no folder, no motion in it for the split, or a motion is not that of a person.
        FormatError: a file is malformed.
    """
    return Clips.of([read_motion(path) for path in find_motions(folder, split=split)])


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Quaternions (..., 4) on the shortest way from one to the other, at a share (...) of it."""
    cosine = (first * second).sum(-1)
    second = torch.where((cosine < 0)[..., None], -second, second)
    angle = cosine.abs().clamp_max(1.0).acos()
    near = angle < 1e-6
    sine = torch.where(near, 1.0, angle.sin())
    before = torch.where(near, 1 - share, ((1 - share) * angle).sin() / sine)
    after = torch.where(near, share, (share * angle).sin() / sine)
    return before[..., None] * first + after[..., None] * second


def _quaternions(motion: Motion) -> Tensor:
    """(T, 24, 4) of the known frames."""
    state = retarget(motion)
    rotations = torch.cat((state.orientation[:, None], state.pose), 1).to(torch.float64)
    known = rotations.flatten(1).isfinite().all(1)
    if not known.any():
        raise InputError(f"motion {motion.name}: no frame of it is known")
    return matrix_to_quaternion(rotations[known])


def _about_y(angle: Tensor) -> Tensor:
    """(G, 3, 3)."""
    cosine, sine, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = ((cosine, zero, sine), (zero, one, zero), (-sine, zero, cosine))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)

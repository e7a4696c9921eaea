"""Poses out of nothing: functions that turn uniform random numbers into poses within the limits of the joints.

A sampler draws nothing itself. It says how many numbers a pose takes and maps them, so whoever owns the random numbers
decides what a sample depends on; the same numbers give the same pose in any batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from marey.body.joint_limits import joint_limits
from marey.body.self_contact import depth_of_contact
from marey.body.smpl_tree import POSED_JOINTS
from marey.body.trees import part_of
from marey.core import InputError, ShapeError

_TOGETHER = {"spine1": ("spine", 0.08), "spine2": ("spine", 0.08), "spine3": ("spine", 0.08)} | {
    "neck": ("neck", 0.2),
    "head": ("neck", 0.2),
}
"""Joints that bend together: the name of their group, and the share of their own in how they turn. Vertebrae have no
muscles of their own."""
_DEEPEST = 0.015
"""Metres of one part of the body in another that flesh gives way by."""


class PoseSampler(Protocol):
    """What makes poses of numbers."""

    @property
    def numbers(self) -> int:
        """How many uniform numbers one pose takes."""

    def coordinates(self, numbers: Tensor) -> Tensor:
        """Turn and swing (..., 23, 3) of `JointLimits`, within the limits, of numbers (..., `numbers`) in [0, 1)."""

    def __call__(self, numbers: Tensor) -> Tensor:
        """The pose with these coordinates: rotations (..., 23, 3, 3)."""


def sample_poses(sampler: PoseSampler, count: int, *, seed: int) -> Tensor:
    """Draw poses (count, 23, 3, 3), double precision: the first ones of more, a function of the seed.

    Raises:
        InputError: `count` is negative.
    """
    if count < 0:
        raise InputError(f"count: expected 0 or more poses, got {count}")
    generator = torch.Generator().manual_seed(seed)
    return sampler(torch.rand(count, sampler.numbers, generator=generator, dtype=torch.float64))


@dataclass(frozen=True, kw_only=True)
class LimitPoses:
    """Anything that joints allow: every joint uniform in its range, the spine and the neck bending as one."""

    fraction: float = 1.0
    """Share of the range that is used, about a person who stands at ease: 0.5 is half of it to either side."""
    tries: int = 6
    """Poses out of which the first is taken whose forearms and shanks are not in other parts of the body; else the one
    in which they are least."""

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise InputError(f"LimitPoses.fraction: expected a share of the joint range in 0..1, got {self.fraction}")
        if self.tries < 1:
            raise InputError(f"LimitPoses.tries: expected 1 or more, got {self.tries}")

    @property
    def numbers(self) -> int:
        """How many uniform numbers one pose takes."""
        return self.tries * 3 * (len(POSED_JOINTS) + len(_groups().names))

    def __call__(self, numbers: Tensor) -> Tensor:
        """Rotations (..., 23, 3, 3) of numbers (..., `numbers`) in [0, 1), in their precision.

        Raises:
            ShapeError: another number of numbers.
        """
        return joint_limits().pose(self.coordinates(numbers))

    def coordinates(self, numbers: Tensor) -> Tensor:
        """The same as turn and swing (..., 23, 3) of `JointLimits`."""
        groups, joints = _groups(), len(POSED_JOINTS)
        rows = checked_numbers(numbers, self.numbers).reshape(
            *numbers.shape[:-1], self.tries, joints + len(groups.names), 3
        )
        own, shared = rows[..., :joints, :], rows[..., joints:, :]
        share = groups.own.to(numbers)[:, None]
        mixed = share * own + (1 - share) * shared[..., groups.of_joint, :]
        limits = joint_limits().to(numbers)
        turn = limits.low[:, :1] + mixed[..., :1] * (limits.high - limits.low)[:, :1]
        square = 2 * mixed[..., 1:] - 1
        swing = square * torch.where(square < 0, -limits.low[:, 1:], limits.high[:, 1:])
        # squares about the middle become superellipses about it
        outermost = square.abs().amax(-1, keepdim=True)
        swing = swing * (outermost / limits.fullness(swing)[..., None].clamp_min(1e-9))
        within = torch.cat((turn, swing), -1)
        return apart(limits.standing + self.fraction * (within - limits.standing))


def apart(coordinates: Tensor) -> Tensor:
    """Of poses (..., tries, 23, 3) the first without self-contact, else that with the least: (..., 23, 3)."""
    if coordinates.shape[-3] == 1:
        return coordinates[..., 0, :, :]
    with torch.no_grad():
        depth = depth_of_contact(joint_limits().pose(coordinates)).clamp_min(_DEEPEST)
        chosen = depth.argmin(-1)
    return coordinates.take_along_dim(chosen[..., None, None, None], -3)[..., 0, :, :]


def checked_numbers(numbers: Tensor, count: int) -> Tensor:
    """The numbers of a sampler.

    Raises:
        ShapeError: they are not (..., count) floating point numbers.
    """
    if numbers.ndim < 1 or numbers.shape[-1] != count or not numbers.is_floating_point():
        raise ShapeError(
            f"numbers: expected (..., {count}) floating point numbers in [0, 1), got {tuple(numbers.shape)} of "
            f"{numbers.dtype}"
        )
    return numbers


@dataclass(frozen=True, kw_only=True)
class _Groups:
    names: tuple[str, ...]
    of_joint: list[int]
    """The group of each joint, any for those that turn alone."""
    own: Tensor
    """(23,) share of a joint's own numbers, 1 for those that turn alone."""


@cache
def _groups() -> _Groups:
    names = tuple(dict.fromkeys(name for name, _ in _TOGETHER.values()))
    of_joint = [_TOGETHER.get(part_of(joint), (names[0], 1.0)) for joint in POSED_JOINTS]
    return _Groups(
        names=names,
        of_joint=[names.index(name) for name, _ in of_joint],
        own=torch.tensor([own for _, own in of_joint], dtype=torch.float64),
    )

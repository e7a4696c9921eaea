"""Test-time augmentation: the same person seen by several virtual cameras, and what their poses say together.

Every view turns, mirrors, zooms and brightens a crop in its own way. Their poses, brought back into the camera's frame,
are averaged; how far they lie apart is a part of the uncertainty that no single look shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from torch import Tensor

from marey.core import InputError, TensorFields, Trailing

Turns = Literal["none", "slight", "full", "both"]
"""Ours: upright, from nearer and nearer, every other view mirrored, brightness as it is. And angles of the published
tables: up to 25 degrees; all around; half of the views of each kind."""
Single = Literal["identity", "published", "published-later"]
"""What a table of one view is. November 2020: the first row of the others, turned by 25 degrees and brightened; later:
upright, brightened."""

LARGEST_TURN = 25.0
"""Degrees, of the published tables."""
_BRIGHTEST = 0.6
_SMALLEST, _LARGEST = 0.8, 1.1
_NEAREST = 1.2
"""Scale, of the table without turns."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Augmentations(TensorFields):
    """What the virtual cameras of one person change, batch shape (A,)."""

    angles: Annotated[Tensor, Trailing()]
    """Radians by which the picture is turned, clockwise where positive."""
    flips: Annotated[Tensor, Trailing()]
    """Boolean: the picture is mirrored after the turn."""
    scales: Annotated[Tensor, Trailing()]
    """Times the size of the person in the crop."""
    gammas: Annotated[Tensor, Trailing()]
    """Exponents of the stored values; below 1 brightens."""

    def __len__(self) -> int:
        return len(self.angles)

    @property
    def turns(self) -> Tensor:
        """Matrices (A, 3, 3) from the frame of the upright virtual camera to those of the views; mirrors included."""
        sine, cosine = self.angles.sin(), self.angles.cos()
        zero, one = torch.zeros_like(sine), torch.ones_like(sine)
        sign = torch.where(self.flips, -one, one)
        rows = ((sign * cosine, -sign * sine, zero), (sine, cosine, zero), (zero, zero, one))
        return torch.stack([torch.stack(row, -1) for row in rows], -2)


def augmentation_table(count: int, *, turns: Turns = "slight", single: Single = "identity") -> Augmentations:
    """The views of one person, double precision.

    Two and more with turns are the published tables: evenly spaced angles and brightness, scales 0.8 to 1 in the first
    half and 1 to 1.1 in the second one, and every other view mirrored so that the middle one is not. Without turns the
    first view is the identity, scales go up to 1.2, and every other view is mirrored.

    Args:
        count: Of views.
        turns: Which angles.
        single: What a table of one view is.

    Raises:
        InputError: no views, or no such table.
    """
    if count < 1:
        raise InputError(f"num_aug: expected 1 or more, got {count}")
    if turns not in get_args(Turns) or single not in get_args(Single):
        raise InputError(f"augmentations: expected {get_args(Turns)} and {get_args(Single)}, got {turns}, {single}")
    if turns == "none":
        return _upright(count)
    half = count // 2
    angles, gammas = _angles(count, turns), _spaced(_BRIGHTEST, 1.0, count)
    if count == 1 and single == "identity":
        gammas = torch.ones_like(gammas)
    elif count == 1 and single == "published":
        angles, gammas = angles - math.radians(LARGEST_TURN), torch.full_like(gammas, _BRIGHTEST)
    return Augmentations(
        angles=-angles,
        flips=(torch.arange(count) - half) % 2 != 0,
        scales=torch.cat((_spaced(_SMALLEST, 1.0, half + 1)[:half], _spaced(1.0, _LARGEST, count - half, alone=1.0))),
        gammas=gammas,
    )


def _upright(count: int) -> Augmentations:
    scales = _spaced(1.0, _NEAREST, count, alone=1.0)
    return Augmentations(
        angles=torch.zeros_like(scales),
        flips=torch.arange(count) % 2 != 0,
        scales=scales,
        gammas=torch.ones_like(scales),
    )


def _angles(count: int, turns: Turns) -> Tensor:
    around = math.pi * (1 - 1 / count)
    if turns == "full":
        return _spaced(-around, around, count)
    if turns == "both":
        few, many = count // 2, count - count // 2
        around = math.pi * (1 - 1 / many)
        angles = torch.cat((_angles(few, "slight"), _spaced(-around, around, many))) if few else _spaced(0, 0, many)
        return angles.sort().values
    limit = math.radians(LARGEST_TURN)
    return _spaced(-limit, limit, count)


def _spaced(first: float, last: float, count: int, *, alone: float | None = None) -> Tensor:
    """Evenly spaced numbers, both ends among them; a single one is the middle, or `alone`."""
    if count == 1:
        return torch.tensor([(first + last) / 2 if alone is None else alone], dtype=torch.float64)
    return torch.linspace(first, last, count, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenPoses(TensorFields):
    """Poses of people in the frame of the camera of the picture. Batch shape (N,), or (N, A) of A views each."""

    joints: Annotated[Tensor, Trailing("J", 3)]
    """Metres."""
    pixels: Annotated[Tensor, Trailing("J", 2)]
    """Of the picture, lens included; NaN for a joint behind the camera."""
    covariance: Annotated[Tensor, Trailing("J", 3, 3)]
    """Square metres; NaN where nobody states one."""


def to_camera(joints: Tensor, covariance: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
    """Bring joints of virtual cameras back into the frame of the camera of the picture.

    Args:
        joints: (..., J, 3) in the virtual cameras' frames.
        covariance: (..., J, 3, 3)
        turn: (..., 3, 3) from the camera's frame to the virtual ones, inverse of what is done here; its rows are
            perpendicular, of any length.
    """
    back = (turn / turn.square().sum(-1, keepdim=True)).to(joints.dtype)
    spread = back[..., None, :, :]
    return joints @ back, spread.mT @ covariance @ spread


def unmirrored(joints: Tensor, covariance: Tensor, flips: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Exchange left and right joints where a view was mirrored.

    Args:
        joints: (..., A, J, 3)
        covariance: (..., A, J, 3, 3)
        flips: (A,) boolean.
        mirror: (J,) of each joint its counterpart.
    """
    exchanged = joints[..., mirror, :], covariance[..., mirror, :, :]
    where = flips[:, None, None]
    return torch.where(where, exchanged[0], joints), torch.where(where[..., None], exchanged[1], covariance)


def averaged(poses: SeenPoses) -> SeenPoses:
    """The mean (N,) of the views (N, A) of each person.

    Pixels are the mean of the projections. The covariance is the mean of the views' own, which averaging does not make
    smaller, since the views look at the same pixels, and that of the mean of views that differ: the covariance between
    them over A. Where the network states none, the covariance between the views is all; of one view nothing (NaN).
    """
    joints = poses.joints.mean(1)
    off = poses.joints - joints[:, None]
    between = (off[..., :, None] * off[..., None, :]).mean(1)
    stated = poses.covariance.mean(1)
    alone = between if poses.joints.shape[1] > 1 else torch.full_like(between, torch.nan)
    covariance = torch.where(stated.isnan(), alone, stated + between / poses.joints.shape[1])
    return SeenPoses(joints=joints, pixels=poses.pixels.mean(1), covariance=covariance)

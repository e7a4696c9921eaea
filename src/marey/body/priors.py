"""How joints of people turn: coordinates of a rotation in which a joint's habits are simple, and those habits.

A rotation is split into a turn about one axis of the joint, the first of its basis, and a swing of that axis:
`q = turn * swing`. The first axis of a knee or an elbow is the hinge, so the turn is the flexion and the swing is what
a hinge does not do; that of other joints is the bone, so the turn is the twist, which points on a straight limb do not
tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from marey.body.trees import BodyTree, part_of

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Habit:
    """Of one kind of joint: mean and standard deviation of its coordinates in people at large, degrees."""

    axes: tuple[tuple[float, float, float], tuple[float, float, float]]
    """The first two axes of the basis on the left side, in the rest pose; the third is their cross product."""
    deviation: tuple[float, float, float]
    """Of the turn about the first axis, and of the swing about the second and the third."""
    usual: float = 0.0
    """The mean of the turn; the mean swing is none."""
    limits: tuple[float, float] = (-math.inf, math.inf)
    """Of the turn: beyond them it gets less likely at the rate `LIMIT_DEVIATION`."""


LIMIT_DEVIATION = 3.0
"""Degrees."""
_FREE = 1e5
_HABITS = {
    "pelvis": Habit(axes=(_Y, _Z), deviation=(_FREE, _FREE, _FREE)),
    "lumbar": Habit(axes=(_Y, _Z), deviation=(20, 20, 25)),
    "spine": Habit(axes=(_Y, _Z), deviation=(20, 20, 25)),
    "spine1": Habit(axes=(_Y, _Z), deviation=(12, 12, 15)),
    "spine2": Habit(axes=(_Y, _Z), deviation=(12, 12, 15)),
    "spine3": Habit(axes=(_Y, _Z), deviation=(12, 12, 15)),
    "spine4": Habit(axes=(_Y, _Z), deviation=(12, 12, 15)),
    "neck": Habit(axes=(_Y, _Z), deviation=(20, 15, 20)),
    "head": Habit(axes=(_Y, _Z), deviation=(30, 15, 20)),
    "collar": Habit(axes=(_X, _Y), deviation=(3, 10, 10)),
    "shoulder": Habit(axes=(_X, _Y), deviation=(45, 120, 120)),
    "elbow": Habit(axes=((0.0, -1.0, 0.0), (0.0, 0.0, -1.0)), deviation=(60, 4, 3), usual=30, limits=(-5, 155)),
    "wrist": Habit(axes=(_X, _Y), deviation=(50, 30, 30)),
    "hip": Habit(axes=((0.0, -1.0, 0.0), _X), deviation=(20, 90, 90)),
    "knee": Habit(axes=(_X, _Z), deviation=(60, 4, 3), usual=20, limits=(-5, 155)),
    "ankle": Habit(axes=(_Y, _Z), deviation=(12, 15, 25)),
}
"""By what can be told of points: the knee's and the elbow's own twist is kept small, the hip and the shoulder have it.
The ranges are those of daily movement, wide enough for sports; points outweigh them wherever they tell anything."""


@dataclass(frozen=True, kw_only=True)
class Habits:
    """The habits of the A turning joints of a tree, radians."""

    basis: Tensor
    """(A, 3, 3) axes in columns."""
    mean: Tensor
    """(A, 3) of the coordinates."""
    deviation: Tensor
    """(A, 3)"""
    limits: Tensor
    """(A, 2) of the turn."""

    def to(self, dtype: torch.dtype) -> Habits:
        """The habits in another precision."""
        return Habits(**{field.name: getattr(self, field.name).to(dtype) for field in fields(self)})


def habits_of(body: BodyTree) -> Habits:
    """The habits of a tree's turning joints, in double precision; right joints mirror left ones."""
    names = [body.tree.joints[place] for place in body.moving]
    habits = [_HABITS[part_of(name)] for name in names]
    first, second = torch.tensor([habit.axes for habit in habits], dtype=torch.float64).unbind(1)
    basis = torch.stack((first, second, torch.linalg.cross(first, second)), -1)
    # a mirrored turn goes the other way round its mirrored axis
    mirrored = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]
    right = torch.tensor([name.startswith("right_") for name in names])[:, None, None]
    basis = torch.where(right, mirrored * basis, basis)
    mean = torch.tensor([(habit.usual, 0.0, 0.0) for habit in habits], dtype=torch.float64)
    deviation = torch.tensor([habit.deviation for habit in habits], dtype=torch.float64)
    limits = torch.tensor([habit.limits for habit in habits], dtype=torch.float64)
    return Habits(basis=basis, mean=mean.deg2rad(), deviation=deviation.deg2rad(), limits=limits.deg2rad())


def turn_and_swing(quaternions: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of rotations, and how they follow a small turn.

    With q = (w, x, y, z) in the basis, `turn = 2 n atan2(x, w)` and `swing = 2 (c y + s z, c z - s y)`, where
    n = hypot(w, x), c = w / n and s = x / n. The length of the swing is the chord of its angle; the factor n takes the
    turn out where the swing is half a turn and nothing tells the two apart.

    Args:
        quaternions: (..., A, 4) x y z w.
        basis: (A, 3, 3) axes in columns.

    Returns:
        Coordinates (..., A, 3), and their derivative (..., A, 3, 3) with respect to a rotation vector in the joint's
        own frame.
    """
    vector = (basis.mT @ quaternions[..., :3, None])[..., 0]
    w = quaternions[..., 3]
    sign = torch.where(w < 0, -1.0, 1.0).to(w)
    (x, y, z), w = (vector * sign[..., None]).unbind(-1), w * sign
    n = torch.hypot(w, x).clamp_min(1e-9)
    c, s, half = w / n, x / n, torch.atan2(x, w)
    coordinates = 2 * torch.stack((n * half, c * y + s * z, c * z - s * y), -1)
    # dn = c dw + s dx;  d half = (c dx - s dw) / n;  dc = -s d half;  ds = c d half
    zero = torch.zeros_like(n)
    half_w, half_x = -s / n, c / n
    lead, trail = c * z - s * y, -(s * z + c * y)  # of the two swings, by d half
    by_q = 2 * _rows(
        (half * c + n * half_w, half * s + n * half_x, zero, zero),
        (lead * half_w, lead * half_x, c, s),
        (trail * half_w, trail * half_x, -s, c),
    )
    q_by_turn = 0.5 * _rows((-x, -y, -z), (w, -z, y), (z, w, -x), (-y, x, w))
    return coordinates, by_q @ q_by_turn @ basis.mT


def surprise(coordinates: Tensor, habits: Habits, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Deviations from a mean in standard deviations (..., A, 3), and their slopes (..., A, 3).

    Beyond its limits a turn deviates more steeply.
    """
    slope = 1 / deviation
    values = (coordinates - mean) * slope
    turn, (low, high) = coordinates[..., 0], habits.limits.unbind(-1)
    beyond = (turn - high).clamp_min(0) + (turn - low).clamp_max(0)
    steep = 1 / math.radians(LIMIT_DEVIATION)
    extra = torch.stack((steep * beyond, torch.zeros_like(turn), torch.zeros_like(turn)), -1)
    steeper = torch.where(beyond != 0, steep, 0.0)
    return values + extra, slope + torch.stack((steeper, torch.zeros_like(turn), torch.zeros_like(turn)), -1)


def _rows(*rows: tuple[Tensor, ...]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], -2)

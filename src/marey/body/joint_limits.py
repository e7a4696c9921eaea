"""How far the joints of people turn: ranges of swing and twist for each joint of SMPL's tree.

A rotation is read in coordinates in which a joint's range is simple: a turn about one axis and a swing of that axis.
Of a hinge (elbow, knee) the axis is the hinge's, and the turn comes after the swing: `R = turn swing`. Of the others
the axis is the bone, and the twist comes first: `R = centre swing twist`, where the centre is the middle of the range
in which the bone points, so that no direction a person can reach is close to where swing and twist are confounded.

The range is an interval of the turn, and for the swing the inside of a superellipse of fourth powers whose four half
axes differ: a leg that is spread wide bends less than one that is not. It is convex in the coordinates, so a pose
between two poses within the limits is within them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cache

import torch
from torch import Tensor

from marey.body.smpl_tree import POSED_JOINTS
from marey.body.trees import part_of
from marey.core import InputError, ShapeError
from marey.geometry.rotations import euler_to_matrix, matrix_to_quaternion, quaternion_to_matrix

_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_DOWN, _BACK = (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)
_SMALL = 1e-12
_ROUNDING = 64
"""Of the last bit: what a pose on its limits may be off by."""

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class JointRange:
    """Of one kind of joint on the left side: degrees, in the rest pose's axes."""

    axes: tuple[tuple[float, float, float], tuple[float, float, float]]
    """The first two axes of the basis; the third is their cross product. The first is the bone, of a hinge the hinge;
    those of `marey.body.priors`."""
    turn: Interval
    """About the first axis."""
    second: Interval
    """Of the swing about the second axis where that about the third is none."""
    third: Interval
    """Of the swing about the third axis where that about the second is none."""
    hinge: bool = False
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """About x, y and z in this order (moving axes): the middle of where the bone points; turn and swing count from
    it."""
    standing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """About x, y and z in this order: the rotation in a person who stands at ease, arms hanging."""


RANGES: dict[str, JointRange] = {
    # flexion 122, extension 10-30, abduction 46, adduction 27, rotation 47 inwards and outwards [1, 2]
    "hip": JointRange(axes=(_DOWN, _X), turn=(-60, 60), second=(-95, 75), third=(-45, 65), centre=(-45, 0, 0)),
    # 143 of flexion [1], 160 in a deep squat; the shank turns by 30 either way while bent, and gives way by 8 sideways
    "knee": JointRange(axes=(_X, _Z), turn=(-8, 155), second=(-10, 10), third=(-30, 30), hinge=True),
    # up 13-20, 45 when the body's weight bends it [5]; down 56; sole inwards 37, outwards 21 [1, 2]
    "ankle": JointRange(axes=(_Y, _Z), turn=(-40, 40), second=(-45, 30), third=(-45, 60)),
    # toes up 70, down 40 [2]
    "foot": JointRange(axes=(_X, _Y), turn=(-70, 45), second=(-15, 15), third=(-10, 10)),
    # the trunk as a whole: forwards 80-90, backwards 30, sideways 35, about its axis 45 [2], over three joints
    "spine1": JointRange(axes=(_Y, _Z), turn=(-20, 20), second=(-18, 18), third=(-20, 35)),
    "spine2": JointRange(axes=(_Y, _Z), turn=(-20, 20), second=(-18, 18), third=(-20, 35)),
    "spine3": JointRange(axes=(_Y, _Z), turn=(-20, 20), second=(-18, 18), third=(-20, 35)),
    # the neck as a whole: forwards 45-60, backwards 45-70, sideways 45, about its axis 60-80 [2, 3], over two joints
    "neck": JointRange(axes=(_Y, _Z), turn=(-40, 40), second=(-25, 25), third=(-35, 30)),
    "head": JointRange(axes=(_Y, _Z), turn=(-40, 40), second=(-25, 25), third=(-40, 30)),
    # the shoulder girdle: up 40, down 10, forwards and backwards 20-25 [4]
    "collar": JointRange(axes=(_X, _Y), turn=(-15, 30), second=(-25, 25), third=(-12, 40)),
    # between arm and trunk: raised 167-184, backwards 62, horizontally forwards 141 and backwards 45, rotation inwards
    # 69 and outwards 104 [1]
    "shoulder": JointRange(
        axes=(_X, _Y),
        turn=(-125, 80),
        second=(-95, 105),
        third=(-105, 100),
        centre=(0, -45, 0),
        standing=(0, -10, -72),
    ),
    # flexion 143; of the 76 inwards and 82 outwards of the forearm [1] half are here and half at the wrist
    "elbow": JointRange(
        axes=(_DOWN, _BACK), turn=(-8, 155), second=(-10, 10), third=(-45, 45), hinge=True, standing=(0, -15, 0)
    ),
    # to the thumb 21, to the little finger 36; palmwards 76, backwards 75 [1]
    "wrist": JointRange(axes=(_X, _Y), turn=(-45, 45), second=(-35, 40), third=(-80, 75)),
    # the fingers as one, at their first joint: bent 90, backwards 30 [2]
    "hand": JointRange(axes=(_X, _Y), turn=(-5, 5), second=(-15, 15), third=(-90, 30)),
}
"""[1] Boone, Azen, "Normal range of motion of joints in male subjects", J. Bone and Joint Surgery 61-A, 1979.
[2] American Academy of Orthopaedic Surgeons, "Joint motion: method of measuring and recording", 1965.
[3] White, Panjabi, "Clinical biomechanics of the spine", 2nd ed., 1990.
[4] Kapandji, "The physiology of the joints", vol. 1.
[5] Bennell et al., "Intra-rater and inter-rater reliability of a weight-bearing lunge measure of ankle dorsiflexion",
Australian J. Physiotherapy 44, 1998.
Ranges of averages, somewhat widened where the motions of athletes reach further."""


@dataclass(frozen=True, kw_only=True, eq=False)
class JointLimits:
    """Ranges of the 23 joints of `BodyState.pose`, radians; right joints mirror left ones."""

    basis: Tensor
    """(23, 3, 3) axes in columns."""
    centre: Tensor
    """(23, 3, 3) the rotations from which turn and swing count."""
    order: Tensor
    """(23,) 1 for hinges, -1 for the others: on which side of the swing the turn is."""
    low: Tensor
    """(23, 3) of the turn, and of the swing about the second and the third axis."""
    high: Tensor
    """(23, 3)"""
    standing: Tensor
    """(23, 3) coordinates of a person who stands at ease, arms hanging."""
    joints: tuple[str, ...] = field(default=POSED_JOINTS)

    def to(self, like: Tensor) -> JointLimits:
        """The limits in the precision and on the device of a tensor."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "joints"}
        return JointLimits(**{name: tensor.to(like) for name, tensor in tensors.items()})

    def coordinates(self, pose: Tensor) -> Tensor:
        """Turn and swing (..., 23, 3), radians, of rotations (..., 23, 3, 3).

        The turn is within half a turn of the middle of its range. Differentiable but where the swing is half a turn.
        """
        own = self.to(_checked(pose, (23, 3, 3)))
        quaternion = matrix_to_quaternion(own.basis.mT @ own.centre.mT @ pose @ own.basis)
        x, y, z, w = quaternion.unbind(-1)
        turn = 2 * torch.atan2(x, w)
        middle = (own.low + own.high)[:, 0] / 2
        turn = middle + torch.remainder(turn - middle + math.pi, 2 * math.pi) - math.pi
        along = torch.hypot(w, x).clamp_min(_SMALL)
        c, s = w / along, own.order * x / along
        second, third = c * y + s * z, c * z - s * y
        across = (second.square() + third.square() + _SMALL**2).sqrt()
        scale = 2 * torch.atan2(across, along) / across
        return torch.stack((turn, scale * second, scale * third), -1)

    def pose(self, coordinates: Tensor) -> Tensor:
        """Rotations (..., 23, 3, 3) of turn and swing (..., 23, 3), radians: the inverse of `coordinates`."""
        own = self.to(_checked(coordinates, (23, 3)))
        turn, second, third = coordinates.unbind(-1)
        angle = (second.square() + third.square() + _SMALL**2).sqrt()
        scale = torch.sin(angle / 2) / angle
        along, y, z = torch.cos(angle / 2), scale * second, scale * third
        c, s = torch.cos(turn / 2), torch.sin(turn / 2)
        swing = (c * y - own.order * s * z, c * z + own.order * s * y)
        turned = quaternion_to_matrix(torch.stack((s * along, *swing, c * along), -1))
        return own.centre @ own.basis @ turned @ own.basis.mT

    def excess(self, pose: Tensor) -> Tensor:
        """How far joints are beyond their limits, (..., 23, 2) radians of turn and of swing; 0 within.

        The swing's is measured towards no swing, which is within. Differentiable.
        """
        coordinates = self.coordinates(pose)
        own, turn, swing = self.to(coordinates), coordinates[..., 0], coordinates[..., 1:]
        beyond = (turn - own.high[:, 0]).clamp_min(0) + (own.low[:, 0] - turn).clamp_min(0)
        share = own.fullness(swing).clamp_min(1.0)
        length = (swing.square().sum(-1) + _SMALL**2).sqrt()
        return torch.stack((beyond, length * (1 - 1 / share)), -1)

    def penalty(self, pose: Tensor) -> Tensor:
        """Sum (...) over the joints of the squared excess, square radians: 0 within the limits. Differentiable."""
        return self.excess(pose).square().sum((-1, -2))

    def inside(self, pose: Tensor, *, tolerance: float = 0.0) -> Tensor:
        """(..., 23) boolean: the joint is within its limits, or beyond by at most a tolerance in radians."""
        return (self.excess(pose) <= tolerance + max(1e-9, _ROUNDING * torch.finfo(pose.dtype).eps)).all(-1)

    def clamp(self, pose: Tensor) -> Tensor:
        """Poses (..., 23, 3, 3) with each joint that is beyond its limits brought back to them."""
        coordinates = self.coordinates(pose)
        own, turn, swing = self.to(coordinates), coordinates[..., :1], coordinates[..., 1:]
        turn = turn.clamp(own.low[:, :1], own.high[:, :1])
        swing = swing / own.fullness(swing).clamp_min(1.0)[..., None]
        return torch.where(self.inside(pose)[..., None, None], pose, self.pose(torch.cat((turn, swing), -1)))

    def fullness(self, swing: Tensor) -> Tensor:
        """Swings (..., 23, 2) as a share (..., 23) of what their direction allows: 1 on the superellipse."""
        own = self.to(swing)
        half = torch.where(swing < 0, -own.low[:, 1:], own.high[:, 1:])
        # the fourth root of fourth powers, by operations that are exact to the last bit on every machine
        return (swing / half).square().square().sum(-1).clamp_min(_SMALL**2).sqrt().sqrt()


@cache
def joint_limits() -> JointLimits:
    """The limits of people, from `RANGES`, in double precision."""
    ranges = [RANGES[part_of(joint)] for joint in POSED_JOINTS]
    basis = torch.tensor([each.axes for each in ranges], dtype=torch.float64)
    first, second = basis.unbind(1)
    basis = torch.stack((first, second, torch.linalg.cross(first, second)), -1)
    centre = _turned([each.centre for each in ranges])
    standing = _turned([each.standing for each in ranges])
    # a mirrored turn goes the other way round its mirrored axis
    mirror = torch.tensor((-1.0, 1.0, 1.0), dtype=torch.float64)
    right = torch.tensor([joint.startswith("right_") for joint in POSED_JOINTS])[:, None, None]
    basis = torch.where(right, -mirror[:, None] * basis, basis)
    centre = torch.where(right, mirror[:, None] * centre * mirror, centre)
    standing = torch.where(right, mirror[:, None] * standing * mirror, standing)
    spans = torch.tensor([(each.turn, each.second, each.third) for each in ranges], dtype=torch.float64).deg2rad()
    limits = JointLimits(
        basis=basis,
        centre=centre,
        order=torch.tensor([1.0 if each.hinge else -1.0 for each in ranges], dtype=torch.float64),
        low=spans[..., 0],
        high=spans[..., 1],
        standing=torch.zeros(len(ranges), 3, dtype=torch.float64),
    )
    return JointLimits(**{**vars(limits), "standing": limits.coordinates(standing)})


def _turned(degrees: list[tuple[float, float, float]]) -> Tensor:
    """(N, 3, 3) rotations about x, y and z in this order."""
    return euler_to_matrix(torch.tensor(degrees, dtype=torch.float64).deg2rad(), "XYZ")


def _checked(value: Tensor, trailing: tuple[int, ...]) -> Tensor:
    if value.shape[-len(trailing) :] != trailing:
        expected = ", ".join(map(str, trailing))
        raise ShapeError(
            f"expected (..., {expected}), got {tuple(value.shape)}; the root is not among them, nor joints of the hand"
        )
    if not value.is_floating_point():
        raise InputError(f"expected floating point numbers, got {value.dtype}")
    return value

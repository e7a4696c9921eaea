"""Joint angles as biomechanics reads them, from the rotations of a motion, with their uncertainty.

Axes and sequences after the recommendations of the International Society of Biomechanics (Wu et al., J. Biomechanics
35, 2002, for hip, knee, ankle and spine; 38, 2005, for shoulder and elbow), names and signs as OpenSim's full-body
models have them (Rajagopal et al., IEEE Trans. Biomedical Engineering 63, 2016). The page "Joint angles" of the
documentation lists them, with what points cannot tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.body.trees import part_of
from marey.core import InputError, ShapeError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import euler_to_matrix, matrix_to_euler

_SPINE = ("lumbar", "spine", "spine1", "spine2", "spine3", "spine4")
_TO_ISB = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))
"""From the axes of a motion (x left, y up, z forward) to those of the society (x forward, y up, z to the right)."""
_MIRROR = (1.0, 1.0, -1.0)
_UNDETERMINED = math.pi / math.sqrt(3)
"""Radians, standard deviation of an angle of which nothing is known."""


@dataclass(frozen=True, kw_only=True)
class JointAngles:
    """A joint angles over T frames of one person."""

    names: tuple[str, ...]
    """As OpenSim names coordinates: pelvis_tilt, hip_flexion_r, knee_angle_l, ..."""
    values: Tensor
    """(T, A) radians; NaN where unknown. Those of the pelvis go on without jumps, the others are in -pi..pi."""
    deviation: Tensor
    """(T, A) standard deviation, radians, at most that of an angle of which nothing is known (104 degrees); NaN where
    unknown, and where the motion has no covariance."""
    fps: float
    name: str = ""
    """Of the person or the take."""

    def __post_init__(self) -> None:
        for field in ("values", "deviation"):
            found, expected = tuple(getattr(self, field).shape), (len(self.values), len(self.names))
            if found != expected:
                raise ShapeError(f"JointAngles.{field}: expected {expected}, got {found}")

    def index(self, name: str) -> int:
        """The column of an angle.

        Raises:
            InputError: there is none of that name.
        """
        if name not in self.names:
            raise InputError(f"no angle '{name}'; there are: {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """The angles of one rotation: of the last joint of a path, relative to what the first one hangs on."""

    path: tuple[str, ...]
    """Joints whose rotations follow each other; those that a tree lacks are passed over."""
    sequence: str
    """Of the rotations about the axes of the society."""
    names: tuple[str, str, str]
    """In the order of the sequence, for the right side or the middle; empty: not told by points."""
    signs: tuple[float, float, float] = (1.0, 1.0, 1.0)
    needs: tuple[str, ...] = ()
    """Parts of which one must be in the tree."""
    arm: tuple[bool, bool] = (False, False)
    """Whether the proximal and the distal segment are stretched out sideways in the rest pose; angles count from arms
    that hang down."""


_PELVIS = _Reading(path=("pelvis",), sequence="ZXY", names=("pelvis_tilt", "pelvis_list", "pelvis_rotation"))
_MIDDLE = (
    _Reading(path=_SPINE, sequence="ZXY", names=("lumbar_extension", "lumbar_bending", "lumbar_rotation")),
    _Reading(
        path=("neck", "head"),
        sequence="ZXY",
        names=("neck_extension", "neck_bending", "neck_rotation"),
        needs=("nose", "left_eye", "left_ear"),
    ),
)
_TOES = ("right_big_toe", "right_small_toe", "right_foot")
_RIGHT = (
    _Reading(path=("right_hip",), sequence="ZXY", names=("hip_flexion_r", "hip_adduction_r", "hip_rotation_r")),
    _Reading(path=("right_knee",), sequence="ZXY", names=("knee_angle_r", "", ""), signs=(-1.0, 1.0, 1.0)),
    _Reading(path=("right_ankle",), sequence="ZXY", names=("ankle_angle_r", "", ""), needs=_TOES),
    _Reading(
        path=("right_collar", "right_shoulder"),
        sequence="ZXY",
        names=("arm_flex_r", "arm_add_r", "arm_rot_r"),
        arm=(False, True),
    ),
    _Reading(
        path=("right_collar", "right_shoulder"),
        sequence="YXY",
        names=("shoulder_plane_r", "shoulder_elevation_r", "shoulder_rotation_r"),
        arm=(False, True),
    ),
    _Reading(path=("right_elbow",), sequence="ZXY", names=("elbow_flex_r", "", ""), arm=(True, True)),
    _Reading(
        path=("right_wrist",),
        sequence="YZX",
        names=("pro_sup_r", "wrist_dev_r", "wrist_flex_r"),
        needs=("right_index", "right_pinky"),
        arm=(True, True),
    ),
)


def joint_angles(motion: Motion) -> JointAngles:
    """Read the joint angles of a motion in a world with y up.

    Deviations follow the covariance of the rotations to first order, by the derivative of each angle; near a sequence's
    gimbal lock they grow accordingly. Where several rotations follow each other (the arm relative to the trunk: collar
    and shoulder) their errors are taken as independent, which makes them rather too large.

    Args:
        motion: as `marey.body.kinematics` makes it, with the names of its trees. Angles of joints that the tree lacks,
            or on which nothing hangs, are left out.
    """
    names: list[str] = []
    none = motion.translation.new_zeros(motion.length, 0)
    values, deviations = [none], [none]
    for reading, left in _all_readings():
        path = _path(reading, left, motion.tree)
        if not path:
            continue
        angles, deviation = _read(motion, reading, path, left=left)
        told = [place for place, name in enumerate(reading.names) if name]
        names += [_sided(reading.names[place], left) for place in told]
        values.append(angles[:, told])
        deviations.append(deviation[:, told])
    return JointAngles(
        names=tuple(names),
        values=torch.cat(values, -1),
        deviation=torch.cat(deviations, -1),
        fps=motion.fps,
        name=motion.name,
    )


def _all_readings() -> list[tuple[_Reading, bool]]:
    """Every reading, and whether it is that of the left side."""
    middle = [(reading, False) for reading in (_PELVIS, *_MIDDLE)]
    return middle + [(reading, left) for left in (False, True) for reading in _RIGHT]


def _sided(name: str, left: bool) -> str:
    if not left:
        return name
    return f"left_{part_of(name)}" if name.startswith("right_") else f"{name.removesuffix('_r')}_l"


def _path(reading: _Reading, left: bool, tree: JointTree) -> list[int]:
    """Places of the joints of a reading, empty where the tree does not tell its angles."""
    needs = {_sided(name, left) if name.startswith("right_") else name for name in reading.needs}
    if needs and not needs & set(tree.joints):
        return []
    joints = [_sided(name, left) if name.startswith("right_") else name for name in reading.path]
    return [place for place, name in enumerate(tree.joints) if name in joints and tree.children[place]]


def _read(motion: Motion, reading: _Reading, path: list[int], *, left: bool) -> tuple[Tensor, Tensor]:
    """Angles (T, 3) and their deviations (T, 3)."""
    rotation, covariance = _along(motion, path)
    upper, lower = (_hanging(stretched, left).to(rotation) for stretched in reading.arm)
    to_isb = rotation.new_tensor(_TO_ISB)
    # the world has no segment of its own: its axes are taken as they are
    near = rotation.new_tensor(_TO_ISB) @ upper.mT if reading is not _PELVIS else torch.eye(3).to(rotation)
    far = to_isb @ lower.mT
    rotation, covariance = near @ rotation @ far.mT, far @ covariance @ far.mT
    if left:
        flip = torch.diag(rotation.new_tensor(_MIRROR))
        rotation, covariance = flip @ rotation @ flip, flip @ covariance @ flip
    angles = matrix_to_euler(rotation, reading.sequence)
    if reading.sequence[0] == reading.sequence[2]:
        # the same rotation with the middle angle negative: raised arms, by the society's signs
        angles = _wrapped(angles * angles.new_tensor((1.0, -1.0, 1.0)) + angles.new_tensor((math.pi, 0.0, math.pi)))
        slopes = _slopes(angles, reading.sequence)
        angles = angles * angles.new_tensor((1.0, -1.0, 1.0))
    else:
        slopes = _slopes(angles, reading.sequence)
    angles = angles * angles.new_tensor(reading.signs)
    variance = (slopes @ covariance @ slopes.mT).diagonal(dim1=-2, dim2=-1)
    deviation = variance.clamp_min(0).sqrt().clamp_max(_UNDETERMINED)
    return (_continued(angles) if reading is _PELVIS else angles), deviation


def _along(motion: Motion, path: list[int]) -> tuple[Tensor, Tensor]:
    """The product (T, 3, 3) of rotations along a path, and its covariance as a rotation vector in the last frame."""
    total = motion.rotations[:, path[0]]
    spread = motion.covariance if motion.covariance is not None else torch.full_like(motion.rotations, torch.nan)
    covariance = spread[:, path[0]]
    for joint in path[1:]:
        turn = motion.rotations[:, joint]
        total, covariance = total @ turn, turn.mT @ covariance @ turn + spread[:, joint]
    return total, covariance


def _hanging(stretched: bool, left: bool) -> Tensor:
    """The rotation (3, 3) about the forward axis from an arm that hangs down to one stretched out sideways."""
    angle = (math.pi / 2 if left else -math.pi / 2) if stretched else 0.0
    return euler_to_matrix(torch.tensor((0.0, 0.0, angle), dtype=torch.float64), "XYZ")


def _slopes(angles: Tensor, sequence: str) -> Tensor:
    """How Euler angles (..., 3) follow a small turn in the frame of the distal segment, (..., 3, 3).

    The turn is `e3 dc + R3^T e2 db + (R2 R3)^T e1 da`; this is the inverse, with rows of cross products.
    """
    axes = torch.eye(3).to(angles)
    first, second, third = (axes["XYZ".index(axis)] for axis in sequence)
    zero = torch.zeros_like(angles[..., 0])
    last = euler_to_matrix(torch.stack((angles[..., 2], zero, zero), -1), _starting_with(sequence[2]))
    middle = euler_to_matrix(torch.stack((angles[..., 1], zero, zero), -1), _starting_with(sequence[1]))
    by_first = ((middle @ last).mT @ first[:, None])[..., 0]
    by_second = (last.mT @ second[:, None])[..., 0]
    by_third = third.expand_as(by_second)
    rows = torch.stack(
        (
            torch.linalg.cross(by_second, by_third),
            torch.linalg.cross(by_third, by_first),
            torch.linalg.cross(by_first, by_second),
        ),
        -2,
    )
    volume = (rows[..., 0, :] * by_first).sum(-1)
    locked = volume.abs() < 1e-6
    return rows / torch.where(locked, 1e-6, volume)[..., None, None]


def _starting_with(axis: str) -> str:
    return {"X": "XYZ", "Y": "YZX", "Z": "ZXY"}[axis]


def _wrapped(angles: Tensor) -> Tensor:
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi


def _continued(angles: Tensor) -> Tensor:
    """Angles (T, A) without jumps of a whole turn, over gaps too."""
    known = angles.isfinite()
    frames = torch.arange(len(angles), device=angles.device)[:, None].expand(angles.shape)
    last = torch.where(known, frames, 0).cummax(0).values
    held = angles.gather(0, last).nan_to_num() if len(angles) else angles
    steps = _wrapped(held.diff(dim=0)) - held.diff(dim=0)
    turns = torch.cat((torch.zeros_like(held[:1]), steps.cumsum(0)))
    return angles + turns

"""How deep limbs are in other parts of the body: capsules around the bones, as rough as a sampler of poses needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.body.smpl_tree import SMPL_TREE, average_joints, joints_of

_CAPSULES: tuple[tuple[str, str, float], ...] = (
    ("left_hip", "left_collar", 0.095),
    ("right_hip", "right_collar", 0.095),
    ("pelvis", "spine3", 0.12),
    ("head", "head_top", 0.095),
    ("left_hip", "left_knee", 0.07),
    ("right_hip", "right_knee", 0.07),
    ("left_knee", "left_ankle", 0.05),
    ("right_knee", "right_ankle", 0.05),
    ("left_shoulder", "left_elbow", 0.045),
    ("right_shoulder", "right_elbow", 0.045),
    ("left_elbow", "left_hand", 0.035),
    ("right_elbow", "right_hand", 0.035),
)
"""From a joint to a joint, radius in metres of an adult of 1.7 m: rather slim, for flesh gives way."""
_LIMBS = ("left_elbow", "right_elbow", "left_knee", "right_knee", "left_hip", "right_hip")
"""Where forearms, shanks and thighs begin, which are what gets into other parts."""
_THIGHS = {("left_hip", "left_knee"), ("right_hip", "right_knee")}
"""Which may press on the trunk, as knees that are pulled to the chest do; they are tested against each other."""
_POINTS = (0.35, 0.7, 1.0)
"""Where on a limb points are tested, as shares of its length."""
_HEAD_TOP = 0.13
"""Metres along the neck's line beyond the joint of the head to the middle of the skull's top."""


@dataclass(frozen=True, kw_only=True)
class _Tests:
    """The capsules by their ends, and which of them are tested against which."""

    starts: Tensor
    ends: Tensor
    radii: Tensor
    limbs: list[int]
    """Which capsules are limbs."""
    apart: Tensor
    """(6, 12) boolean: the limb is tested against the capsule, for they do not hang together."""


def depth_of_contact(rotations: Tensor, joints: Tensor | None = None) -> Tensor:
    """How deep (...) forearms, shanks and thighs are in other parts of the body at most, metres; negative: gaps.

    Args:
        rotations: (..., 23, 3, 3) of the joints after the root.
        joints: (24, 3) metres in the rest pose; None: of an average person.
    """
    root = torch.eye(3).to(rotations).expand(*rotations.shape[:-3], 1, 3, 3)
    rest = (average_joints() if joints is None else joints).to(rotations)
    places = joints_of(torch.cat((root, rotations), -3), rest)
    head, neck = SMPL_TREE.joints.index("head"), SMPL_TREE.joints.index("neck")
    up = torch.nn.functional.normalize(places[..., head, :] - places[..., neck, :], dim=-1)
    places = torch.cat((places, (places[..., head, :] + _HEAD_TOP * up)[..., None, :]), -2)
    tests = _tests()
    starts, ends = places[..., tests.starts, :], places[..., tests.ends, :]
    radii = tests.radii.to(rotations)
    along = rotations.new_tensor(_POINTS)[:, None]
    chosen = tests.limbs
    points = starts[..., chosen, None, :] + along * (ends - starts)[..., chosen, None, :]
    span = ends - starts
    from_start = points[..., :, :, None, :] - starts[..., None, None, :, :]
    share = (from_start * span[..., None, None, :, :]).sum(-1) / span.square().sum(-1)[..., None, None, :]
    nearest = share.clamp(0, 1)[..., None] * span[..., None, None, :, :]
    distance = (from_start - nearest).square().sum(-1).clamp_min(1e-12).sqrt()
    depth = radii[chosen][:, None, None] + radii - distance
    return torch.where(tests.apart.to(depth.device)[:, None, :], depth, -1.0).amax((-1, -2, -3))


@cache
def _tests() -> _Tests:
    names = (*SMPL_TREE.joints, "head_top")
    ends = [(start, end) for start, end, _ in _CAPSULES]
    limbs = [place for place, (start, end) in enumerate(ends) if start in _LIMBS and "collar" not in end]
    apart = [[_apart(ends[limb], other) for other in ends] for limb in limbs]
    return _Tests(
        starts=torch.tensor([names.index(start) for start, _ in ends]),
        ends=torch.tensor([names.index(end) for _, end in ends]),
        radii=torch.tensor([radius for *_, radius in _CAPSULES], dtype=torch.float64),
        limbs=limbs,
        apart=torch.tensor(apart),
    )


def _apart(limb: tuple[str, str], other: tuple[str, str]) -> bool:
    if limb in _THIGHS:
        return {limb, other} == _THIGHS
    return not set(limb) & set(other)

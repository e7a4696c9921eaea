"""The 24 joints of SMPL as a tree, the rest pose of an average person on it, and its mirror image.

Order and tree are those of Loper et al., "SMPL: A skinned multi-person linear model", ACM Trans. Graphics 34, 2015. The
rest pose is a T: y up, looking along z, the left side at +x.
"""

from __future__ import annotations

from torch import Tensor

from marey.body.skinning import forward_kinematics
from marey.body.trees import STATURE, BodyTree, body_tree
from marey.core import ShapeError, skeleton
from marey.core.motion import JointTree

_AVERAGE: BodyTree = body_tree(skeleton("smpl_24"))


def _smpl_tree() -> JointTree:
    joints = skeleton("smpl_24").joints
    above = dict(zip(_AVERAGE.tree.joints, _AVERAGE.tree.parents, strict=True))
    parents = tuple(-1 if above[joint] < 0 else joints.index(_AVERAGE.tree.joints[above[joint]]) for joint in joints)
    return JointTree("smpl_24", joints, parents)


SMPL_TREE = _smpl_tree()
"""Joints and parents in SMPL's order."""
SMPL_MIRROR = skeleton("smpl_24").mirror
"""For each joint its counterpart on the other side, itself in the middle."""
POSED_JOINTS = SMPL_TREE.joints[1:]
"""The 23 joints after the root: those of `BodyState.pose`, in its order."""


def average_joints(stature: float = STATURE) -> Tensor:
    """(24, 3) metres, double precision: the joints of an average person in the rest pose, the pelvis at the origin."""
    places = [_AVERAGE.tree.joints.index(joint) for joint in SMPL_TREE.joints]
    return stature * _AVERAGE.rest[places]


def mirrored_pose(pose: Tensor) -> Tensor:
    """The rotations of the mirror image: left and right swapped exactly, in the plane x = 0 of the rest pose.

    Args:
        pose: (..., 23, 3, 3) of the joints after the root, or (..., 24, 3, 3) with the root.

    Raises:
        ShapeError: another number of joints.
    """
    joints = pose.shape[-3] if pose.ndim >= 3 else 0
    if joints not in (23, 24) or pose.shape[-2:] != (3, 3):
        raise ShapeError(f"pose: expected (..., 23, 3, 3) or (..., 24, 3, 3) with the root, got {tuple(pose.shape)}")
    order = [place - (24 - joints) for place in SMPL_MIRROR[24 - joints :]]
    flip = pose.new_tensor((-1.0, 1.0, 1.0))
    return pose[..., order, :, :] * (flip[:, None] * flip)


def joints_of(rotations: Tensor, joints: Tensor) -> Tensor:
    """Where the joints of poses are, by forward kinematics.

    Args:
        rotations: (..., 24, 3, 3) relative to the parent, of the root relative to the world.
        joints: (..., 24, 3) metres, in the rest pose.

    Returns:
        (..., 24, 3) metres in the world's axes, the pelvis at the origin; differentiable.
    """
    rest = (joints - joints[..., :1, :]).to(rotations).expand(rotations.shape[:-1])
    posed = forward_kinematics(SMPL_TREE, rest.reshape(-1, 24, 3), rotations.reshape(-1, 24, 3, 3))
    return posed[..., 3].reshape(rest.shape)

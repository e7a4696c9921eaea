"""Limbs whose rest pose is twisted otherwise than SMPL's: hinges that are found in the motion, forearms that turn.

A rest pose tells how bones point but not how they are twisted about themselves. Where an elbow or a knee only bends,
its motion tells it: the axis about which it bends lies across the body in people who stand with hanging arms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.body.joint_limits import joint_limits
from marey.body.smpl_tree import POSED_JOINTS, SMPL_TREE
from marey.geometry.rotations import matrix_to_quaternion, matrix_to_rotvec, rotation_between, rotvec_to_matrix

_HINGES = (("shoulder", "elbow"), ("hip", "knee"))
"""The bone above a hinge and the one below it."""
_LEAST_BEND = 0.15
"""Radians, mean over the frames, from which on a hinge's axis is known."""
_PLAY = 0.06
"""Of a hinge, radians: root of the mean square of what is not about its axis."""


def with_anatomical_limbs(orientations: Tensor) -> Tensor:
    """Twist limbs so that elbows and knees that are hinges bend about SMPL's axes, and let forearms turn with hands.

    Limbs are twisted by one angle over the whole motion; where joints stand does not change. Hinges whose axis is not
    seen, since they bend hardly or turn otherwise too, are left as they are. A forearm that never turns about itself
    gets half of the turn of the hand, as its skin has.

    Args:
        orientations: (T, 24, 3, 3) of SMPL's joints in the world.
    """
    result = orientations.clone()
    limits = joint_limits().to(orientations)
    for side in ("left", "right"):
        for parts in _HINGES:
            upper, lower = (SMPL_TREE.joints.index(f"{side}_{part}") for part in parts)
            axis = limits.basis[POSED_JOINTS.index(f"{side}_{parts[1]}"), :, 0]
            bone = limits.basis[POSED_JOINTS.index(f"{side}_{parts[0]}"), :, 0]
            twist = _twist_to(axis, bone, matrix_to_rotvec(result[:, upper].mT @ result[:, lower]))
            result[:, [upper, lower]] = result[:, [upper, lower]] @ twist
        arm = [SMPL_TREE.joints.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist")]
        result[:, arm[1]] = _with_forearm(*result[:, arm].unbind(1))
    return result


def _twist_to(axis: Tensor, bone: Tensor, bends: Tensor) -> Tensor:
    """The twist (3, 3) about a bone that takes a hinge's axis to the one about which it bends, (T, 3) radians."""
    middle = bends.mean(0)
    across = middle - (middle @ bone) * bone
    found = torch.nn.functional.normalize(across, dim=0)
    play = (bends - (bends @ found)[:, None] * found).square().sum(-1).mean().sqrt()
    if not (across.norm() > _LEAST_BEND and play < _PLAY):
        return torch.eye(3).to(axis)
    return rotation_between(axis, found)


def _with_forearm(shoulder: Tensor, elbow: Tensor, wrist: Tensor) -> Tensor:
    """Orientations (T, 3, 3) of the elbow with half of the twist of the hand, if the forearm never has any itself."""
    if len(elbow) and float(_twist(shoulder.mT @ elbow).abs().amax()) > _PLAY:
        return elbow
    half = _twist(elbow.mT @ wrist) / 2
    return elbow @ rotvec_to_matrix(torch.stack((half, 0 * half, 0 * half), -1))


def _twist(rotation: Tensor) -> Tensor:
    """The angle (T,) about x, the bone of an arm, of rotations that first turn about it and then bend it."""
    quaternion = matrix_to_quaternion(rotation)
    turn = 2 * torch.atan2(quaternion[..., 0], quaternion[..., 3])
    return torch.remainder(turn + torch.pi, 2 * torch.pi) - torch.pi

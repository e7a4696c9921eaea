"""Forward kinematics of many poses at once, and how positions follow rotations and bones.

A pose is a row of parameters: the place of the root (3), then a quaternion x y z w for each of the A joints that turn.
Its step is (3 + 3 A): what is added to the place, and a rotation vector for each joint in the joint's own frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from marey.core.motion import JointTree
from marey.geometry.rotations import quaternion_to_matrix, rotvec_to_quaternion


@dataclass(frozen=True, kw_only=True)
class Posed:
    """Where the joints of B poses are."""

    positions: Tensor
    """(B, K, 3)"""
    orientations: Tensor
    """(B, K, 3, 3) in the world."""


@dataclass(frozen=True)
class Chain:
    """A tree with the tables that its kinematics need."""

    tree: JointTree

    @cached_property
    def moving(self) -> Tensor:
        """(A,) places of the joints that turn."""
        return torch.tensor([place for place, children in enumerate(self.tree.children) if children] or [0])

    @cached_property
    def carries(self) -> Tensor:
        """(K, K) boolean: joint k (second) is joint m (first) or one of those it hangs on."""
        table = torch.eye(len(self.tree), dtype=torch.bool)
        for place, parent in enumerate(self.tree.parents):
            if parent >= 0:
                table[place] |= table[parent]
        return table

    def pose(self, parameters: Tensor, offsets: Tensor) -> Posed:
        """Joints of poses (B, 3 + 4 A) with bones (B, K, 3)."""
        place, quaternions = split(parameters)
        local = torch.eye(3, dtype=place.dtype, device=place.device).repeat(len(place), len(self.tree), 1, 1)
        local[:, self.moving] = quaternion_to_matrix(quaternions)
        positions = torch.empty_like(offsets)
        positions[:, 0] = place
        for level in self.tree.levels[1:]:
            places = list(level)
            parents = [self.tree.parents[joint] for joint in places]
            above = local[:, parents]
            positions[:, places] = positions[:, parents] + (above @ offsets[:, places, :, None])[..., 0]
            local[:, places] = above @ local[:, places]
        return Posed(positions=positions, orientations=local)

    def by_step(self, posed: Posed, joints: Tensor) -> Tensor:
        """How joints (M,) follow a step: (B, M, 3, 3 + 3 A)."""
        origins = posed.positions[:, self.moving]
        axes = posed.orientations[:, self.moving].mT  # rows: the axes of each joint in the world
        lever = posed.positions[:, joints, None] - origins[:, None]
        moves = self.carries[joints[:, None], self.moving] & (joints[:, None] != self.moving)
        lever = torch.where(moves[..., None], lever, 0.0)
        result = lever.new_empty(*lever.shape[:2], 3, 3 + 3 * len(self.moving))
        result[..., :3] = torch.eye(3)
        for row, (u, v) in enumerate(((1, 2), (2, 0), (0, 1))):  # of the cross product of axis and lever
            turned = axes[:, None, ..., u] * lever[..., v, None] - axes[:, None, ..., v] * lever[..., u, None]
            result[:, :, row, 3:] = turned.flatten(-2)
        return result

    def by_offsets(self, posed: Posed, joints: Tensor) -> Tensor:
        """How joints (M,) follow the bones: (B, M, 3, K, 3); the root's has no effect."""
        parents = torch.tensor([max(parent, 0) for parent in self.tree.parents])
        effect = self.carries[joints].clone()
        effect[:, 0] = False
        above = posed.orientations[:, None, parents] * effect[..., None, None]
        return above.transpose(2, 3)


def split(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """The place (..., 3) and the quaternions (..., A, 4) of poses."""
    return parameters[..., :3], parameters[..., 3:].reshape(*parameters.shape[:-1], parameters.shape[-1] // 4, 4)


def moved(parameters: Tensor, step: Tensor) -> Tensor:
    """Poses after a step."""
    place, quaternions = split(parameters)
    turn = rotvec_to_quaternion(step[..., 3:].reshape(*step.shape[:-1], step.shape[-1] // 3 - 1, 3))
    turned = torch.nn.functional.normalize(_product(quaternions, turn), dim=-1)
    return torch.cat((place + step[..., :3], turned.flatten(-2)), -1)


def _product(first: Tensor, second: Tensor) -> Tensor:
    v1, w1, v2, w2 = first[..., :3], first[..., 3:], second[..., :3], second[..., 3:]
    vector = w1 * v2 + w2 * v1 + torch.linalg.cross(v1, v2)
    return torch.cat((vector, w1 * w2 - (v1 * v2).sum(-1, keepdim=True)), -1)

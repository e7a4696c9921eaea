"""Any motion as rotations of SMPL's 24 joints: other names, other rest poses, other numbers of vertebrae.

A file's rest pose may have hanging arms, spread legs or other axes; only how bones are oriented in the world can be
carried over. Of each limb the turn is known that takes it from the T-pose to the file's rest pose; its orientation in
the world is the file's after that turn, and rotations follow from orientations. Feet, collars and the trunk are taken
to be in both rest poses alike. Spines and necks of other numbers of joints are sampled at equal shares. The pelvis
moves as much more or less as the legs are longer or shorter, which keeps feet in place that stand.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from marey.body.ground import clearances
from marey.body.joint_names import JointNames, find_joint_names
from marey.body.limb_axes import with_anatomical_limbs
from marey.body.smpl_tree import SMPL_TREE, average_joints, joints_of
from marey.core import InputError, ShapeError
from marey.core.motion import Motion
from marey.core.results import BodyState
from marey.geometry.rotations import matrix_to_rotvec, rotation_between, rotvec_to_matrix

_AIMED = {
    "hip": "knee",
    "knee": "ankle",
    "shoulder": "elbow",
    "elbow": "wrist",
}
"""Joints that are turned so that the bone to another points as in the file."""
_AS_ABOVE = {"wrist": "elbow", "hand": "elbow"}
"""Joints that are turned as another is, for their own bones are short or not in the file."""
_BELOW = 0.02
"""Share of the frames that may be below the ground, by noise or since something sinks in."""
_BODY = 22
"""Joints of SMPL without its hands: a tree that has them all means them as they are."""
_TILTED = 0.6
"""Of the cosine between the trunk and the nearest axis: a rest pose that stands less upright is none."""
_ALONG = 0.85
"""Of the cosine between the hips' line and the nearest axis, from which on that axis is meant."""


def retarget(motion: Motion, *, joints: Tensor | None = None, ground: bool = True) -> BodyState:
    """Carry a motion over to SMPL's tree.

    Joints are found by their names (`marey.body.joint_names`). The rest pose may be any in which a person stands, with
    any axis up and looking anywhere; its up becomes y, and where it looks z. Elbows and knees that are hinges bend
    about SMPL's axes, and forearms turn half as much as hands (`marey.body.limb_axes`); a file with all of SMPL's
    joints is taken as it is.

    Args:
        motion: (T,) frames of any tree with hips, knees, shoulders and elbows.
        joints: (24, 3) metres, the rest pose of who is to move; None: an average person.
        ground: Shift the whole motion upwards or downwards so that what is lowest stands on y = 0.

    Returns:
        (T,) rotations relative to the parents, T-pose convention, y up; NaN in frames that are unknown. The shape is
        empty. The translation moves the body whose rest pose `joints` is.

    Raises:
        InputError: the motion has not the joints of a person, or its rest pose does not stand.
        ShapeError: `joints` is not (24, 3).
    """
    rest = average_joints() if joints is None else joints
    if rest.shape != (len(SMPL_TREE), 3):
        raise ShapeError(f"joints: expected ({len(SMPL_TREE)}, 3) metres in the rest pose, got {tuple(rest.shape)}")
    rest, known = rest.to(motion.rotations), motion.known
    names = find_joint_names(motion.tree)
    source = _places_at_rest(motion)
    axes = _axes(motion, names, source)
    world = axes.mT @ _orientations(motion, known) @ axes
    turned = _wanted(world, names, source @ axes, rest)
    if not set(SMPL_TREE.joints[:_BODY]) <= set(motion.tree.joints):
        turned = with_anatomical_limbs(turned)
    parents = list(SMPL_TREE.parents[1:])
    rotations = torch.cat((turned[:, :1], turned[:, parents].mT @ turned[:, 1:]), 1)
    translation = _translation(motion, names, rotations[:, 0], rest=rest, axes=axes)
    if ground and known.any():
        translation = translation - _lowest(rotations[known], translation[known], rest)
    unknown = ~known[:, None, None]
    return BodyState(
        orientation=rotations[:, 0].masked_fill(unknown, torch.nan),
        pose=rotations[:, 1:].masked_fill(unknown[..., None], torch.nan),
        shape=rotations.new_zeros(motion.length, 0),
        translation=translation.masked_fill(unknown[..., 0], torch.nan),
    )


def _places_at_rest(motion: Motion) -> Tensor:
    """(K, 3) metres, in the file's axes."""
    identity = torch.eye(3).to(motion.rotations).expand(1, len(motion.tree), 3, 3)
    still = Motion(
        tree=motion.tree,
        offsets=motion.offsets,
        rotations=identity,
        translation=motion.translation.new_zeros(1, 3),
        fps=1.0,
    )
    return still.positions()[0]


def _axes(motion: Motion, names: JointNames, places: Tensor) -> Tensor:
    """(3, 3) with the axes left, up and ahead of the rest pose in its columns, along the file's axes."""
    at = names.limbs
    hips = (places[at["left_hip"]] + places[at["right_hip"]]) / 2
    arms = (places[at["left_shoulder"]] + places[at["right_shoulder"]]) / 2
    up = _nearest_axis(arms - hips)
    trunk = torch.nn.functional.normalize(arms - hips, dim=0)
    left = places[at["left_hip"]] - places[at["right_hip"]]
    left = torch.nn.functional.normalize(left - (left @ up) * up, dim=0)
    if not trunk @ up > _TILTED or not left.norm() > 0.5:
        raise InputError(
            f"motion {motion.name or motion.tree.name}: its rest pose (all rotations zero) does not stand; export it "
            f"with a T-pose as the rest pose"
        )
    snapped = _nearest_axis(left)
    left = snapped if snapped @ left > _ALONG else left
    return torch.stack((left, up, torch.linalg.cross(left, up)), -1)


def _nearest_axis(vector: Tensor) -> Tensor:
    place = int(vector.abs().argmax())
    return torch.nn.functional.one_hot(torch.tensor(place), 3).to(vector) * vector[place].sign()


def _orientations(motion: Motion, known: Tensor) -> Tensor:
    """(T, K, 3, 3) of the joints in the file's world; the identity where nothing is known."""
    identity = torch.eye(3).to(motion.rotations)
    local = torch.where(known[:, None, None, None], motion.rotations, identity)
    turned, order = local[:, :1], [0]
    for level in motion.tree.levels[1:]:
        above = [order.index(motion.tree.parents[place]) for place in level]
        turned = torch.cat((turned, turned[:, above] @ local[:, list(level)]), 1)
        order += level
    return turned[:, torch.tensor(order).argsort()]


def _wanted(world: Tensor, names: JointNames, source: Tensor, rest: Tensor) -> Tensor:
    """(T, 24, 3, 3) orientations of SMPL's joints in the world, of those (T, K, 3, 3) of the file's."""
    aims = _turns(names, source, rest)
    chest = names.spine[-1] if names.spine else names.limbs["pelvis"]
    places = names.limbs | {"spine3": chest, "head": names.neck[-1] if names.neck else chest}
    at, turns = [names.limbs["pelvis"]], [torch.eye(3).to(world)]
    for joint, parent in zip(SMPL_TREE.joints[1:], SMPL_TREE.parents[1:], strict=True):
        there = joint in places  # what the file lacks is oriented as what it hangs on
        at.append(places[joint] if there else at[parent])
        turns.append(aims.get(joint, turns[0]) if there else turns[parent])
    wanted = world[:, at] @ torch.stack(turns)
    for begin, chain, shares in (
        ("pelvis", names.spine, {"spine1": 1 / 3, "spine2": 2 / 3}),
        ("spine3", names.neck, {"neck": 0.5}),
    ):
        between = _along(wanted[:, _place(begin)], world[:, list(chain)], tuple(shares.values()))
        wanted[:, [_place(joint) for joint in shares]] = between
    return wanted


def _along(start: Tensor, chain: Tensor, shares: tuple[float, ...]) -> Tensor:
    """(T, S, 3, 3) orientations at shares of a chain of joints (T, N, 3, 3) that hangs on one (T, 3, 3)."""
    count = chain.shape[1]
    if not count:
        return start[:, None].expand(-1, len(shares), 3, 3)
    knots = torch.cat((start[:, None], chain), 1)
    at = torch.tensor(shares, dtype=torch.float64) * count
    before = (at + 1e-9).floor().long().clamp_max(count - 1)
    share = (at - before).to(start)[:, None]
    steps = matrix_to_rotvec(knots[:, before].mT @ knots[:, before + 1])
    return knots[:, before] @ rotvec_to_matrix(share * steps)


def _turns(names: JointNames, source: Tensor, rest: Tensor) -> dict[str, Tensor]:
    """For limbs the rotation (3, 3) from SMPL's rest pose to the file's."""
    turns: dict[str, Tensor] = {}
    for side in ("left", "right"):
        for part, towards in _AIMED.items():
            joint, end = f"{side}_{part}", f"{side}_{towards}"
            if end in names.limbs:
                bone = rest[_place(end)] - rest[_place(joint)]
                theirs = source[names.limbs[end]] - source[names.limbs[joint]]
                turns[joint] = rotation_between(
                    *(torch.nn.functional.normalize(span, dim=0) for span in (bone, theirs))
                )
        for part, other in _AS_ABOVE.items():
            if f"{side}_{other}" in turns:
                turns[f"{side}_{part}"] = turns[f"{side}_{other}"]
    return turns


def _translation(motion: Motion, names: JointNames, pelvis: Tensor, *, rest: Tensor, axes: Tensor) -> Tensor:
    """(T, 3) that brings the middle of the hips where the file has it, by the measure of the legs."""
    theirs = {joint: _places_at_rest(motion)[place] for joint, place in names.limbs.items()}
    ours = {joint: rest[_place(joint)] for joint in names.limbs}
    ratio = _leg(ours) / _leg(theirs)
    if not ratio.isfinite():
        raise InputError(f"motion {motion.name or motion.tree.name}: its legs have no length")
    places = motion.positions()
    hips = (places[:, names.limbs["left_hip"]] + places[:, names.limbs["right_hip"]]) / 2
    middle = (ours["left_hip"] + ours["right_hip"]) / 2 - rest[0]
    return ratio * (hips @ axes) - pelvis @ middle - rest[0]


def _leg(places: dict[str, Tensor]) -> Tensor:
    """Metres: the mean length of the legs, without feet."""
    ends = ("hip", "knee", "ankle") if {"left_ankle", "right_ankle"} <= places.keys() else ("hip", "knee")
    bones = [(side, *pair) for side in ("left", "right") for pair in pairwise(ends)]
    return sum(((places[f"{side}_{a}"] - places[f"{side}_{b}"]).norm() for side, a, b in bones), torch.zeros(())) / 2


def _place(joint: str) -> int:
    return SMPL_TREE.joints.index(joint)


def _lowest(rotations: Tensor, translation: Tensor, rest: Tensor) -> Tensor:
    """(3,) how far the ground under a motion is above y = 0."""
    lowest = clearances(joints_of(rotations, rest)).amin(-1) + (translation + rest[0])[:, 1]
    height = lowest.sort().values[int(_BELOW * (len(lowest) - 1))]
    return torch.stack((0 * height, height, 0 * height))

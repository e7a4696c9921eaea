"""What all pictures share: colours, the upright turn of the world, names of limbs, sizes of confidence regions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from marey.core import InputError, Skeleton

PEOPLE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f")
"""One a person, repeated when there are more; distinct with every common colour blindness (Okabe and Ito, 2008)."""

SIGMAS_90 = 1.6448536
"""Half width in standard deviations of the interval that holds 90 % of a normal variable."""
SIGMAS_90_PLANE = 2.1459660
"""Radius in standard deviations of the ellipse that holds 90 % of a two-dimensional normal variable."""
SIGMAS_90_SPACE = 2.5002777
"""Radius in standard deviations of the ellipsoid that holds 90 % of a three-dimensional normal variable."""

_UPRIGHT = {
    "x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "y": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
}

_LIMBS = {
    ("shoulder", "elbow"): "upper arm",
    ("elbow", "wrist"): "forearm",
    ("hip", "knee"): "thigh",
    ("knee", "ankle"): "shank",
}


def upright_turn(up: str) -> npt.NDArray[np.float64]:
    """The rotation (3, 3) that turns a world whose axis `up` (x, y, z, -x, -y or -z) points up into one with z up.

    Raises:
        InputError: there is no such axis.
    """
    if up not in _UPRIGHT:
        raise InputError(f"up axis: expected one of {', '.join(_UPRIGHT)}, got '{up}'; set provenance['world_up']")
    return np.array(_UPRIGHT[up], dtype=np.float64)


def person_color(person: int) -> tuple[int, int, int]:
    """Red, green, blue in 0..255."""
    text = PEOPLE_COLORS[person % len(PEOPLE_COLORS)]
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def joint_label(joint: str) -> str:
    """A joint's name for people."""
    return joint.replace("_", " ")


def side_of(joint: str) -> str:
    """`left`, `right` or nothing."""
    side = joint.partition("_")[0]
    return side if side in ("left", "right") else ""


def link_name(skeleton: Skeleton, link: tuple[int, int]) -> str:
    """A link's name without its side: `thigh`, `neck - nose`."""
    ends = [skeleton.joints[end] for end in link]
    bare = tuple(end.removeprefix("left_").removeprefix("right_") for end in ends)
    sides = {side_of(end) for end in ends}
    if len(sides) == 1:  # both ends on one side, or both in the middle
        return _LIMBS.get((bare[0], bare[1]), f"{joint_label(bare[0])} \u2013 {joint_label(bare[1])}")
    if bare[0] == bare[1]:
        return f"{joint_label(bare[0])}s apart"
    return f"{joint_label(bare[0])} \u2013 {joint_label(bare[1])}"


def is_limb(name: str) -> bool:
    """Whether a link's name is that of one of the four limbs that every table shows first."""
    return name in _LIMBS.values()

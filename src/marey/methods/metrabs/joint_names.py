"""Names of joints and skeletons of the published networks in the words of the house.

Published names are four letters, as `lkne`, in networks of several conventions with the convention's name after them:
`lkne_h36m`, `leyecoco`. Which joint a word means depends on the convention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from marey.core import Skeleton, skeleton, skeleton_names

_MIDDLE = {
    "pelv": "pelvis",
    "spin": "spine",
    "tors": "spine",
    "bell": "spine1",
    "thor": "spine3",
    "neck": "neck",
    "head": "head",
    "htop": "head_top",
    "nose": "nose",
    **{f"spi{number}": f"spine{number}" for number in (1, 2, 3, 4)},
}
_PAIRED = {
    "hip": "hip",
    "kne": "knee",
    "ank": "ankle",
    "foo": "foot",
    "toe": "big_toe",
    "cla": "collar",
    "sho": "shoulder",
    "elb": "elbow",
    "wri": "wrist",
    "han": "hand",
    "thu": "thumb",
    "fin": "hand",
    "eye": "eye",
    "ear": "ear",
}
_PARTICULAR: Mapping[str, Mapping[str, str]] = {
    "smpl": {"spin": "spine2", "toe": "foot"},
    "mpi_inf_3dhp": {"spin": "spine1", "tors": "spine1"},
}
"""What words mean in the conventions whose names begin so."""
_SUFFIX = re.compile(r"_[a-z0-9_]+|coco")
_ALIASES = {"coco_19": "panoptic_19"}
"""Published names of skeletons that have another one here."""


class NamedJoints(NamedTuple):
    """The joints of a convention among those that a network gives."""

    skeleton: Skeleton
    indices: tuple[int, ...]
    """For each joint of the skeleton its place in the network's output."""


def house_names(names: Sequence[str], convention: str = "") -> tuple[str, ...]:
    """Published names in the spelling of the house; as they are if they then were the same, or one is not known.

    >>> house_names(["pelv", "lkne", "spin"], "smpl_24")
    ('pelvis', 'left_knee', 'spine2')
    """
    words = next((words for begin, words in _PARTICULAR.items() if convention.startswith(begin)), {})
    ours = [_house_name(_SUFFIX.sub("", name), words) for name in names]
    known = [name for name in ours if name is not None]
    return tuple(known) if len(set(known)) == len(names) else tuple(names)


def published_skeleton(name: str, names: Sequence[str], edges: Sequence[Sequence[int]]) -> Skeleton:
    """The skeleton of the house if these are its joints in its order; else one with the links of the publication."""
    ours = house_names(names, name)
    ours = ours if len(set(ours)) == len(ours) else tuple(f"{joint}_{place}" for place, joint in enumerate(ours))
    alias = _ALIASES.get(name, name)
    if alias in skeleton_names() and skeleton(alias).joints == ours:
        return skeleton(alias)
    links = {tuple(sorted(edge)): None for edge in edges}
    return Skeleton(name, ours, tuple((first, second) for first, second in links))


def mirror_of(joints: Skeleton) -> tuple[int, ...]:
    """For each joint the place of its counterpart; also where names are published ones, `lkne` and `rkne_h36m`."""
    found = joints.mirror
    if found != tuple(range(len(joints))):
        return found
    places = {joint: place for place, joint in enumerate(joints.joints)}
    other = {"l": "r", "r": "l"}
    return tuple(
        places.get(other.get(joint[:1], " ") + joint[1:], place) if joint[1:4] in _PAIRED else place
        for place, joint in enumerate(joints.joints)
    )


def _house_name(word: str, words: Mapping[str, str]) -> str | None:
    if word in words or word in _MIDDLE:
        return words.get(word) or _MIDDLE[word]
    side, part = {"l": "left", "r": "right"}.get(word[:1]), words.get(word[1:]) or _PAIRED.get(word[1:])
    return f"{side}_{part}" if side and part else None

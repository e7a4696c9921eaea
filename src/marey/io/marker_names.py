"""Markers and joints of files in the spelling of the house."""

from __future__ import annotations

import re
from collections.abc import Sequence

from marey.core.skeletons import Skeleton, skeleton, skeleton_names

_ALIASES = {"mid_hip": "pelvis", "c_hip": "pelvis", "hip": "pelvis", "head": "head_top"}
"""Names of markers, once in our spelling, that mean other joints than they say."""


def named_skeleton(names: Sequence[str]) -> Skeleton:
    """The shipped skeleton with these joints, or one without links; names such as RHip become right_hip."""
    ours = tuple(_our_name(name) for name in names)
    ours = ours if len(set(ours)) == len(ours) else tuple(names)
    for known in skeleton_names():
        if skeleton(known).joints == ours:
            return skeleton(known)
    return Skeleton("markers", ours, ())


def _our_name(name: str) -> str:
    """A marker's name in our spelling: RHip and R_HIP become right_hip."""
    if name == name.lower():
        return name
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[RL])(?=[A-Z][a-z])", "_", name.strip())
    words = re.sub(r"[\s_.:-]+", "_", words).lower()
    side, _, rest = words.partition("_")
    sides = {"r": "right", "l": "left", "right": "right", "left": "left"}
    return f"{sides[side]}_{rest}" if side in sides and rest else _ALIASES.get(words, words)

"""Which joint of a file is which of SMPL's, by the names that programs give them.

Known are the names of Marey and SMPL, of Carnegie Mellon University's ASF and BVH files, of Mixamo and MotionBuilder,
of Biped, Unreal and Xsens, and of the DeepMimic humanoid. Spine and neck are known by where they are in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from marey.core import InputError
from marey.core.motion import JointTree
from marey.io.naming import listed

_HIP = ("hip", "femur", "upleg", "upperleg", "thigh")
_KNEE = ("knee", "tibia", "leg", "lowleg", "lowerleg", "shin", "calf", "shank")
_TOES = ("toe", "toes", "toebase", "ball", "toe0", "bigtoe")
_SHOULDER = ("humerus", "arm", "uparm", "upperarm")
_ELBOW = ("elbow", "radius", "forearm", "lowarm", "lowerarm")
_COLLAR = ("collar", "clavicle", "clavicula")
_FINGERS = ("fingers", "handmiddle1", "middle1", "middle01", "handindex1", "index1", "index", "finger0")
_EITHER = ("foot", "ankle", "shoulder", "shldr", "hand", "wrist", "fingerbase")
_VOCABULARY = {*_HIP, *_KNEE, *_TOES, *_SHOULDER, *_ELBOW, *_COLLAR, *_FINGERS, *_EITHER}
_RIG = re.compile(r"^(bip\d*|character\d*|mixamorig\d*|rig|def)[ _.:-]+(?=\w)", re.IGNORECASE)
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SIDES = {"left": "left", "right": "right", "l": "left", "r": "right"}
_NEEDED = ("hip", "knee", "shoulder", "elbow")


@dataclass(frozen=True, kw_only=True)
class JointNames:
    """Places in a file's tree."""

    limbs: dict[str, int]
    """Of the joints of SMPL that the file has, but for spine, neck and head."""
    spine: tuple[int, ...]
    """From above the pelvis to the joint that carries the arms; empty where the pelvis does."""
    neck: tuple[int, ...]
    """From above the spine to the head; empty where the file has no head."""


def find_joint_names(tree: JointTree) -> JointNames:
    """Find SMPL's joints in a tree.

    Raises:
        InputError: hips, knees, shoulders or elbows are not there.
    """
    keys = [_key(name) for name in tree.joints]
    limbs: dict[str, int] = {}
    for side in ("left", "right"):
        words = {word: place for place, (of, word) in reversed(list(enumerate(keys))) if of == side}
        limbs |= {f"{side}_{part}": place for part, place in _limbs(words).items()}
    missing = [f"{side}_{part}" for part in _NEEDED for side in ("left", "right") if f"{side}_{part}" not in limbs]
    if missing:
        raise InputError(
            f"tree {tree.name}: no {', '.join(missing)} among {listed(tree.joints)}; name the joints as SMPL, Mixamo "
            f"or the files of Carnegie Mellon University do"
        )
    pelvis = _shared(tree, limbs["left_hip"], limbs["right_hip"])
    chest = _shared(tree, limbs["left_shoulder"], limbs["right_shoulder"])
    middle = {word: place for place, (side, word) in reversed(list(enumerate(keys))) if not side}
    head = next((middle[word] for word in ("head", "neck", "neck1") if word in middle), chest)
    return JointNames(
        limbs=limbs | {"pelvis": pelvis},
        spine=_between(tree, pelvis, chest),
        neck=_between(tree, chest, head),
    )


def _limbs(words: dict[str, int]) -> dict[str, int]:
    """The joints of one side, by their names without the side."""
    found: dict[str, int] = {}

    def take(part: str, *names: str) -> None:
        place = next((words[name] for name in names if name in words and words[name] not in found.values()), None)
        if place is not None and part not in found:
            found[part] = place

    take("hip", *_HIP)
    take("knee", *_KNEE)
    take("ankle", "ankle", "foot")
    take("foot", *_TOES, "foot")
    take("elbow", *_ELBOW)
    take("shoulder", *_SHOULDER, "shoulder", "shldr")
    take("collar", *_COLLAR, "shoulder", "shldr")
    # in the files of Carnegie Mellon University the forearm is two bones, of which the second, `wrist`, has the twist
    take("wrist", *(("fingerbase", "hand") if "radius" in words else ("fingerbase", "wrist", "hand")))
    take("hand", *(("fingers",) if "radius" in words or "fingerbase" in words else ("hand", *_FINGERS)))
    return found


def _key(name: str) -> tuple[str, str]:
    """The side, empty for the middle, and the rest in lower case: ("left", "upleg") of mixamorig:LeftUpLeg."""
    words = [word.lower() for word in _WORDS.findall(_RIG.sub("", name.rsplit(":", 1)[-1]))]
    sides = [word for word in words if word in _SIDES]
    if sides:
        words.remove(sides[0])
        return _SIDES[sides[0]], "".join(words)
    whole = "".join(words)
    if whole[:1] in _SIDES and whole[1:] in _VOCABULARY:
        return _SIDES[whole[0]], whole[1:]
    for side in ("left", "right"):
        if whole.startswith(side):
            return side, whole.removeprefix(side)
    return "", whole


def _upwards(tree: JointTree, place: int) -> list[int]:
    """A joint and all that it hangs on, to the root."""
    path = [place]
    while tree.parents[path[-1]] >= 0:
        path.append(tree.parents[path[-1]])
    return path


def _shared(tree: JointTree, first: int, second: int) -> int:
    """The last joint that two hang on."""
    others = set(_upwards(tree, second)[1:])
    return next((place for place in _upwards(tree, first)[1:] if place in others), 0)


def _between(tree: JointTree, inner: int, outer: int) -> tuple[int, ...]:
    """The joints from after `inner` to `outer`; none where the one does not hang on the other."""
    path: Sequence[int] = _upwards(tree, outer)
    return tuple(reversed(path[: path.index(inner)])) if inner in path else ()

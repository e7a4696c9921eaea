"""What the files of motion share: a unit that is not stated, names that may repeat, bones meant to be of one length."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.motion import JointTree, Motion
from marey.io.naming import listed
from marey.io.units import METRES

_PERSON = (0.5, 2.6)
"""Metres from end to end of a skeleton that is plausibly a person's, from a child's to a giant's with raised arms."""
_STEADY = 0.001
"""Metres by which the place of a joint in its parent's frame may change before it is told."""

_MOST_HOLDERS = 4
"""Nodes above the joint that moves, which files put there to hold a scene or an axis system."""


def plausible_unit(path: str | os.PathLike[str], places: npt.NDArray[np.float64], *, custom: str) -> float:
    """The metres in the unit of a file that does not say: that of m, cm, mm in which its skeleton is a person.

    Args:
        path: The file, for the warning where no unit fits.
        places: (K, 3) joints of the rest pose, in the file's unit.
        custom: The unit to take where none fits: the usual one of the format.
    """
    extent = float(np.ptp(places, axis=0).max()) if len(places) else 0.0
    for unit in ("m", "cm", "mm"):
        if _PERSON[0] <= extent * METRES[unit] <= _PERSON[1]:
            return METRES[unit]
    warnings.warn(
        f"{path}: does not state its unit, and its skeleton of {extent:.4g} units is no person's in m, cm or mm; read "
        f"as {custom}; pass unit= with a name or with the metres in one unit",
        stacklevel=3,
    )
    return METRES[custom]


def unique_names(path: str | os.PathLike[str], names: Sequence[str]) -> tuple[str, ...]:
    """Number names that repeat (`Site`, `Site_2`, ...), with a warning that lists them."""
    taken = set(names)
    seen: set[str] = set()
    counts: dict[str, int] = {}
    unique: list[str] = []
    for name in names:
        new = name
        while new in seen or (new != name and new in taken):
            counts[name] = counts.get(name, 1) + 1
            new = f"{name}_{counts[name]}"
        seen.add(new)
        unique.append(new)
    if counts:
        warnings.warn(f"{path}: names repeat and are numbered: {listed(list(counts))}", stacklevel=3)
    return tuple(unique)


@dataclass(frozen=True, kw_only=True)
class JointMotion:
    """What a file says of J joints over T frames, before it is known whether its bones are of constant length."""

    places: npt.NDArray[np.float64]
    """(T, J, 3) metres in the parent's frame, of the root in the world."""
    rotations: Tensor
    """(T, J, 3, 3) relative to the parent."""
    known: npt.NDArray[np.bool_]
    """(T,)"""

    def of(self, joints: Sequence[int]) -> JointMotion:
        """Only these joints, in this order."""
        at = list(joints)
        return replace(self, places=self.places[:, at], rotations=self.rotations[:, at])


def steady_motion(
    path: str | os.PathLike[str], tree: JointTree, moving: JointMotion, *, fps: float, dtype: torch.dtype
) -> Motion:
    """The motion with constant bones that a file means.

    A root whose one child moves in it, as the reference nodes of MotionBuilder do, is merged into that child. Other
    joints that move in their parents by more than a millimetre are told with a warning: they get their median place,
    and what hangs on them is somewhat elsewhere than in the file.
    """
    moving = replace(moving, places=np.where(moving.known[:, None, None], moving.places, np.nan))
    for _ in range(_MOST_HOLDERS):
        if tree.parents.count(0) != 1 or _wander(moving.places[:, 1:2])[0] <= _STEADY:
            break
        tree, moving = _without_root(tree, moving)
    offsets = np.zeros((len(tree), 3))
    if moving.known.any():
        offsets[1:] = np.nanmedian(moving.places[:, 1:], axis=0)
        _tell_wanderers(path, tree, moving)
    rotations = torch.where(torch.from_numpy(moving.known)[:, None, None, None], moving.rotations, math.nan)
    return Motion(
        tree=tree,
        offsets=torch.from_numpy(offsets).to(dtype),
        rotations=rotations.to(dtype),
        translation=torch.from_numpy(moving.places[:, 0]).to(dtype),
        fps=fps,
        name=tree.name,
    )


def _without_root(tree: JointTree, moving: JointMotion) -> tuple[JointTree, JointMotion]:
    places, rotations = moving.places[:, 1:].copy(), moving.rotations[:, 1:].clone()
    outer = moving.rotations[:, 0]
    places[:, 0] = moving.places[:, 0] + np.einsum("tij,tj->ti", outer.numpy(), moving.places[:, 1])
    rotations[:, 0] = outer @ moving.rotations[:, 1]
    shorter = JointTree(tree.name, tree.joints[1:], tuple(parent - 1 for parent in tree.parents[1:]))
    return shorter, replace(moving, places=places, rotations=rotations)


def _wander(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(J,) metres by which places (T, J, 3) leave their median at most; 0 where nothing is known."""
    known = np.isfinite(places).all(axis=(1, 2))
    if not known.any():
        return np.zeros(places.shape[1])
    there = places[known]
    far: npt.NDArray[np.float64] = np.abs(there - np.median(there, axis=0)).max(axis=(0, 2))
    return far


def _tell_wanderers(path: str | os.PathLike[str], tree: JointTree, moving: JointMotion) -> None:
    far = _wander(moving.places)
    far[0] = 0.0
    worst = int(far.argmax())
    if far[worst] > _STEADY:
        warnings.warn(
            f"{path}: {int((far > _STEADY).sum())} joints move within their parents ({tree.joints[worst]} by up to "
            f"{far[worst] * 1000:.0f} mm), which a motion of constant bones cannot hold; their median place is kept",
            stacklevel=4,
        )

"""The arrays of a file of SMPL, SMPL-H or SMPL-X: which there have to be, and how they fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.body.conventions import SMPL_24
from marey.body.smpl_tree import SMPL_TREE
from marey.core.errors import FormatError
from marey.core.motion import JointTree
from marey.io.amass import POSE_JOINTS

Array = npt.NDArray[np.float64]

NAMES = ("v_template", "f", "weights", "kintree_table", "J_regressor", "shapedirs", "posedirs")
"""What is read of a file; the rest (priors of fitting, landmarks, hand components) says nothing about the body."""

_SHAPE_COEFFICIENTS = 300
"""Of SMPL-X with 400 directions the first 300 are of the shape, the others of the face."""
_FACE_COEFFICIENTS = 10
"""Of SMPL-X with fewer the last ten are of the face."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SmplArrays:
    """What a file holds, checked, in double precision."""

    tree: JointTree
    """Named after the family: smpl, smplh or smplx."""
    template: Array
    """(N, 3)"""
    faces: npt.NDArray[np.int64]
    """(F, 3)"""
    weights: Array
    """(N, J)"""
    joint_regressor: Array
    """(J, N) over the vertices of the shaped body at rest."""
    shape_basis: Array
    """(N, 3, S), expressions of the face left out."""
    pose_basis: Array
    """(N, 3, 9 (J - 1))"""


def checked_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> SmplArrays:
    """Check the arrays of a file against each other.

    Raises:
        FormatError: one is missing, of another shape than the others want, or not of finite numbers; or the joints hang
            together otherwise than in SMPL, SMPL-H and SMPL-X.
    """
    missing = [name for name in NAMES if name not in arrays]
    if missing:
        hint = "; it holds a motion, see read_amass_npz" if "poses" in arrays else ""
        raise FormatError(
            f"{path}: without {', '.join(missing)}{hint}; a body model of the SMPL family has {', '.join(NAMES)}"
        )
    tree = _tree(path, arrays["kintree_table"])
    joints, vertices = len(tree), arrays["v_template"].shape[0] if arrays["v_template"].ndim else 0
    real = {
        name: _real(path, name, arrays[name], shape)
        for name, shape in (
            ("v_template", (vertices, 3)),
            ("weights", (vertices, joints)),
            ("J_regressor", (joints, vertices)),
            ("shapedirs", (vertices, 3, None)),
            ("posedirs", (vertices, 3, 9 * (joints - 1))),
        )
    }
    return SmplArrays(
        tree=tree,
        template=real["v_template"],
        faces=_faces(path, arrays["f"], vertices),
        weights=real["weights"],
        joint_regressor=real["J_regressor"],
        shape_basis=real["shapedirs"][..., : _shape_coefficients(tree.name, real["shapedirs"].shape[-1])],
        pose_basis=real["posedirs"],
    )


def _real(path: Path, name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...]) -> Array:
    fits = array.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise FormatError(
            f"{path}: '{name}' is {array.shape}, the other arrays want ({wanted}); is it of another model?"
        )
    found = array.astype(np.float64)
    if not np.isfinite(found).all():
        raise FormatError(f"{path}: '{name}' holds NaN or infinity; the file is damaged, get it anew")
    return found


def _faces(path: Path, array: npt.NDArray[Any], vertices: int) -> npt.NDArray[np.int64]:
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.shape[1] != 3:
        raise FormatError(f"{path}: 'f' is {array.dtype} {array.shape}, expected whole numbers (faces, 3)")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < vertices:
        raise FormatError(f"{path}: 'f' names vertices {array.min()}..{array.max()}, there are {vertices}")
    return array.astype(np.int64)


def _tree(path: Path, table: npt.NDArray[Any]) -> JointTree:
    """The family whose joints hang together as the table says: (2, J) parents, the root's any number, and joints."""
    families = {len(tree): tree for tree in FAMILIES.values()}
    if table.ndim != 2 or table.shape[0] != 2 or table.dtype.kind not in "iuf" or table.shape[1] not in families:
        counts = ", ".join(f"{len(tree)} ({name})" for name, tree in FAMILIES.items())
        raise FormatError(f"{path}: 'kintree_table' is {table.shape}, expected (2, J) with J joints of {counts}")
    tree = families[table.shape[1]]
    numbers = table[1].tolist()
    parents = [numbers.index(parent) if parent in numbers else -1 for parent in table[0].tolist()]
    if parents != list(tree.parents) or len(set(numbers)) != len(numbers):
        raise FormatError(
            f"{path}: 'kintree_table' does not join the {len(tree)} joints as {tree.name} does: {parents}"
        )
    return tree


def _shape_coefficients(family: str, count: int) -> int:
    if family != "smplx":
        return count
    return _SHAPE_COEFFICIENTS if count > _SHAPE_COEFFICIENTS else max(count - _FACE_COEFFICIENTS, 0)


def _family(name: str, joints: tuple[str, ...]) -> JointTree:
    """The tree of a family: SMPL's body, face and fingers added, a finger's first joint hanging on its wrist."""
    above = {joint: SMPL_24[parent] for joint, parent in zip(SMPL_24, SMPL_TREE.parents, strict=True) if parent >= 0}
    above |= {"jaw": "head", "left_eye": "head", "right_eye": "head"}
    for joint in joints:
        stem, place = joint[:-1], joint[-1]
        if place.isdigit() and joint not in above:
            above[joint] = f"{joint.partition('_')[0]}_wrist" if place == "1" else f"{stem}{int(place) - 1}"
    return JointTree(name, joints, (-1, *(joints.index(above[joint]) for joint in joints[1:])))


FAMILIES: Mapping[str, JointTree] = {name: _family(name, joints) for name, joints in POSE_JOINTS.items()}
"""smpl, smplh and smplx: the joints of their poses and how they hang together."""

"""A user's own SMPL, SMPL-H or SMPL-X, as a `BodyModel`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.body.conventions import H36M_17_OF_H36M, PARTS_14_OF_JOINTS_24, REGRESSED, SMPL_24, SMPL_VERTICES
from marey.body.model import BodyModel
from marey.body.smpl_arrays import NAMES, SmplArrays, checked_arrays
from marey.core.errors import FormatError, InputError
from marey.io.body_files import read_body_arrays, read_joint_regressor

SMPL_VERTEX_COUNT = 6890
"""Of SMPL and SMPL-H."""


def read_smpl(
    path: str | os.PathLike[str],
    *,
    betas: int | None = 10,
    regressors: Mapping[str, str | os.PathLike[str]] | None = None,
    dtype: torch.dtype = torch.float32,
) -> BodyModel:
    """Read a body model of the SMPL family from the file that its makers distribute.

    The family follows from the number of joints: SMPL 24, SMPL-H 52, SMPL-X 55; there is one file for each gender. What
    moves a face (SMPL-X's expressions) is left out, and a hand's pose counts from the flat hand. Files are licensed by
    their makers and must be obtained from them.

    Args:
        path: `.pkl` as distributed (read as plain data: neither chumpy nor SciPy is needed, and nothing in the file is
            run), `.npz`, or `.safetensors` with arrays of the same names.
        betas: How many shape coefficients to keep, the first ones; None: all.
        regressors: More joints: a name of `conventions.REGRESSED` or one of your own -> a file `.npy` (J', N).
        dtype: Precision of the model.

    Returns:
        The model, on the CPU. For the 6,890 vertices of SMPL and SMPL-H it has the regressor `smpl_vertices`, with
        `h36m` the same in the order of the skeleton `h36m_17`, and for all families the parts `joints24` and `parts14`.

    Raises:
        InputError: a file cannot be read, or the model has fewer shape coefficients than asked for.
        FormatError: a file is damaged, holds code, lacks an array or holds arrays that do not fit together.
    """
    path = Path(path)
    arrays = checked_arrays(path, read_body_arrays(path, (*NAMES, "poses")))
    available = arrays.shape_basis.shape[-1]
    if betas is not None and not 0 <= betas <= available:
        raise InputError(f"{path}: betas={betas}, the file has {available} shape coefficients; betas=None keeps all")
    basis = arrays.shape_basis[..., :betas]

    def real(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)

    joints, weights = _strongest(arrays.weights)
    return BodyModel(
        name=path.stem,
        tree=arrays.tree,
        template=real(arrays.template),
        faces=torch.from_numpy(arrays.faces),
        shape_basis=real(basis),
        joint_template=real(arrays.joint_regressor @ arrays.template),
        joint_basis=real(np.tensordot(arrays.joint_regressor, basis, 1)),
        skin_joints=joints,
        skin_weights=weights.to(dtype),
        pose_basis=real(arrays.pose_basis.reshape(-1, arrays.pose_basis.shape[-1]).T),
        regressors={name: matrix.to(dtype) for name, matrix in _regressors(arrays, regressors or {}).items()},
        vertex_parts=_parts(arrays),
    )


def _strongest(weights: np.ndarray) -> tuple[Tensor, Tensor]:
    """The joints (N, W) that move each vertex and their weights; W is what the vertex with most of them needs."""
    table = torch.from_numpy(weights)
    found = table.topk(max(int((table != 0).sum(-1).max()), 1), dim=-1)
    return found.indices, found.values


def _regressors(arrays: SmplArrays, files: Mapping[str, str | os.PathLike[str]]) -> dict[str, Tensor]:
    vertices = len(arrays.template)
    found = {}
    if vertices == SMPL_VERTEX_COUNT:
        picked = torch.tensor(tuple(SMPL_VERTICES.values()))
        found["smpl_vertices"] = torch.nn.functional.one_hot(picked, vertices).double()
    for name, file in files.items():
        matrix = read_joint_regressor(file)
        rows = len(REGRESSED[name]) if name in REGRESSED else len(matrix)
        if matrix.shape != (rows, vertices):
            raise FormatError(f"{file}: {matrix.shape}, expected ({rows}, {vertices}) for '{name}' of this body")
        found[name] = torch.from_numpy(matrix)
    if "h36m" in found:
        found["h36m_17"] = found["h36m"][list(H36M_17_OF_H36M)]
    return found


def _parts(arrays: SmplArrays) -> dict[str, Tensor]:
    """Each vertex belongs to the joint that moves it most; faces go with the head, fingers with the hand."""
    body = torch.tensor([SMPL_24.index(_body_joint(joint)) for joint in arrays.tree.joints])
    joints = body[torch.from_numpy(arrays.weights).argmax(-1)]
    return {"joints24": joints, "parts14": torch.tensor(PARTS_14_OF_JOINTS_24)[joints]}


def _body_joint(joint: str) -> str:
    if joint in SMPL_24:
        return joint
    return f"{joint.partition('_')[0]}_hand" if joint[-1].isdigit() else "head"

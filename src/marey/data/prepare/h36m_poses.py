"""Poses of Human3.6M: 32 joints in millimetres in every file, the 17 that count in metres in every result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError
from marey.data.prepare.extras import opened_h5, read_cdf_variable
from marey.data.prepare.h36m_names import SOURCE_COUNT, SOURCE_PLACES

Array = npt.NDArray[np.float64]

S9_SHIFT = (-0.2, 0.0, 0.0)
"""Metres: what brings the poses of S9's damaged actions back to where she was."""


def read_cdf_poses(path: Path) -> Array:
    """Read joints (F, 17, 3) in metres from the official `D3_Positions/<action>.cdf`, in the order of `SKELETON`.

    Raises:
        MissingDependencyError: cdflib is not installed.
        InputError: the file cannot be read.
        FormatError: it is no such file.
    """
    return _chosen(path, "Pose", read_cdf_variable(path, "Pose"))


def read_h5_poses(path: Path) -> Array:
    """Read joints (F, 17, 3) in metres from Martinez's `3D_positions/<action>.h5`, in the order of `SKELETON`.

    Raises:
        MissingDependencyError: h5py is not installed.
        InputError: the file cannot be read.
        FormatError: it is no such file.
    """
    with opened_h5(path) as file:
        if "3D_positions" not in file:
            raise FormatError(f"{path}: no '3D_positions'; is it from the folder MyPoses/3D_positions?")
        stored = np.asarray(file["3D_positions"])
    return _chosen(path, "3D_positions", stored.T)


def _chosen(path: Path, name: str, stored: npt.NDArray[Any]) -> Array:
    """Of (..., F, 96) millimetres."""
    if stored.dtype.kind not in "fiu" or stored.ndim < 2 or stored.shape[-1] != 3 * SOURCE_COUNT:
        raise FormatError(
            f"{path}: '{name}': expected {3 * SOURCE_COUNT} numbers a frame, got {stored.shape} of {stored.dtype}"
        )
    poses: Array = stored.astype(np.float64).reshape(-1, SOURCE_COUNT, 3)[:, SOURCE_PLACES] / 1000
    return poses

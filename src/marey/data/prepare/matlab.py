"""MATLAB files of data sets: version 5, and version 7.3 (HDF5) through h5py, in the same form.

Arrays come in MATLAB's own order of dimensions; cells and lists of structs as arrays of objects, a struct as a dict.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, InputError
from marey.data.prepare.extras import opened_h5
from marey.io.matlab5 import read_matlab5

Array = npt.NDArray[Any]

_V73 = b"MATLAB 7.3"
_DEEPEST = 20


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read some variables of a MATLAB file.

    Raises:
        MissingDependencyError: the file is of version 7.3, and h5py is not installed.
        InputError: the file cannot be read.
        FormatError: it is no MATLAB file, damaged, or lacks a variable.
    """
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    with path.open("rb") as file:
        start = file.read(len(_V73))
    found = _read_hdf5(path, names) if start == _V73 or start.startswith(b"\x89HDF") else read_matlab5(path, names)
    if absent := [name for name in names if name not in found]:
        raise FormatError(f"{path}: lacks the variable {', '.join(absent)}; is it another file of the data set?")
    return found


def numbers(path: Path, name: str, value: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """See that a value is an array of numbers of some shape, -1 for any length; double precision.

    Raises:
        FormatError: it is not.
    """
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(w in (-1, h) for w, h in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "fiub":
        expected = ", ".join("any" if length < 0 else str(length) for length in shape)
        raise FormatError(f"{path}: '{name}': expected numbers ({expected}), got {array.shape} of {array.dtype}")
    converted: npt.NDArray[np.float64] = array.astype(np.float64)
    return converted


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, Any]:
    with opened_h5(path) as file:
        return {name: _of_hdf5(file, file[name]) for name in names if name in file}


def _of_hdf5(file: Any, item: Any, depth: int = 0) -> Any:
    """A dataset or group; HDF5 holds MATLAB's dimensions in reverse."""
    if depth > _DEEPEST:
        raise FormatError("a MATLAB file nests more than 20 deep; refused")
    if hasattr(item, "keys"):
        return {name: _of_hdf5(file, item[name], depth + 1) for name in item}
    array = np.asarray(item[()]).T
    if array.dtype.kind != "O":
        return array
    each = [_of_hdf5(file, file[reference], depth + 1) for reference in array.reshape(-1)]
    return np.fromiter(each, dtype=object, count=array.size).reshape(array.shape)

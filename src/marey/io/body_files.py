"""Files of body models: named arrays in a pickle, an npz archive or safetensors, read without running their code."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.io.archives import read_npy_header
from marey.io.atomic import atomic_path
from marey.io.sparse_arrays import ARRAY_CLASSES, plain_array
from marey.io.text import read_bytes_limited
from marey.io.unpickle import MOST_BYTES, read_object_npz, restricted_load

Arrays = dict[str, npt.NDArray[Any]]

_MOST_REGRESSOR = 256 << 20
"""Bytes; that of 90 joints over SMPL-X has eight million."""


def read_body_arrays(path: str | os.PathLike[str], names: Collection[str]) -> Arrays:
    """Read some arrays of a body file by name; those it lacks are absent from the result.

    A pickle (`.pkl`) is read as plain data, whatever Python and NumPy wrote it: sparse matrices come back written out,
    chumpy's arrays as the arrays they hold, neither package being needed; anything else in it is refused. So it is with
    an archive (`.npz`) that holds objects.

    Args:
        path: The file; its suffix says which kind it is.
        names: The arrays wanted.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is of another kind or damaged, or holds code or more memory than its length justifies.
    """
    path = Path(path)
    readers = {".pkl": _from_pickle, ".npz": _from_npz, ".safetensors": _from_safetensors}
    if path.suffix.lower() not in readers:
        raise FormatError(f"{path}: expected a body file in {', '.join(readers)}; is it another kind?")
    found = readers[path.suffix.lower()](path, names)
    arrays: Arrays = {}
    for name, value in found.items():
        try:
            arrays[name] = _numeric(plain_array(value))
        except FormatError as error:
            raise FormatError(f"{path}: '{name}': {error}") from error
    return arrays


def read_joint_regressor(path: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """Read a matrix (J, N) of joints as weighted sums of vertices, from `.npy` as they are published.

    Raises:
        InputError: the file cannot be read.
        FormatError: it holds no matrix of finite numbers.
    """
    data = read_bytes_limited(path, most_bytes=_MOST_REGRESSOR)
    try:
        found = _read_npy(data)
    except Exception as error:  # NumPy parses headers as Python and raises whatever that raises
        raise FormatError(f"{path}: not a readable npy file: {error}") from error
    if found.ndim != 2 or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise FormatError(
            f"{path}: expected a matrix (joints, vertices) of finite numbers, got {found.dtype} {found.shape}"
        )
    return found.astype(np.float64)


def write_body_npz(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays into an npz archive that opens without pickle: what is left of a body file once it has been read.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _from_pickle(path: Path, names: Collection[str]) -> dict[str, Any]:
    found = restricted_load(path, allowed=ARRAY_CLASSES)
    if not isinstance(found, dict):
        raise FormatError(f"{path}: expected a dict of arrays, got a {type(found).__name__}; it is no body model")
    return {name: found[name] for name in names if name in found}


def _from_npz(path: Path, names: Collection[str]) -> dict[str, Any]:
    found = {name: array for name, array in read_object_npz(path, allowed=ARRAY_CLASSES).items() if name in names}
    return {name: array.item() if array.dtype.hasobject and array.ndim == 0 else array for name, array in found.items()}


def _from_safetensors(path: Path, names: Collection[str]) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    if path.stat().st_size > MOST_BYTES:
        raise FormatError(f"{path}: more than {MOST_BYTES >> 30} GiB; refused")
    try:
        with safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
            tensors = {name: file.get_tensor(name) for name in file.keys() if name in names}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path}: not a readable safetensors file: {error}") from error
    return {name: (t.double() if t.is_floating_point() else t).numpy() for name, t in tensors.items()}


def _read_npy(data: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(data)
    shape, fortran, element = read_npy_header(stream, "it")
    if element.kind not in "iuf":
        raise ValueError(f"it holds {element}, expected numbers")
    return np.frombuffer(data, element, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


def _numeric(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.dtype.kind not in "iuf":
        raise FormatError(f"expected an array of real numbers, got the type {array.dtype}")
    return array

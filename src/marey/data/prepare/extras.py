"""Formats of data sets that optional packages read: HDF5, which MATLAB files of version 7.3 are too, and NASA's CDF."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, InputError, MareyError, MissingDependencyError

INSTALL = 'pip install "marey[datasets]"'


@contextmanager
def opened_h5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading, an `h5py.File`.

    Raises:
        MissingDependencyError: h5py is not installed.
        InputError: the file cannot be read.
        FormatError: it is no HDF5, or damaged, also where that shows inside the block.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError.of("h5py", f"reading {path.name}", INSTALL) from error
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path}: not an HDF5 file; MATLAB files before version 7.3 are none, save them anew")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MareyError:
        raise
    except Exception as error:  # h5py raises half a dozen types on damaged files, wherever they are read
        raise FormatError(f"{path}: damaged HDF5 file: {error}") from error


def read_cdf_variable(path: Path, name: str) -> npt.NDArray[Any]:
    """Read one variable of a CDF file.

    Raises:
        MissingDependencyError: cdflib is not installed.
        InputError: the file cannot be read.
        FormatError: it is no CDF, damaged, or has no such variable.
    """
    try:
        import cdflib
    except ImportError as error:
        raise MissingDependencyError.of("cdflib", f"reading {path.name}", INSTALL) from error
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    try:
        file = cdflib.CDF(path)
        names = [*file.cdf_info().zVariables, *file.cdf_info().rVariables]
        if name not in names:
            raise FormatError(f"{path}: no variable '{name}'; there are: {', '.join(names) or 'none'}")
        found: npt.NDArray[Any] = np.asarray(file.varget(name))
    except FormatError:
        raise
    except Exception as error:  # cdflib raises a dozen types on damaged files
        raise FormatError(f"{path}: not a readable CDF file: {error or type(error).__name__}") from error
    return found

"""Zip archives of strangers, opened with care: `.npz` is one."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from marey.core.errors import FormatError, InputError

_FREE = 256 << 20
"""Bytes that any archive may unpack to."""
_MOST_RATIO = 100
"""Beyond these: poses and images pack to a tenth at best, a bomb to a thousandth."""


@contextmanager
def opened_archive(path: Path, *, most_bytes: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive for reading, unless what it unpacks to is too much for any file or for this one.

    Args:
        path: The file.
        most_bytes: More than this, unpacked, is refused.

    Raises:
        InputError: the file cannot be read.
        FormatError: it unpacks to too much, is no archive or is damaged, also where that shows inside the block:
            zipfile, its decompressors and NumPy raise a dozen types on damaged archives, and each becomes this one.
    """
    try:
        file = path.open("rb")
        state = os.fstat(file.fileno())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(state.st_mode):
        file.close()
        raise InputError(f"cannot read {path}: expected a file, for archives are read from their end")
    try:
        with file, zipfile.ZipFile(file) as archive:
            size, packed = sum(member.file_size for member in archive.infolist()), state.st_size
            if size > most_bytes:
                raise FormatError(f"unpacks to {size / 2**30:.0f} GiB, more than {most_bytes >> 30}; refused")
            if size > _FREE + _MOST_RATIO * packed:
                raise FormatError(f"{packed} bytes unpack to {size >> 20} MiB, as data never do; refused")
            yield archive
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except Exception as error:
        raise FormatError(f"{path}: not a readable npz archive: {error or type(error).__name__}") from error


def read_npy_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran's order, and element type of an array in the npy format; the data come next.

    Raises:
        FormatError: it is of another version than 1.0 and 2.0.
        ValueError: the header is damaged.
    """
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise FormatError(f"'{name}' is of npy version {version}, expected 1.0 or 2.0")
    return readers[version](stream)

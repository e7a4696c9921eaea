"""Arrays of npz archives that are larger than memory: mapped where they lie, or unpacked piece by piece.

`numpy.savez` stores its arrays as they are, so they can be mapped within the archive; those of `savez_compressed` have
to be unpacked to files first.
"""

from __future__ import annotations

import math
import os
import shutil
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.io.archives import opened_archive, read_npy_header
from marey.io.atomic import atomic_path, check_writable

MOST_BYTES = 1 << 40
"""Of an archive, unpacked."""
_LOCAL_HEADER = 30
"""Bytes before the name of a member, of which the last four say how long the name and the extra field are."""
_PIECE = 16 << 20


def map_npz(
    path: str | os.PathLike[str], names: Collection[str], *, unpack_to: str | os.PathLike[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """Map arrays of an archive, read only.

    Args:
        path: The archive. It must not change as long as the arrays are used.
        names: The arrays wanted.
        unpack_to: Folder for `NAME.npy` of arrays that the archive holds compressed; those that were unpacked there
            before, from this very archive, are taken. None: such arrays are refused.

    Raises:
        InputError: the file cannot be read, lacks an array, or holds one compressed and there is nowhere to unpack it.
        FormatError: it is no such archive, is damaged, or an array holds objects or less than it promises.
    """
    path = Path(path)
    with opened_archive(path, most_bytes=MOST_BYTES) as archive:
        members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if missing := sorted(set(names) - set(members)):
        raise InputError(f"{path}: no array '{missing[0]}' in it; it has: {', '.join(sorted(members)) or 'none'}")
    return {name: _mapped(*_place(path, members[name], unpack_to), name) for name in names}


def _place(path: Path, entry: zipfile.ZipInfo, unpack_to: str | os.PathLike[str] | None) -> tuple[Path, int, int]:
    """The file that holds a member as it is, where in the file it begins and how long it is."""
    if entry.compress_type == zipfile.ZIP_STORED:
        return path, *_span(path, entry)
    name = Path(entry.filename).name.removesuffix(".npy")
    if unpack_to is None:
        raise InputError(f"{path}: '{name}' is compressed; say where it can be unpacked (unpack_to=)")
    folder = check_writable(unpack_to)
    target = folder / f"{path.stem}_{name}_{entry.CRC:08x}.npy"  # the sum tells one archive of a name from another
    if not (target.exists() and target.stat().st_size == entry.file_size):
        if shutil.disk_usage(folder).free < entry.file_size:
            raise InputError(f"{folder}: {entry.file_size >> 20} MiB are needed to unpack '{name}', fewer are free")
        with atomic_path(target) as temporary, temporary.open("wb") as file:
            file.writelines(_pieces(path, entry))
    return target, 0, entry.file_size


def _pieces(path: Path, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with opened_archive(path, most_bytes=MOST_BYTES) as archive, archive.open(entry) as source:
        while piece := source.read(_PIECE):
            yield piece


def _span(path: Path, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Where the bytes of a stored member begin in the archive, and how many they are."""
    with path.open("rb") as file:
        file.seek(max(entry.header_offset, 0))  # zipfile makes negative ones of damaged archives
        header = file.read(_LOCAL_HEADER)
    if entry.header_offset < 0 or len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise FormatError(f"{path}: '{entry.filename}' is not where the archive says; the file is damaged")
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return entry.header_offset + _LOCAL_HEADER + lengths, entry.file_size


def _mapped(path: Path, start: int, length: int, name: str) -> npt.NDArray[Any]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            shape, fortran, element = read_npy_header(file, name)
            begin = file.tell()
    except FormatError:
        raise
    except Exception as error:  # NumPy parses headers as Python and raises whatever that raises
        raise FormatError(f"{path}: '{name}' is no readable array: {error}") from error
    if element.hasobject:
        raise FormatError(f"{path}: '{name}' holds pickled Python objects, which are never loaded")
    size = math.prod(shape) * element.itemsize
    if min(shape, default=0) < 0 or begin + size > start + length or begin + size > path.stat().st_size:
        raise FormatError(f"{path}: '{name}' promises {shape} of {element}, more than it has")
    if not size:
        return np.empty(shape, element)
    return np.memmap(path, element, mode="r", offset=begin, shape=shape, order="F" if fortran else "C")

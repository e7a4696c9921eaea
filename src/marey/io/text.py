"""Files read whole, but never without end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from marey.core.errors import FormatError, InputError

MOST_BYTES = 512 << 20
"""Of a text file: ten times the largest that the formats read here have any use for."""
LONGEST_LINE = 8 << 20
"""Bytes without a line feed in a format of lines: a hundred thousand markers in a row."""
_PIECE = 1 << 20


def read_start(path: str | os.PathLike[str], count: int) -> bytes:
    """The first `count` bytes of a file, or all that it has: enough to tell what it is before it is read whole.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def read_bytes_limited(path: str | os.PathLike[str], *, most_bytes: int) -> bytes:
    """Read a file or a pipe; a file that is larger than `most_bytes` is refused before it is read.

    Raises:
        InputError: the file cannot be read, or is a device, which may have no end.
        FormatError: it is too large.
    """
    try:
        with Path(path).open("rb") as file:
            state = os.fstat(file.fileno())
            if stat.S_ISCHR(state.st_mode) or stat.S_ISBLK(state.st_mode):
                raise InputError(f"cannot read {path}: it is a device, expected a file")
            data = _read_pieces(file, most_bytes) if state.st_size <= most_bytes else None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if data is None:
        raise FormatError(f"{path}: larger than {most_bytes >> 20} MiB, which no file of this kind is; refused")
    return data


def _read_pieces(file: BinaryIO, most_bytes: int) -> bytes | None:
    """All bytes; None if there are too many, which the size of a pipe does not tell beforehand."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file.read()
    data = bytearray()
    while piece := file.read(_PIECE):
        data += piece
        if len(data) > most_bytes:
            return None
    return bytes(data)


def read_text_limited(
    path: str | os.PathLike[str], *, most_bytes: int = MOST_BYTES, longest_line: int | None = None
) -> str:
    """Read a UTF-8 file, a byte order mark dropped, every line end made a line feed.

    Args:
        path: The file.
        most_bytes: Larger files are refused before they are read.
        longest_line: More bytes than this without a line feed are refused; None: lines may be of any length, as in
            JSON.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is too large, has a line too long, or is not text.
    """
    path = Path(path)
    data = read_bytes_limited(path, most_bytes=most_bytes)
    if longest_line is not None:
        _check_lines(path, data, longest_line)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: not a text file in UTF-8 (byte {error.start} is not); is it another kind?"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _check_lines(path: Path, data: bytes, longest: int) -> None:
    """Refuse a line of more bytes, without taking memory for the lines."""
    start = 0
    while len(data) - start > longest:
        end = max(data.rfind(sign, start, start + longest + 1) for sign in (b"\n", b"\r"))
        if end < 0:
            raise FormatError(f"{path}: a line of more than {longest >> 20} MiB; refused")
        start = end + 1

"""Files read whole, but never without end."""

from __future__ import annotations

import os
from pathlib import Path

from marey.core.errors import FormatError, InputError

MOST_BYTES = 512 << 20
"""Of a text file: ten times the largest that the formats read here have any use for."""
LONGEST_LINE = 8 << 20
"""Bytes without a line feed in a format of lines: a hundred thousand markers in a row."""


def read_bytes_limited(path: str | os.PathLike[str], *, most_bytes: int) -> bytes:
    """Read a file; one that is larger than `most_bytes` is refused before it is read.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is too large.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > most_bytes:
                raise FormatError(f"{path}: larger than {most_bytes >> 20} MiB, which no file of this kind is; refused")
            return file.read()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


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
    if longest_line is not None and len(data) > longest_line:
        longest = max(map(len, data.replace(b"\r", b"\n").split(b"\n")))
        if longest > longest_line:
            raise FormatError(f"{path}: a line of {longest >> 20} MiB, expected at most {longest_line >> 20}; refused")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path}: not a text file in UTF-8 (byte {error.start} is not); is it another kind?"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")

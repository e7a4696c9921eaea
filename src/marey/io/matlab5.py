"""MATLAB files of version 5 (`save` of MATLAB 5 to 7, `scipy.io.savemat`): numbers, text, cells and structs.

A reader of its own, because SciPy's takes damaged files for good ones and ends the process. Nothing is believed that
the file's own length does not bear out. Source: "MAT-File Format", The MathWorks.

What a variable becomes: numbers an array in MATLAB's order of dimensions; text a `str` (or an array of `str`, one a
row); a cell an array of objects; a struct a dict, several of them an array of dicts.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.text import read_bytes_limited

MOST_BYTES = 4 << 30
"""Of a file and of what it unpacks to."""
DEEPEST = 20
"""Cells within cells; data sets have four."""

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy's letters of the types in which numbers are stored."""
_TEXTS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CELL, _STRUCT, _TEXT = 1, 2, 4
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
"""Of arrays of numbers."""
_OTHERS = {3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object", 18: "an object"}
_PEEK = 4096
"""Bytes of a compressed variable that surely hold its name."""


def read_matlab5(path: str | os.PathLike[str], names: Collection[str] | None = None) -> dict[str, Any]:
    """Read variables of a file.

    Args:
        path: The file.
        names: Which; None: all. Those that are not there are left out.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such file, damaged, or a variable holds something else than data.
    """
    path = Path(path)
    data = memoryview(read_bytes_limited(path, most_bytes=MOST_BYTES))
    try:
        order = _byte_order(data)
        return dict(_variables(_Part(data[_HEADER:], order), names))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    except (ValueError, OverflowError, zlib.error) as error:
        raise FormatError(f"{path}: damaged MATLAB file: {error}") from error


def _byte_order(data: memoryview) -> str:
    mark = bytes(data[_HEADER - 2 : _HEADER])
    if len(data) < _HEADER or mark not in (b"IM", b"MI") or not bytes(data[:4]).isalnum():
        raise FormatError("not a MATLAB file of version 5; its header is another")
    return "<" if mark == b"IM" else ">"


def _variables(part: _Part, names: Collection[str] | None) -> list[tuple[str, Any]]:
    """Name and value of the variables of a file."""
    found, budget = [], MOST_BYTES
    while part.rest:
        kind, content = part.element()
        if kind == _COMPRESSED:
            if names is not None and _Part(_unpacked(content, _PEEK), part.order).name_inside() not in names:
                continue
            whole = _unpacked(content, budget)
            budget -= len(whole)
            kind, content = _Part(whole, part.order).element()
        if kind != _MATRIX:
            raise FormatError(f"damaged MATLAB file: expected a variable, got an element of the type {kind}")
        if names is None or _Part(content, part.order).name() in names:
            found.append(_matrix(_Part(content, part.order), 0))
    return found


def _unpacked(content: memoryview, most: int) -> memoryview:
    """At most `most` bytes of what is packed."""
    return memoryview(zlib.decompressobj().decompress(content, max(most, 1)))


@dataclass(eq=False)
class _Part:
    """Elements one after another, read from the front."""

    rest: memoryview
    order: str

    def integers(self, data: memoryview, kind: str) -> list[int]:
        found: list[int] = np.frombuffer(data, f"{self.order}{kind}").tolist()
        return found

    def element(self) -> tuple[int, memoryview]:
        """Type and content of the next element."""
        if len(self.rest) < 8:
            raise FormatError("damaged MATLAB file: it ends within an element")
        (first,) = self.integers(self.rest[:4], "u4")
        if first >> 16:  # a small one: type, length and content in eight bytes
            kind, length, start, end = first & 0xFFFF, first >> 16, 4, 8
            if length > 4:
                raise FormatError("damaged MATLAB file: a small element is too long")
        else:
            (length,) = self.integers(self.rest[4:8], "u4")
            kind, start = first, 8
            end = 8 + (length if kind == _COMPRESSED else length + -length % 8)
        if start + length > len(self.rest):
            raise FormatError("damaged MATLAB file: an element is longer than the file")
        content, self.rest = self.rest[start : start + length], self.rest[min(end, len(self.rest)) :]
        return kind, content

    def head(self) -> tuple[int, bool, tuple[int, ...], str]:
        """Class, whether complex, dimensions and name of a matrix."""
        flags = self.integers(self.element()[1], "u4")
        shape = tuple(self.integers(self.element()[1], "i4"))
        name = bytes(self.element()[1]).decode("latin-1")
        if not flags or len(shape) < 2 or min(shape) < 0 or len(shape) > 32:
            raise FormatError(f"damaged MATLAB file: a variable of the dimensions {shape}")
        return flags[0] & 0xFF, bool(flags[0] & 0x800), shape, name

    def name(self) -> str:
        """Of the matrix that this part is the content of."""
        return self.head()[3]

    def name_inside(self) -> str:
        """Of the matrix that this part begins with, of which the end may be missing."""
        if len(self.rest) < 8:
            raise FormatError("damaged MATLAB file: a packed variable is empty")
        return _Part(self.rest[8:], self.order).name()


def _matrix(part: _Part, depth: int) -> tuple[str, Any]:
    """Name and value of a matrix."""
    if depth > DEEPEST:
        raise FormatError(f"the MATLAB file nests more than {DEEPEST} deep; refused")
    if not part.rest:
        return "", np.empty((0, 0))
    kind, is_complex, shape, name = part.head()
    if kind in _CLASSES and not is_complex:
        return name, _numbers(part, shape).astype(_CLASSES[kind])
    if kind == _TEXT:
        return name, _text(part, shape)
    if kind == _CELL:
        return name, _objects(part, shape, lambda: _inner(part, depth))
    if kind == _STRUCT:
        return name, _structs(part, shape, depth)
    what = "complex numbers" if is_complex else _OTHERS.get(kind, f"an array of the class {kind}")
    raise FormatError(f"the variable '{name}' holds {what}; expected numbers, text, cells and structs")


def _numbers(part: _Part, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    kind, content = part.element()
    if kind not in _NUMBERS:
        raise FormatError(f"damaged MATLAB file: numbers of the type {kind}")
    found = np.frombuffer(content, np.dtype(_NUMBERS[kind]).newbyteorder(part.order))  # type: ignore[arg-type]
    if found.size != math.prod(shape):
        raise FormatError(f"damaged MATLAB file: {found.size} numbers for the dimensions {shape}")
    return found.reshape(shape, order="F")


def _text(part: _Part, shape: tuple[int, ...]) -> Any:
    """A row of text, or an array of several."""
    kind, content = part.element()
    if kind not in _TEXTS:
        raise FormatError(f"damaged MATLAB file: text of the type {kind}")
    codec = _TEXTS[kind] + ("" if kind in (1, 2, 16) else "-le" if part.order == "<" else "-be")
    letters = bytes(content).decode(codec, "replace")
    if len(letters) != math.prod(shape):
        raise FormatError(f"damaged MATLAB file: {len(letters)} letters for the dimensions {shape}")
    if len(shape) > 2 or shape[0] == 0:
        return letters
    rows = ["".join(letters[row :: shape[0]]) for row in range(shape[0])]
    return rows[0] if shape[0] == 1 else np.array(rows, dtype=np.str_)


def _inner(part: _Part, depth: int) -> Any:
    """The value of the matrix that comes next."""
    kind, content = part.element()
    if kind != _MATRIX:
        raise FormatError(f"damaged MATLAB file: an element of the type {kind} in a cell or struct")
    return _matrix(_Part(content, part.order), depth + 1)[1]


def _objects(part: _Part, shape: tuple[int, ...], read: Callable[[], Any]) -> npt.NDArray[Any]:
    count = math.prod(shape)
    if 8 * count > len(part.rest):  # an element has eight bytes at least
        raise FormatError(f"damaged MATLAB file: {count} entries are promised, more than it has bytes for")
    found = np.empty(count, dtype=object)
    for place in range(count):
        found[place] = read()
    return found.reshape(shape, order="F")


def _structs(part: _Part, shape: tuple[int, ...], depth: int) -> Any:
    """A dict, or an array of dicts."""
    length = part.integers(part.element()[1], "i4")
    text = bytes(part.element()[1])
    if len(length) != 1 or length[0] < 1 or len(text) % length[0]:
        raise FormatError("damaged MATLAB file: the names of a struct's fields")
    names = [
        text[start : start + length[0]].split(b"\0")[0].decode("latin-1") for start in range(0, len(text), length[0])
    ]
    if not names:
        return np.empty(shape if math.prod(shape) == 0 else (0,), dtype=object)
    found = _objects(part, shape, lambda: {name: _inner(part, depth) for name in names})
    return found.reshape(-1)[0] if found.size == 1 else found

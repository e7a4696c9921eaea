"""The part of OpenCV's FileStorage YAML that calibrations use: matrices, numbers and lists of texts at the top level.

A strict reader of its own, because OpenCV's parser is C++ and is not meant for files of strangers. Entries of any other
kind are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from marey.core.errors import FormatError
from marey.io.camera_parts import Array, decimals, parse_numbers, read_camera_text

Value = Array | str | list[str]

_KEY = re.compile(r"([A-Za-z_][^\s:]*)\s*:(?:\s+(.*)|$)")
_MATRIX = "!!opencv-matrix"
_REAL = ("d", "f", "i", "u", "c", "w", "s")
"""Element types of OpenCV, one channel each; all read as float64."""


def read_opencv_yaml(path: str | os.PathLike[str]) -> dict[str, Value]:
    """Read matrices (rows, cols), texts and lists of texts by key.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a file, a matrix is malformed, or a key repeats.
    """
    path = Path(path)
    found: dict[str, Value] = {}
    for key, block in _blocks(path, read_camera_text(path)):
        if key in found:
            raise FormatError(f"{path}: the key '{key}' repeats")
        value = _value(f"{path}, {key}", block)
        if value is not None:
            found[key] = value
    if not found:
        raise FormatError(f"{path}: no entry of the form 'key: value'; expected YAML as OpenCV writes it")
    return found


def _blocks(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    """Each key of the top level with its lines."""
    key, block = "", list[str]()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith(("%", "#", "---", "...")):
            continue
        if line[0] in " \t-":
            if not key:
                raise FormatError(f"{path}, line {number}: '{line.strip()[:80]}' belongs to no key")
            block.append(line.strip())
            continue
        head = _KEY.match(line)
        if head is None:
            raise FormatError(f"{path}, line {number}: '{line[:80]}' is not of the form 'key: value'")
        if key:
            yield key, block
        key, block = head[1], [head[2].strip()] if head[2] else []
    if key:
        yield key, block


def _value(where: str, block: list[str]) -> Value | None:
    if not block:
        return None
    first, rest = block[0], block[1:]
    if first.startswith(_MATRIX):
        return _matrix(where, " ".join([first.removeprefix(_MATRIX), *rest]))
    if first.startswith("!!"):
        return None
    if first.startswith("["):
        text = " ".join(block)
        if not text.endswith("]"):
            raise FormatError(f"{where}: the list does not end; the file is cut off")
        return [_plain(item) for item in text[1:-1].split(",") if item.strip()]
    if all(line.startswith("- ") for line in block):
        return [_plain(line[2:]) for line in block]
    return None if rest else _plain(first)


def _plain(text: str) -> str:
    """A scalar without its quotes."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _matrix(where: str, text: str) -> Array:
    head, bracket, rest = text.partition("data:")
    content, end, _ = rest.strip().partition("]")
    fields = dict(re.findall(r"(rows|cols|dt):\s*([^\s:]+)", head))
    if not (bracket and end and content.startswith("[")) or fields.keys() != {"rows", "cols", "dt"}:
        raise FormatError(f"{where}: not a whole matrix with rows, cols, dt and data")
    if fields["dt"].strip("\"'") not in _REAL:
        raise FormatError(f"{where}: elements of type '{fields['dt'][:20]}', expected one number each ('d')")
    if not (fields["rows"].isdecimal() and fields["cols"].isdecimal()):
        raise FormatError(f"{where}: {fields['rows'][:20]} rows and {fields['cols'][:20]} cols, expected whole numbers")
    rows, cols = int(fields["rows"][:9]), int(fields["cols"][:9])
    words = content[1:].split(",")
    if words and not words[-1].strip():
        words.pop()
    if len(words) != rows * cols:
        hint = "; are there decimal commas?" if len(words) > rows * cols else ""
        raise FormatError(f"{where}: {len(words)} numbers for {rows} x {cols}{hint}")
    if any(len(word.split()) != 1 for word in words):
        raise FormatError(f"{where}: the numbers are not one between commas")
    return parse_numbers(where, " ".join(words)).reshape(rows, cols)


def opencv_yaml(entries: Mapping[str, Array | int | list[str]]) -> str:
    """The text of a file of matrices, whole numbers and lists of names."""
    return "%YAML:1.0\n---\n" + "".join(_entry(key, value) for key, value in entries.items())


def _entry(key: str, value: Array | int | list[str]) -> str:
    if isinstance(value, int):
        return f"{key}: {value}\n"
    if isinstance(value, list):
        return f"{key}:\n" + "".join(f'   - "{item}"\n' for item in value)
    rows, cols = np.atleast_2d(value).shape
    data = ", ".join(decimals(value).split())
    return f"{key}: {_MATRIX}\n   rows: {rows}\n   cols: {cols}\n   dt: d\n   data: [ {data} ]\n"

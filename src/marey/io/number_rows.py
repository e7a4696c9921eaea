"""Rows of numbers in text files: all of one width, decimal points, and a last row that may be cut off."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError

_COMMA = re.compile(r"\d,\d")  # of fixed length: it is searched for in texts of any length
_CHUNK = 1 << 18
"""Cells turned into numbers at once: text takes ten times the memory of its numbers."""
_MOST_GAPS, _FEW_GAPS = 10, 1 << 20
"""Cells for each byte of text, and beyond these, that rows with gaps may stand for."""


def parse_number_rows(
    path: str | os.PathLike[str],
    lines: Sequence[str],
    *,
    first: int,
    width: int,
    separator: str | None = None,
    gaps: bool = False,
) -> npt.NDArray[np.float64]:
    """Read lines of `width` numbers into a table (N, width); lines without text are skipped.

    A last row without a line feed behind it that is too short, or ends within a number such as `1e-`, was cut off: it
    is left out with a warning.

    Args:
        path: The file, for messages.
        lines: A text split at its line feeds: the last one is what stands behind the last line feed.
        first: Number of the first of these lines in the file, counting from 1.
        width: Numbers in a row.
        separator: Between the numbers; None: white space.
        gaps: Whether empty cells, and those that a row lacks at its end, are gaps, to be read as NaN.

    Raises:
        FormatError: a row has another width or a cell that is no number; decimal commas are named as such; nearly all
            of the text is gaps.
    """
    if gaps and width * len(lines) > _MOST_GAPS * sum(map(len, lines)) + _FEW_GAPS:
        raise FormatError(f"{path}: {len(lines)} rows of {width} cells, nearly all of them empty; refused")
    blank = f" \t{separator}" if gaps else None
    tables = [np.empty((0, width))]
    rows: list[list[str]] = []
    places: list[int] = []
    for place, line in enumerate(lines):
        if not line.strip(blank):
            continue
        cells = line.split(separator)
        if place == len(lines) - 1 and _is_cut(cells, width, gaps):
            warnings.warn(f"{path}: the last row is cut off and left out", stacklevel=3)
            continue
        if gaps:
            cells = _filled(cells, width)
        if len(cells) != width:
            _refuse_width(path, first + place, cells, width)
        rows.append(cells)
        places.append(first + place)
        if len(rows) * width >= _CHUNK:
            tables.append(_numbers(path, rows, places))
            rows, places = [], []
    if rows:
        tables.append(_numbers(path, rows, places))
    return np.concatenate(tables)


def _is_cut(cells: Sequence[str], width: int, gaps: bool) -> bool:
    """Whether a row that no line feed follows is too short, or ends within a number."""
    last = cells[-1].strip()
    return len(cells) < width or (len(cells) == width and not is_number("nan" if gaps and not last else last))


def _filled(cells: list[str], width: int) -> list[str]:
    """A row with NaN in its gaps; empty cells beyond the width are dropped."""
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    return [cell if cell and not cell.isspace() else "nan" for cell in cells] + ["nan"] * (width - len(cells))


def parse_number(path: str | os.PathLike[str], text: str, what: str) -> float:
    """One finite number.

    Raises:
        FormatError: it is none; the message says of `what`.
    """
    with suppress(ValueError):
        value = float(text)
        if np.isfinite(value):
            return value
    raise FormatError(f"{path}: {what} is '{text[:40]}', expected a number{decimal_comma_hint(text)}")


def is_number(text: str) -> bool:
    """Whether Python reads a text as a number; NaN and infinity are some."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def decimal_comma_hint(text: str) -> str:
    """What to add to the message about a text that is no number, if decimal commas may be why."""
    return "; decimal commas? export it with decimal points" if _COMMA.search(text) else ""


def _numbers(path: str | os.PathLike[str], rows: list[list[str]], places: list[int]) -> npt.NDArray[np.float64]:
    with suppress(ValueError):
        return np.array(rows, dtype=np.float64)
    for place, row in zip(places, rows, strict=True):
        for cell in row:
            if not is_number(cell):
                hint = decimal_comma_hint(cell)
                raise FormatError(f"{path}, line {place}: '{cell.strip()[:40]}' is not a number{hint}")
    raise FormatError(f"{path}: rows of numbers cannot be read")


def _refuse_width(path: str | os.PathLike[str], place: int, cells: list[str], width: int) -> None:
    hint = next((hint for cell in cells if cell.count(",") == 1 and (hint := decimal_comma_hint(cell))), "")
    raise FormatError(f"{path}, line {place}: {len(cells)} numbers, expected {width}{hint}")

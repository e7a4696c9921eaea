"""Checks of one column of a table: what is wrong is told with the column and the first rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import InputError, ShapeError

Array = npt.NDArray[Any]

LISTED = 5
"""Rows that a message names before it only counts them."""


def check_text(name: str, column: Array, count: int, *, allowed: Sequence[str] = ()) -> None:
    """See that a column is `count` texts, of those `allowed` if any are given.

    Raises:
        ShapeError: it has another shape, or is no text.
        InputError: a text is none of those allowed.
    """
    if column.shape != (count,) or column.dtype.kind != "U":
        raise ShapeError(f"{name}: expected ({count},) text, got {column.shape} of {column.dtype}")
    if allowed and len(wrong := np.flatnonzero(~np.isin(column, allowed))):
        raise InputError(f"{name}: expected {', '.join(allowed)}, got '{column[wrong[0]]}' in {rows_named(wrong)}")


def check_integers(name: str, column: Array, count: int, *, least: int = 0, below: int | None = None) -> None:
    """See that a column is `count` integers from `least` to `below` - 1.

    Raises:
        ShapeError: it has another shape, or no integers.
        InputError: one lies outside.
    """
    if column.shape != (count,) or column.dtype.kind not in "iu":
        raise ShapeError(f"{name}: expected ({count},) integers, got {column.shape} of {column.dtype}")
    wrong = np.flatnonzero((column < least) | (column >= below if below is not None else False))
    if len(wrong):
        limits = f"{least} or more" if below is None else f"{least} to {below - 1}"
        raise InputError(f"{name}: expected {limits}, got {column[wrong[0]]} in {rows_named(wrong)}")


def check_numbers(name: str, column: Array, shape: tuple[int, ...], *, kinds: str = "f") -> None:
    """See that a column has a shape and holds numbers of some kinds (NumPy's letters); infinities are refused.

    Raises:
        ShapeError: it has another shape or kind.
        InputError: a number is infinite.
    """
    if column.shape != shape or column.dtype.kind not in kinds:
        words = {"f": "floating-point numbers", "b": "booleans"}
        raise ShapeError(
            f"{name}: expected {shape} {' or '.join(words.get(kind, kind) for kind in kinds)}, "
            f"got {column.shape} of {column.dtype}"
        )
    if column.dtype.kind == "f" and np.isinf(column).any():
        wrong = np.flatnonzero(np.isinf(column).reshape(len(column), -1).any(axis=1))
        raise InputError(f"{name}: infinite in {rows_named(wrong)}; what is missing is NaN")


def rows_named(rows: npt.ArrayLike) -> str:
    """Words for some rows, the first few by number."""
    found = np.asarray(rows).tolist()
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"row{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:LISTED]))}{more}"

"""The pixel budget: how large a picture may be before anybody decodes it."""

from __future__ import annotations

from pathlib import Path

from marey.core.errors import FormatError, InputError

MAX_PIXELS = 150_000_000
"""More than any camera of today takes; a few bytes of a crafted file can claim far more and fill the memory."""


def check_pixels(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture by the size that its header claims.

    Raises:
        FormatError: the header claims no pixels.
        InputError: it claims more than the budget.
    """
    if width < 1 or height < 1:
        raise FormatError(f"{path}: its header says {width} x {height} pixels")
    if width * height > max_pixels:
        raise InputError(
            f"{path}: {width} x {height} pixels, more than the budget of {max_pixels}; pass max_pixels= if it is meant"
        )

"""PNG files whose pixels are numbers into a palette, such as segmentations: the numbers, not the colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core import FormatError
from marey.io.images import read_image
from marey.io.text import read_bytes_limited

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3
_MOST_BYTES = 256 << 20


def read_palette_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read the numbers (H, W) of a PNG with a palette, or the values of a grey one of 8 bits.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such PNG, a damaged one, or two numbers in use have the same colour.
    """
    chunks = dict(_chunks(path, read_bytes_limited(path, most_bytes=_MOST_BYTES)))
    header = chunks.get(b"IHDR", b"")
    if len(header) != 13 or header[9] not in (_GREY, _PALETTE) or (header[9] == _GREY and header[8] != 8):
        raise FormatError(f"{path}: expected a PNG with a palette, or a grey one of 8 bits, as segmentations are")
    image = read_image(path)
    if header[9] == _GREY:
        return np.ascontiguousarray(image[..., 0])
    palette = np.frombuffer(chunks.get(b"PLTE", b""), np.uint8)
    if not palette.size or palette.size % 3:
        raise FormatError(f"{path}: its palette is damaged")
    return _numbers(path, image, palette.reshape(-1, 3))


def _numbers(path: Path, image: npt.NDArray[np.uint8], palette: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """For each pixel (H, W, 3) the place of its colour in the palette (N, 3)."""
    weights = np.array([1 << 16, 1 << 8, 1])
    colours, used = palette.astype(np.int64) @ weights, image.astype(np.int64) @ weights
    shown, place = np.unique(used, return_inverse=True)
    order = np.argsort(colours, kind="stable")
    first = np.searchsorted(colours, shown, sorter=order)
    last = np.searchsorted(colours, shown, sorter=order, side="right")
    if (last - first != 1).any():
        raise FormatError(f"{path}: two numbers of its palette have the same colour, so they cannot be told apart")
    numbers: npt.NDArray[np.uint8] = order[first].astype(np.uint8)[place.reshape(image.shape[:2])]
    return numbers


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the parts of a PNG before its pixels."""
    if not data.startswith(_SIGNATURE):
        raise FormatError(f"{path}: not a PNG")
    place = len(_SIGNATURE)
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"IDAT":
            return
        yield kind, data[place + 8 : place + 8 + length]
        place += 12 + length

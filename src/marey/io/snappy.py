"""Decompression of Snappy's raw format, which tables of LevelDB may use.

The format is described in `format_description.txt` of https://github.com/google/snappy.
"""

from __future__ import annotations

from marey.core.errors import FormatError
from marey.io.protobuf_fields import read_varint

_BEST_RATIO = 22
"""Three bytes stand for 64 at most."""


def decompress_snappy(data: bytes) -> bytes:
    """The bytes that a compressed run stands for.

    Raises:
        FormatError: the run is damaged, or promises more than so few bytes can stand for.
    """
    size, place = read_varint(data, 0)
    if size > _BEST_RATIO * len(data):
        raise FormatError(f"{len(data)} bytes of Snappy promise {size}, more than is possible; it is damaged")
    unpacked = bytearray()
    while place < len(data):
        if data[place] & 3 == 0:
            length, place = _literal(data, place)
            unpacked += data[place : place + length]
            place += length
        else:
            length, offset, place = _copy(data, place)
            _repeat(unpacked, offset, length)
        if len(unpacked) > size:
            break
    if len(unpacked) != size:
        raise FormatError(f"Snappy unpacks to {len(unpacked)} bytes, expected {size}; it is damaged")
    return bytes(unpacked)


def _literal(data: bytes, place: int) -> tuple[int, int]:
    """How many bytes follow as they are, and where."""
    length = data[place] >> 2
    place += 1
    if length >= 60:  # the length itself follows, in so many bytes
        extra = length - 59
        length = int.from_bytes(data[place : place + extra], "little")
        place += extra
    if length + 1 > len(data) - place:
        raise FormatError("Snappy ends within a literal; it is cut off")
    return length + 1, place


def _copy(data: bytes, place: int) -> tuple[int, int, int]:
    """How many bytes to repeat, from how far back, and the place after the element."""
    tag = data[place]
    extra = {1: 1, 2: 2, 3: 4}[tag & 3]
    if place + 1 + extra > len(data):
        raise FormatError("Snappy ends within a copy; it is cut off")
    offset = int.from_bytes(data[place + 1 : place + 1 + extra], "little")
    if extra == 1:
        return (tag >> 2 & 7) + 4, (tag >> 5 << 8) | offset, place + 2
    return (tag >> 2) + 1, offset, place + 1 + extra


def _repeat(unpacked: bytearray, offset: int, length: int) -> None:
    """Append what lies `offset` back; a copy longer than that repeats itself."""
    if not 0 < offset <= len(unpacked):
        raise FormatError("Snappy copies from before the beginning; it is damaged")
    run = unpacked[len(unpacked) - offset : len(unpacked) - offset + length]
    unpacked += (run * (-(-length // len(run))))[:length]

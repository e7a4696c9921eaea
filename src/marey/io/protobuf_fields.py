"""The wire format of protocol buffers: fields by number, without a schema and without generated code.

A message is a run of (key, value); the key is a varint, the field's number times 8 plus the kind of its value. See
https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marey.core.errors import FormatError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NAMES = {_VARINT: "a varint", _FIXED64: "8 bytes", _BYTES: "a run of bytes", _FIXED32: "4 bytes"}


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, seven bits a byte, lowest first; and the place after it.

    Raises:
        FormatError: the bytes end within it, or it is longer.
    """
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise FormatError("ends within a number; it is cut off")
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, place
    raise FormatError("holds a number of more than 64 bits; it is damaged")


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message in their order: number, and an unsigned int or the bytes of a text or a message.

    Raises:
        FormatError: the message is damaged, or has groups, which nobody writes any more.
    """
    place = 0
    while place < len(message):
        key, place = read_varint(message, place)
        kind, size = key & 7, 0
        if kind == _VARINT:
            value, place = read_varint(message, place)
            yield key >> 3, value
            continue
        if kind not in _NAMES:
            raise FormatError(f"holds a field of the kind {kind}; it is damaged")
        if kind == _BYTES:
            size, place = read_varint(message, place)
        else:
            size = 8 if kind == _FIXED64 else 4
        if size > len(message) - place:
            raise FormatError("ends within a field; it is cut off")
        content = message[place : place + size]
        yield key >> 3, content if kind == _BYTES else int.from_bytes(content, "little")
        place += size


def signed(value: int) -> int:
    """The number that a varint stands for where the schema says int32 or int64."""
    return value - (1 << 64) if value >> 63 else value


def number(value: Any) -> int:
    """The value of a field that has to be a number.

    Raises:
        FormatError: it is of another kind.
    """
    if not isinstance(value, int):
        raise FormatError("holds bytes where a number belongs; it is damaged")
    return value


def content(value: Any) -> bytes:
    """The value of a field that has to be a text or a message.

    Raises:
        FormatError: it is of another kind.
    """
    if not isinstance(value, bytes):
        raise FormatError("holds a number where bytes belong; it is damaged")
    return value

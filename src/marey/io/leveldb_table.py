"""Sorted tables of LevelDB: keys and values in blocks, with an index of the blocks and a footer.

TensorFlow's `.index` files are such tables. The format is described in `doc/table_format.md` of
https://github.com/google/leveldb. The filter and statistics blocks, which only speed up look-ups, are not read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from marey.core.errors import FormatError
from marey.io.crc32c import crc32c, masked
from marey.io.protobuf_fields import read_varint
from marey.io.snappy import decompress_snappy
from marey.io.text import read_bytes_limited

MOST_BYTES = 64 << 20
"""Larger files are refused before they are read; the largest networks' tables have one."""
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5
"""Bytes after each block: how it is compressed, and a checksum."""
_SLACK, _MOST_RATIO = 1 << 20, 64
"""Keys and values may take the slack and so many times the file: keys share their beginnings, blocks are packed."""


def read_table(path: str | os.PathLike[str]) -> dict[bytes, bytes]:
    """Read a table; keys come in rising order, as they are stored.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no table, is damaged (checksums are compared) or unpacks to too much.
    """
    data = read_bytes_limited(path, most_bytes=MOST_BYTES)
    try:
        return _Table(data).read()
    except FormatError as error:
        raise FormatError(f"{path}: not a readable table: {error}") from None


class _Table:
    """The bytes of a table, and how many more it may unpack to."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _FOOTER or int.from_bytes(data[-8:], "little") != _MAGIC:
            raise FormatError("expected the magic number of LevelDB at its end; it is of another kind or cut off")
        self.data = data
        self.left = _SLACK + _MOST_RATIO * len(data)

    def read(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        last, end = b"", 0
        for offset, size in self.handles():
            if offset < end:
                raise FormatError("two blocks overlap; it is damaged")
            end = offset + size + _TRAILER
            for key, value in self.entries(self.block(offset, size)):
                if found and key <= last:
                    raise FormatError("its keys do not rise; it is damaged")
                found[key] = value
                last = key
        return found

    def handles(self) -> Iterator[tuple[int, int]]:
        """Where the blocks of data lie, by the index block, to which the footer points after one handle more."""
        footer = self.data[-_FOOTER:-8]
        place = _handle(footer, 0)[2]
        offset, size, _ = _handle(footer, place)
        for _, value in self.entries(self.block(offset, size)):
            yield _handle(value, 0)[:2]

    def block(self, offset: int, size: int) -> bytes:
        """The content of a block, unpacked."""
        if offset + size + _TRAILER > len(self.data) - _FOOTER:
            raise FormatError("a block lies outside; it is damaged or cut off")
        stored = self.data[offset : offset + size + 1]  # the checksum is of the kind too
        expected = int.from_bytes(self.data[offset + size + 1 : offset + size + _TRAILER], "little")
        if masked(crc32c(stored)) != expected:
            raise FormatError(f"the block at byte {offset} is damaged: its checksum is another")
        if stored[-1] not in (0, 1):
            raise FormatError(f"a block is compressed in a way {stored[-1]}, expected none (0) or Snappy (1)")
        unpacked = stored[:-1] if stored[-1] == 0 else decompress_snappy(stored[:-1])
        self.charge(len(unpacked))
        return unpacked

    def entries(self, block: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a block; of each key only what differs from the one before is stored."""
        restarts = int.from_bytes(block[-4:], "little")
        end = len(block) - 4 - 4 * restarts
        if len(block) < 4 or end < 0:
            raise FormatError("a block is too short for its restart points; it is damaged")
        body, place, key = block[:end], 0, b""
        while place < end:
            shared, place = read_varint(body, place)
            fresh, place = read_varint(body, place)
            size, place = read_varint(body, place)
            if shared > len(key) or fresh + size > end - place:
                raise FormatError("an entry reaches beyond its block or its predecessor; it is damaged")
            self.charge(shared)
            key = key[:shared] + body[place : place + fresh]
            yield key, body[place + fresh : place + fresh + size]
            place += fresh + size

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise FormatError(f"{len(self.data)} bytes unpack to far more than tables do; refused")


def _handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Offset and size of a block, and the place after them."""
    offset, place = read_varint(data, place)
    size, place = read_varint(data, place)
    return offset, size, place

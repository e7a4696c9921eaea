"""The parameter section of C3D files, and the three kinds of numbers that C3D files are written in.

After "The C3D File Format User Guide" (Motion Lab Systems, 2021): records of groups and parameters that point to the
next one; numbers as of Intel, DEC (VAX) or MIPS (SGI) computers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError

BLOCK = 512
INTEL, DEC, MIPS = 84, 85, 86
_TYPES = {-1: 1, 1: 1, 2: 2, 4: 4}
"""Bytes of a parameter's elements: text, bytes, whole numbers, floats."""

Value = tuple[str, ...] | npt.NDArray[np.float64]
"""Texts, or numbers, flat in the order of the file."""


@dataclass(frozen=True)
class Numbers:
    """How one kind of computer writes numbers."""

    processor: int

    @property
    def order(self) -> str:
        """Of bytes, as NumPy spells it."""
        return ">" if self.processor == MIPS else "<"

    def words(self, data: bytes) -> npt.NDArray[np.int16]:
        """Whole numbers of 16 bit with sign."""
        return np.frombuffer(data, self.order + "i2").astype(np.int16)

    def floats(self, data: bytes) -> npt.NDArray[np.float32]:
        """Numbers of single precision."""
        if self.processor != DEC:
            return np.frombuffer(data, self.order + "f4").astype(np.float32)
        halves = np.frombuffer(data, "<u2").astype(np.uint32).reshape(-1, 2)
        bits = halves[:, 0] << 16 | halves[:, 1]  # the upper half comes first
        # the exponent counts from 128 + 1 in place of 127: a quarter of what the same bits are elsewhere
        bits = np.where((bits >> 23 & 0xFF) > 2, bits - (2 << 23), np.uint32(0))
        return bits.astype(np.uint32).view(np.float32)


def parse_parameters(path: object, section: bytes, numbers: Numbers) -> dict[str, dict[str, Value]]:
    """Read group name -> parameter name -> values, names in capitals.

    Args:
        path: The file, for messages.
        section: From the section's first byte to where it ends, or the file does.
        numbers: How they are written.

    Raises:
        FormatError: a record reaches beyond the section, or points backwards.
    """
    groups: dict[int, str] = {}
    found: list[tuple[int, str, Value]] = []
    at = 4
    while at + 2 <= len(section) and section[at] != 0:
        length, group = abs(struct.unpack_from("b", section, at)[0]), struct.unpack_from("b", section, at + 1)[0]
        pointer = at + 2 + length
        if pointer + 2 > len(section):
            raise FormatError(f"{path}: its parameters end within a record; cut off?")
        name = section[at + 2 : pointer].decode("latin-1").strip().upper()
        step = int(numbers.words(section[pointer : pointer + 2])[0])
        if group < 0:
            groups[-group] = name
        else:
            found.append((group, name, _value(path, section, pointer + 2, name, numbers)))
        if step == 0:
            break
        if step < 3:
            raise FormatError(f"{path}: parameter {name[:40]!r} points backwards to the next one")
        at = pointer + step
    else:
        if at + 2 > len(section):
            raise FormatError(f"{path}: its parameters end within a record; cut off?")
    tables: dict[str, dict[str, Value]] = {name: {} for name in groups.values()}
    for group, name, value in found:
        tables.setdefault(groups.get(group, f"GROUP{group}"), {})[name] = value
    return tables


def _value(path: object, section: bytes, at: int, name: str, numbers: Numbers) -> Value:
    if at + 2 > len(section):
        raise FormatError(f"{path}: parameter {name[:40]!r} is cut off")
    kind, rank = struct.unpack_from("bB", section, at)
    if kind not in _TYPES or rank > 7:
        raise FormatError(
            f"{path}: parameter {name[:40]!r} is of type {kind} with {rank} dimensions, which C3D has not"
        )
    sizes = list(section[at + 2 : at + 2 + rank])
    count = 1
    for size in sizes:
        count *= size
    start = at + 2 + rank
    data = section[start : start + count * _TYPES[kind]]
    if len(sizes) < rank or len(data) < count * _TYPES[kind]:
        raise FormatError(f"{path}: parameter {name[:40]!r} is cut off")
    if kind == -1:
        width = sizes[0] if sizes else 1
        rows = [data[place : place + width] for place in range(0, len(data), width)] if width else []
        return tuple(row.decode("utf-8", errors="replace").strip(" \0") for row in rows)
    if kind == 1:
        return np.frombuffer(data, np.int8).astype(np.float64)
    return (numbers.words(data) if kind == 2 else numbers.floats(data)).astype(np.float64)


Written = str | Sequence[str] | int | float | npt.NDArray[np.int16]
"""One text, texts, a whole number, a float, or words."""


def packed_parameters(groups: Mapping[str, Mapping[str, Written]]) -> bytes:
    """The parameter section for Intel computers, filled up to whole blocks.

    Raises:
        InputError: it is longer than C3D can state.
    """
    records: list[tuple[bytes, bytes]] = []
    for number, (group, parameters) in enumerate(groups.items(), start=1):
        records.append((struct.pack("bb", len(group), -number) + group.encode(), b"\0"))
        for name, value in parameters.items():
            records.append((struct.pack("bb", len(name), number) + name.encode(), _packed(value) + b"\0"))
    body = b"".join(head + struct.pack("<h", 2 + len(rest)) + rest for head, rest in records) + b"\0\0"
    blocks = -(-(4 + len(body)) // BLOCK)
    if blocks > 255:
        raise InputError(f"names: {len(body)} bytes with them, more than the parameters of a C3D file can hold")
    return (bytes([1, 0x50, blocks, INTEL]) + body).ljust(blocks * BLOCK, b"\0")


def _packed(value: Written) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return struct.pack("bBB", -1, 1, len(text)) + text
    if isinstance(value, np.ndarray):
        return struct.pack("bBB", 2, 1, len(value)) + value.astype("<i2").tobytes()
    if isinstance(value, int):
        return struct.pack("<bBH", 2, 0, value)
    if isinstance(value, float):
        return struct.pack("<bBf", 4, 0, value)
    texts = [text.encode() for text in value]
    width = max(map(len, texts), default=0)
    return struct.pack("bBBB", -1, 2, width, len(texts)) + b"".join(text.ljust(width) for text in texts)

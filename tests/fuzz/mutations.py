"""Inputs made from good files by doing to them what discs, networks, editors and enemies do."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Sequence
from random import Random

TOKENS = (
    b"nan inf -inf 1e999 -1e999 1e-400 -0 0 1 -1 2 255 256 65535 65536 2147483647 2147483648 -2147483649 4294967296 "
    b"9223372036854775808 99999999999999999999999999 1,5 0x10 1_000 true false null None [] {} [[ ]] ( ) < > \" ' \\ / "
    b"# : ; = , . - + e \xff \xc3 \xe2\x80\xa8 \x00 \x1a \r \t"
).split(b" ")
TOKENS += (b"\n", b"\r\n", b" ", b"", b"\xef\xbb\xbf", b"[" * 300, b"{" * 300, b"(" * 300, b"9" * 400, b"a" * 5000)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutate(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """One to four faults in `data`; `others` lend pieces."""
    for _ in range(1 + int(4 * random.random() ** 2)):
        data = random.choice(MUTATIONS)(data, others, random)
    return data


def _place(data: bytes, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _span(data: bytes, random: Random, most: int = 64) -> slice:
    start = _place(data, random)
    return slice(start, min(len(data), start + 1 + int(most * random.random() ** 2)))


def _cut(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    return data[: _place(data, random)]


def _cut_front(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    return data[_place(data, random) :]


def _flip(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]


def _overwrite(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    span = _span(data, random, 8)
    return data[: span.start] + random.randbytes(span.stop - span.start) + data[span.stop :]


def _drop(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    span = _span(data, random)
    return data[: span.start] + data[span.stop :]


def _repeat(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    span = _span(data, random)
    return data[: span.stop] + data[span] * random.choice((1, 1, 2, 50)) + data[span.stop :]


def _move(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    span = _span(data, random)
    rest = data[: span.start] + data[span.stop :]
    place = _place(rest, random)
    return rest[:place] + data[span] + rest[place:]


def _insert(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.choice(TOKENS) + data[place:]


def _splice(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return data[: _place(data, random)] + other[_place(other, random) :]


def _change_number(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    found = list(NUMBER.finditer(data[:100_000]))
    if not found:
        return data
    match = random.choice(found)
    return data[: match.start()] + random.choice(TOKENS) + data[match.end() :]


def _change_line(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    lines = data.split(b"\n")
    place = random.randrange(len(lines))
    action = random.randrange(4)
    if action == 0:
        del lines[place]
    elif action == 1:
        lines.insert(place, lines[random.randrange(len(lines))])
    elif action == 2:
        lines[place] = b""
    else:
        words = lines[place].split()
        random.shuffle(words)
        lines[place] = b" ".join(words)
    return b"\n".join(lines)


def _large_integer(data: bytes, _: Sequence[bytes], random: Random) -> bytes:
    """Where a binary format may keep a size."""
    place, width = _place(data, random), random.choice((1, 2, 4, 8))
    value = random.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), random.randrange(2 ** (8 * width))))
    order: Callable[..., bytes] = value.to_bytes
    return data[:place] + order(width, random.choice(("little", "big"))) + data[place + width :]


MUTATIONS = (
    _cut,
    _cut_front,
    _flip,
    _flip,
    _overwrite,
    _drop,
    _repeat,
    _move,
    _insert,
    _insert,
    _splice,
    _change_number,
    _change_number,
    _change_line,
    _large_integer,
)


def mutate_archive(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """A zip archive whose members are damaged under right checksums, so that the fault reaches their reader."""
    if random.random() < 0.3:
        return mutate(data, others, random)
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    name = random.choice(list(members))
    action = random.random()
    if action < 0.1:
        del members[name]
    elif action < 0.2:
        members[random.choice(list(members))] = members[name]
    else:
        members[name] = mutate(members[name], list(members.values()), random)
    packed_again = io.BytesIO()
    with zipfile.ZipFile(packed_again, "w") as packed:
        for member, content in members.items():
            packed.writestr(member, content)
    return packed_again.getvalue()

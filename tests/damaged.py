"""What every reader has to bear: files that are cut off anywhere, or changed anywhere."""

import contextlib
import random
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marey.core import MareyError


def read_every_cut(read: Callable[[Path], Any], path: Path) -> int:
    """Read `path` cut at every byte; only a typed error or a result may come. Gives the number of results."""
    content = path.read_bytes()
    results = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for end in range(len(content)):
            path.write_bytes(content[:end])
            with contextlib.suppress(MareyError):
                read(path)
                results += 1
    path.write_bytes(content)
    return results


def read_changed(read: Callable[[Path], Any], path: Path, content: bytes, junk: bytes, place: int, cut: int) -> None:
    """Read `content` with some bytes replaced by others; only a typed error or a result may come."""
    path.write_bytes(content[:place] + junk + content[place + cut :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(MareyError):
            read(path)


TOKENS = (
    *(b"nan", b"inf", b"-1", b"0", b"1e308", b"1e-320", b"9" * 400, b"1,5", b"true", b"null", b"-", b"="),
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b"<",
        b">",
        b"&",
        b'"',
        b"'",
        b"#",
        b",",
        b"\n",
        b"\r",
        b"\x00",
        b"\xff",
        b"\xe2\x80\xa8",
    ),
)
"""What breaks parsers."""


def mutated(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four random changes: tokens, bytes, parts repeated or removed, numbers replaced."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place, kind = chance.randrange(len(changed) + 1), chance.randrange(5)
        if kind == 0:
            changed[place : place + chance.randint(0, 12)] = chance.choice(TOKENS)
        elif kind == 1:
            changed[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 2:
            start = chance.randrange(len(changed) + 1)
            changed[place:place] = changed[start : start + chance.randint(0, 60)]
        elif kind == 3:
            del changed[place : place + chance.randint(0, 60)]
        elif numbers := list(re.finditer(rb"[0-9.]+", changed)):
            number = chance.choice(numbers)
            changed[number.start() : number.end()] = chance.choice(TOKENS)
    return bytes(changed)

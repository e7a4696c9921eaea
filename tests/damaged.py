"""What every reader has to bear: files that are cut off anywhere, or changed anywhere."""

import contextlib
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

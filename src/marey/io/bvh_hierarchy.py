"""The hierarchy of BVH files: nested joints, read without recursion and without trust."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from marey.core.errors import FormatError
from marey.io.number_rows import parse_number

MOST_JOINTS = 10_000
"""In one file; a hand has twenty, a face of capture systems hundreds."""
CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")
_MOST_CHANNELS = 6
_NAMES = {name.lower(): name for name in CHANNELS}


@dataclass
class BvhJoint:
    """One ROOT, JOINT or End Site as it stands in the file."""

    name: str
    """As written, white space inside it kept; of an End Site empty."""
    parent: int
    """Place in the list; -1 for the root."""
    line: int
    """Where it is declared, for messages."""
    end_site: bool
    offset: tuple[float, float, float] | None = None
    """In the file's unit."""
    channels: tuple[str, ...] | None = field(default=None)
    """In the file's order, spelt as in `CHANNELS`."""


def parse_hierarchy(path: str | os.PathLike[str], lines: Sequence[str]) -> tuple[list[BvhJoint], int]:
    """Read the joints in the order of the file, and find the place of the line after MOTION.

    Raises:
        FormatError: it is not BVH; braces do not match; a joint has no name, no offset or no channels, or is one too
            many.
    """
    if not lines or "HIERARCHY" not in [line.strip().upper() for line in lines[:64] if line.strip()][:1]:
        raise FormatError(f"{path}: not a BVH file; expected HIERARCHY in its first line")
    reading = _Reading(path)
    for place, words in _statements(lines):
        keyword = words[0].upper()
        if keyword == "MOTION":
            return reading.finished(), place
        if keyword != "HIERARCHY":
            reading.take(place, keyword, words[1:])
    raise FormatError(f"{path}: ends within its hierarchy, before MOTION; cut off?")


def _statements(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Line numbers from 1 and words; braces stand alone, wherever they are in a line."""
    for number, line in enumerate(lines, start=1):
        for piece in re.split(r"([{}])", line) if "{" in line or "}" in line else (line,):
            words = piece.split()
            if words:
                yield number, words


class _Reading:
    """The joints so far, those whose braces are open, and whether one waits for its opening brace."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self.joints: list[BvhJoint] = []
        self.open: list[int] = []
        self.declared = False

    def take(self, line: int, keyword: str, words: list[str]) -> None:
        if self.declared != (keyword == "{"):
            raise self._error(line, f"'{keyword[:40]}' where {'{' if self.declared else 'a joint'} was expected")
        if keyword in ("ROOT", "JOINT", "END"):
            self._declare(line, keyword, words)
        elif keyword == "{":
            self.open.append(len(self.joints) - 1)
            self.declared = False
        elif not self.open:
            raise self._error(line, f"'{keyword[:40]}' outside every joint")
        elif keyword == "}":
            self._close()
        elif keyword == "OFFSET":
            self._offset(line, words)
        elif keyword == "CHANNELS":
            self._channels(line, words)
        else:
            raise self._error(line, f"'{keyword[:40]}' is no word of BVH")

    def finished(self) -> list[BvhJoint]:
        if self.open or self.declared:
            raise FormatError(f"{self.path}: {len(self.open)} joints are not closed with }} before MOTION")
        if not self.joints:
            raise FormatError(f"{self.path}: its hierarchy has no joint")
        return self.joints

    def _declare(self, line: int, keyword: str, words: list[str]) -> None:
        if (keyword == "ROOT") == bool(self.open):
            raise self._error(line, f"{keyword} {'inside' if self.open else 'outside'} a joint")
        if keyword == "ROOT" and self.joints:
            raise self._error(line, "a second ROOT; one person a file can be read, split the file")
        if self.open and self.joints[self.open[-1]].end_site:
            raise self._error(line, f"{keyword} inside an End Site")
        if len(self.joints) == MOST_JOINTS:
            raise self._error(line, f"more than {MOST_JOINTS} joints")
        name = "" if keyword == "END" else " ".join(words)
        if not name and keyword != "END":
            raise self._error(line, f"{keyword} without a name")
        parent = self.open[-1] if self.open else -1
        self.joints.append(BvhJoint(name=name, parent=parent, line=line, end_site=keyword == "END"))
        self.declared = True

    def _close(self) -> None:
        joint = self.joints[self.open.pop()]
        named = f"joint '{joint.name}'" if joint.name else "End Site"
        if joint.offset is None:
            raise self._error(joint.line, f"{named} has no OFFSET")
        if joint.channels is None and not joint.end_site:
            raise self._error(joint.line, f"{named} has no CHANNELS")

    def _offset(self, line: int, words: list[str]) -> None:
        if len(words) != 3:
            raise self._error(line, f"OFFSET of {len(words)} numbers, expected 3")
        x, y, z = (parse_number(self.path, word, f"line {line}: OFFSET") for word in words)
        self.joints[self.open[-1]].offset = (x, y, z)

    def _channels(self, line: int, words: list[str]) -> None:
        joint = self.joints[self.open[-1]]
        count, names = words[:1], words[1:]
        if count != [str(len(names))] or len(names) > _MOST_CHANNELS:
            raise self._error(
                line, f"CHANNELS {' '.join(words)[:60]}: expected their number, at most 6, and their names"
            )
        unknown = [name for name in names if name.lower() not in _NAMES]
        if unknown:
            raise self._error(line, f"channel '{unknown[0][:40]}', expected one of {', '.join(CHANNELS)}")
        channels = tuple(_NAMES[name.lower()] for name in names)
        placed = [name for name in channels if name.endswith("position")]
        if joint.end_site or joint.channels is not None or len(set(placed)) != len(placed):
            raise self._error(line, "CHANNELS of an End Site, given twice, or of one position twice")
        joint.channels = channels

    def _error(self, line: int, message: str) -> FormatError:
        return FormatError(f"{self.path}, line {line}: {message}")

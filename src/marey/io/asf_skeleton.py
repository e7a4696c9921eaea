"""ASF, the skeleton file of Acclaim: bones with directions, lengths, axes, degrees of freedom and limits.

The format is described in Lander, "Working with motion capture file formats", Game Developer, January 1998; the
motion capture database of Carnegie Mellon University is published in it. `marey.io.asf_amc` reads the motion itself.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from marey.core.errors import FormatError
from marey.io.naming import listed
from marey.io.number_rows import parse_number
from marey.io.text import LONGEST_LINE, read_text_limited

ROOT = "root"
MOST_BONES = 10_000
"""In one file."""
_TURNS = ("rx", "ry", "rz")
_PLACES = ("tx", "ty", "tz")
_LIMIT = re.compile(r"\(\s*([^\s()]+)\s+([^\s()]+)\s*\)")
_ANGLES = {"deg": math.radians(1), "degree": math.radians(1), "degrees": math.radians(1), "rad": 1.0, "radians": 1.0}

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class AsfBone:
    """One bone as it stands in the file; the root has no length."""

    name: str
    direction: Vector = (0.0, 0.0, 0.0)
    """Unit vector in the rest pose, in the world's axes."""
    length: float = 0.0
    """In the file's unit."""
    axis: Vector = (0.0, 0.0, 0.0)
    """Radians, about the fixed axes in `axis_order`: the axes that the degrees of freedom turn about."""
    axis_order: str = "XYZ"
    dof: tuple[str, ...] = ()
    """In the order of the motion file: rx, ry, rz, of the root tx, ty, tz too."""
    limits: tuple[tuple[float, float], ...] = ()
    """Of each degree of freedom, radians; empty where the file has none."""


@dataclass(frozen=True, kw_only=True)
class AsfSkeleton:
    """A skeleton; the first bone is the root, and every other comes after the one that it hangs on."""

    bones: tuple[AsfBone, ...]
    parents: tuple[int, ...]
    length_factor: float
    """What the file calls the unit of length: its lengths are divided by it."""
    place: Vector
    """Of the root where the motion says 0, in the file's unit."""
    name: str


def read_asf(path: str | os.PathLike[str]) -> AsfSkeleton:
    """Read a skeleton.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not ASF, or malformed; the message names the line.
    """
    path = Path(path)
    lines = read_text_limited(path, longest_line=LONGEST_LINE).split("\n")
    sections = _sections(path, lines)
    for needed in ("root", "bonedata", "hierarchy"):
        if needed not in sections:
            raise FormatError(f"{path}: no section :{needed}; not an ASF skeleton, or cut off")
    factor, radians = _units(path, sections.get("units", []))
    root, place = _root(path, sections["root"], radians)
    bones = [root, *_bones(path, sections["bonedata"], radians)]
    names = [bone.name for bone in bones]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1] if len(set(names)) < len(names) else []
    if repeated:
        raise FormatError(f"{path}: bones of one name: {listed(repeated)}")
    above = _hierarchy(path, sections["hierarchy"], names)
    order = _outwards(path, names, above)
    return AsfSkeleton(
        bones=tuple(bones[names.index(name)] for name in order),
        parents=tuple(order.index(above[name]) if name in above else -1 for name in order),
        length_factor=factor,
        place=place,
        name=_name(path, lines),
    )


_Line = tuple[int, list[str]]


def _sections(path: Path, lines: list[str]) -> dict[str, list[_Line]]:
    """Numbered lines of words by the keyword with a colon that they follow."""
    sections: dict[str, list[_Line]] = {}
    current: list[_Line] | None = None
    for number, line in enumerate(lines, start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            keyword = words[0][1:].lower()
            if keyword in ("root", "bonedata", "hierarchy", "units") and keyword in sections:
                raise FormatError(f"{path}, line {number}: a second :{keyword}; one person a file can be read")
            current = sections.setdefault(keyword, [])
        elif current is None:
            raise FormatError(f"{path}, line {number}: expected a section such as :root; is this an ASF skeleton?")
        else:
            current.append((number, words))
    return sections


def _name(path: Path, lines: list[str]) -> str:
    found = next((line.split(None, 1) for line in lines if line.lower().startswith(":name")), [])
    return found[1].strip() if len(found) > 1 else path.stem


def _units(path: Path, lines: list[_Line]) -> tuple[float, float]:
    """What lengths are divided by, and the radians in one unit of angle."""
    factor, radians = 1.0, math.radians(1)
    for number, words in lines:
        keyword, value = words[0].lower(), " ".join(words[1:])
        if keyword == "length":
            factor = parse_number(path, value, f"line {number}: the unit of length")
            if not factor > 0:
                raise FormatError(f"{path}, line {number}: the unit of length is {factor:g}, expected more than 0")
        elif keyword == "angle":
            if value.lower() not in _ANGLES:
                raise FormatError(f"{path}, line {number}: the unit of angle is '{value[:40]}', expected deg or rad")
            radians = _ANGLES[value.lower()]
    return factor, radians


def _root(path: Path, lines: list[_Line], radians: float) -> tuple[AsfBone, Vector]:
    bone, place = AsfBone(name=ROOT), (0.0, 0.0, 0.0)
    for number, words in lines:
        keyword, values = words[0].lower(), words[1:]
        if keyword == "order":
            bone = replace(bone, dof=_degrees_of_freedom(path, number, values, allowed=_PLACES + _TURNS))
        elif keyword == "axis":
            bone = replace(bone, axis_order=_axis_order(path, number, values))
        elif keyword == "position":
            place = _vector(path, number, values)
        elif keyword == "orientation":
            x, y, z = _vector(path, number, values)
            bone = replace(bone, axis=(x * radians, y * radians, z * radians))
    if not bone.dof:
        raise FormatError(f"{path}: the :root has no 'order', which says what the numbers of its motion are")
    return bone, place


def _bones(path: Path, lines: list[_Line], radians: float) -> Iterator[AsfBone]:
    """The blocks between begin and end."""
    block: list[_Line] | None = None
    count = 0
    for number, words in lines:
        keyword = words[0].lower()
        if (keyword == "begin") != (block is None):
            raise FormatError(
                f"{path}, line {number}: '{words[0][:40]}' where {'begin' if block is None else 'end'} was"
            )
        if keyword == "begin":
            block = []
        elif keyword == "end":
            count += 1
            if count > MOST_BONES:
                raise FormatError(f"{path}, line {number}: more than {MOST_BONES} bones")
            yield _bone(path, number, block or [], radians)
            block = None
        elif block is not None:
            block.append((number, words))
    if block is not None:
        raise FormatError(f"{path}: ends within a bone; cut off?")


def _bone(path: Path, last: int, lines: list[_Line], radians: float) -> AsfBone:
    bone = AsfBone(name="")
    limits: list[tuple[float, float]] = []
    for number, words in lines:
        keyword, values = words[0].lower(), words[1:]
        if keyword == "name" and values:
            bone = replace(bone, name=values[0])
        elif keyword == "direction":
            bone = replace(bone, direction=_unit(path, number, _vector(path, number, values)))
        elif keyword == "length":
            bone = replace(bone, length=_length(path, number, values))
        elif keyword == "axis":
            x, y, z = _vector(path, number, values[:3])
            bone = replace(bone, axis=(x * radians, y * radians, z * radians))
            bone = replace(bone, axis_order=_axis_order(path, number, values[3:]))
        elif keyword == "dof":
            bone = replace(bone, dof=_degrees_of_freedom(path, number, values, allowed=_TURNS))
        elif keyword == "limits" or keyword.startswith("("):
            limits += _limits(path, number, " ".join(words), radians)
    missing = [what for what, there in (("name", bone.name), ("direction", any(bone.direction))) if not there]
    if missing:
        raise FormatError(f"{path}, line {last}: a bone without a {missing[0]}")
    if limits and len(limits) != len(bone.dof):
        raise FormatError(f"{path}, line {last}: bone {bone.name} has {len(limits)} limits for {len(bone.dof)} dof")
    return replace(bone, limits=tuple(limits))


def _vector(path: Path, number: int, values: list[str]) -> Vector:
    if len(values) != 3:
        raise FormatError(f"{path}, line {number}: {len(values)} numbers, expected 3")
    x, y, z = (parse_number(path, value, f"line {number}: a coordinate") for value in values)
    return x, y, z


def _unit(path: Path, number: int, vector: Vector) -> Vector:
    length = math.hypot(*vector)
    if not length > 0:
        raise FormatError(f"{path}, line {number}: the direction has no length")
    return vector[0] / length, vector[1] / length, vector[2] / length


def _length(path: Path, number: int, values: list[str]) -> float:
    length = parse_number(path, " ".join(values), f"line {number}: length")
    if length < 0:
        raise FormatError(f"{path}, line {number}: a length of {length:g}, expected 0 or more")
    return length


def _axis_order(path: Path, number: int, values: list[str]) -> str:
    order = "".join(values).upper()
    if sorted(order) != ["X", "Y", "Z"]:
        raise FormatError(f"{path}, line {number}: axis order '{order[:40]}', expected X, Y and Z in some order")
    return order


def _degrees_of_freedom(path: Path, number: int, values: list[str], *, allowed: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(value.lower() for value in values)
    unknown = [name for name in names if name not in allowed]
    if unknown or len(set(names)) != len(names):
        raise FormatError(
            f"{path}, line {number}: degrees of freedom '{' '.join(values)[:60]}', expected some of "
            f"{', '.join(allowed)}, each once; bones that stretch or slide cannot be read"
        )
    return names


def _limits(path: Path, number: int, text: str, radians: float) -> list[tuple[float, float]]:
    pairs = _LIMIT.findall(text)
    rest = _LIMIT.sub("", text).strip().lower()
    if rest not in ("", "limits"):
        raise FormatError(f"{path}, line {number}: limits '{text[:60]}', expected pairs such as (-20.0 45.0)")
    found: list[tuple[float, float]] = []
    for low, high in pairs:
        values = [_limit(path, number, value, radians) for value in (low, high)]
        found.append((values[0], values[1]))
    return found


def _limit(path: Path, number: int, text: str, radians: float) -> float:
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return -math.inf if text.startswith("-") else math.inf
    return parse_number(path, text, f"line {number}: a limit") * radians


def _hierarchy(path: Path, lines: list[_Line], names: list[str]) -> dict[str, str]:
    """For each bone but the root the one that it hangs on."""
    known, above = set(names), dict[str, str]()
    for number, words in lines:
        if len(words) == 1 and words[0].lower() in ("begin", "end"):
            continue
        unknown = [word for word in words if word not in known]
        if unknown:
            raise FormatError(f"{path}, line {number}: no bone '{unknown[0][:40]}' in :bonedata")
        for child in words[1:]:
            if child in above or child == ROOT:
                raise FormatError(f"{path}, line {number}: '{child}' hangs on two bones, or is the root")
            above[child] = words[0]
    return above


def _outwards(path: Path, names: list[str], above: dict[str, str]) -> list[str]:
    """The names from the root outwards, otherwise in the file's order."""
    children: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        if name in above:
            children[above[name]].append(name)
    order = [ROOT]
    for name in order:  # grows while it is walked
        order += children[name]
    if len(order) < len(names):
        lost = [name for name in names if name not in set(order)]
        raise FormatError(f"{path}: bones that do not hang on the root: {listed(lost)}")
    return order

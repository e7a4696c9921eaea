"""From one file format to another: the kinds of things that files hold, and the formats of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from marey.core import Cameras, FormatError, InputError
from marey.io.camera_files import CAMERA_FORMATS, camera_formats_of, target_camera_format
from marey.io.formats import FileFormat
from marey.pipeline.motion_conversion import (
    ANGLE_FORMATS,
    JOINT_FORMATS,
    MOTION_FORMATS,
    joint_formats_of,
    motion_formats_of,
    motions_of_take,
    read_joints,
    read_motions,
    take_of_motions,
    target_format,
    told_motions,
    told_take,
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of thing that files hold, and how to know its formats."""

    formats: Mapping[str, FileFormat]
    """By the name that `--from` and `--to` take."""
    found: Callable[[Path], list[str]]
    """The formats that an existing file or folder may be: none, one, or several."""
    meant: Callable[[Path], str]
    """The format that the name of a file to be written means; raises FormatError."""
    read: Callable[[FileFormat, Path, str | float | None], Any]
    """Read with a unit or None."""
    told: Callable[[Any], str]
    """What was read, in a few words."""
    becomes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """Other kinds that it can be turned into, and how."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was done."""

    kind: str
    """What the input holds."""
    source: str
    """The input's format."""
    target: str
    """The output's format."""
    content: str
    """What was converted, in a few words."""


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    unit: str | float | None = None,
) -> Conversion:
    """Read a file of one format and write it in another of its kind, or of a kind that it can become.

    Args:
        source: File or folder.
        target: File or folder to write.
        from_format: Of the input. None: found by its name and content.
        to_format: Of the output. None: by the end of its name.
        unit: Of the input, if it does not state it: a name, or the metres in one unit.

    Raises:
        FormatError: a format is unknown, ambiguous or violated.
        InputError: the input's kind cannot become the output's, a file cannot be read or written.
        CalibrationError: the format cannot hold these cameras, or their unit is implausible.
    """
    source, target = Path(source), Path(target)
    kind, reader = _source(source, from_format)
    goal, writer = _target(target, to_format, kind)
    if not KINDS[goal].formats[writer].writer:
        raise InputError(f"{writer} can be read, not written; from {kind} one can write {_writable(kind)}")
    content = KINDS[kind].read(KINDS[kind].formats[reader], source, unit)
    turned = content if goal == kind else KINDS[kind].becomes[goal](content)
    KINDS[goal].formats[writer].write(target, turned)
    return Conversion(kind=kind, source=reader, target=writer, content=KINDS[kind].told(content))


def _source(path: Path, name: str | None) -> tuple[str, str]:
    """Kind and format of the input."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if name is not None:
        kinds = [kind for kind, entry in KINDS.items() if name in entry.formats]
        if not kinds:
            raise InputError(f"no format is called '{name}'; known: {_known()}")
        found = [(kind, name) for kind in kinds if len(kinds) == 1 or name in KINDS[kind].found(path)]
    else:
        found = [(kind, name) for kind, entry in KINDS.items() for name in entry.found(path)]
    if len(found) == 1:
        return found[0]
    seen = " and ".join(f"{name} ({kind})" for kind, name in found)
    problem = f"may be {seen}; say which with --from" if found else "is in no format that is known"
    raise FormatError(f"{path} {problem}. Known: {_known()}")


def _target(path: Path, name: str | None, kind: str) -> tuple[str, str]:
    """Kind and format of the output."""
    reachable = [kind, *KINDS[kind].becomes]
    if name is not None:
        goals = [goal for goal in reachable if name in KINDS[goal].formats]
        if goals:
            return goals[0], name
        if any(name in entry.formats for entry in KINDS.values()):
            raise InputError(f"{kind} cannot become '{name}'; from {kind} one can write {_writable(kind)}")
        raise InputError(f"no format is called '{name}'; known: {_known()}")
    for goal in reachable:
        try:
            return goal, KINDS[goal].meant(path)
        except FormatError:
            continue
    raise FormatError(f"{path}: its name does not say the format; say --to with one of {_writable(kind)}")


def _writable(kind: str) -> str:
    goals = [kind, *KINDS[kind].becomes]
    return ", ".join(name for goal in goals for name, entry in KINDS[goal].formats.items() if entry.writer)


def _known() -> str:
    return "; ".join(f"{kind}: {', '.join(entry.formats)}" for kind, entry in KINDS.items())


def _read_cameras(entry: FileFormat, path: Path, unit: str | float | None) -> Cameras:
    cameras: Cameras = entry.read(path, unit=unit, dtype=torch.float64)
    return cameras


def _told_cameras(cameras: Cameras) -> str:
    names = ", ".join(cameras.names)
    return f"{len(cameras.names)} cameras ({names}){'' if cameras.has_extrinsics else ', intrinsics only'}"


KINDS: dict[str, Kind] = {
    "cameras": Kind(
        formats=CAMERA_FORMATS,
        found=camera_formats_of,
        meant=target_camera_format,
        read=_read_cameras,
        told=_told_cameras,
    ),
    "joints": Kind(
        formats=JOINT_FORMATS,
        found=joint_formats_of,
        meant=target_format(JOINT_FORMATS),
        read=read_joints,
        told=told_take,
        becomes={"motion": motions_of_take, "angles": motions_of_take},
    ),
    "motion": Kind(
        formats=MOTION_FORMATS,
        found=motion_formats_of,
        meant=target_format(MOTION_FORMATS),
        read=read_motions,
        told=told_motions,
        becomes={"joints": take_of_motions},
    ),
    "angles": Kind(
        formats=ANGLE_FORMATS,
        found=lambda _: [],
        meant=target_format(ANGLE_FORMATS),
        read=read_motions,
        told=told_motions,
    ),
}
"""What files hold. A new kind is a row here, and `becomes` in the rows of those that can be turned into it."""

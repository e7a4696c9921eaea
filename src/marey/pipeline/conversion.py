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
from marey.pipeline.conversion_parts import Unstated, read_with, target_format
from marey.pipeline.dataset_files import keypoints_of
from marey.pipeline.joint_conversion import JOINT_FORMATS, joint_formats_of, told_joints
from marey.pipeline.keypoint_conversion import KEYPOINT_FORMATS, keypoint_formats_of, told_views
from marey.pipeline.motion_conversion import (
    ANGLE_FORMATS,
    MOTION_FORMATS,
    joints_of_motions,
    motion_formats_of,
    motions_of_joints,
    told_motions,
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
    read: Callable[[FileFormat, Path, Unstated], Any]
    """Read with what the user says that the file does not."""
    told: Callable[[Any], str]
    """What was read, in a few words."""
    becomes: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    """Other kinds that it can be turned into, and how."""
    instead: str = ""
    """What to do where it cannot become what was asked for."""


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
    files: tuple[Path, ...]
    """What was written: the target, or a file for each person or view beside it."""


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    unit: str | float | None = None,
    skeleton: str | None = None,
    fps: float | None = None,
) -> Conversion:
    """Read a file of one format and write it in another of its kind, or of a kind that it can become.

    Args:
        source: File or folder.
        target: File or folder to write.
        from_format: Of the input. None: found by its name and content.
        to_format: Of the output. None: by the end of its name.
        unit: Of the input, if it does not state it: a name, or the metres in one unit.
        skeleton: What the joints of the input are, if it does not state it; see `marey info skeletons`.
        fps: Frames per second of the input, if it does not state them.

    Returns:
        What was read, as what, and the files that were written: a target that holds one person or one view gets the
        others beside it, named by number or view, with a warning.

    Raises:
        FormatError: a format is unknown, ambiguous or violated.
        InputError: the input's kind cannot become the output's, something is said that the input itself states, a file
            cannot be read or written.
        CalibrationError: the format cannot hold these cameras, or their unit is implausible.
    """
    source, target = Path(source), Path(target)
    kind, reader = _source(source, from_format)
    if not KINDS[kind].formats[reader].reader:
        raise InputError(f"{source}: {reader} can be written, not read{_instead(kind)}")
    goal, writer = _target(target, to_format, kind)
    if not KINDS[goal].formats[writer].writer:
        raise InputError(f"{writer} can be read, not written; from {kind} one can write {_writable(kind)}")
    stated = Unstated(unit=unit, skeleton=skeleton, fps=fps)
    content = KINDS[kind].read(KINDS[kind].formats[reader], source, stated)
    turned = content if goal == kind else KINDS[kind].becomes[goal](content)
    files = KINDS[goal].formats[writer].write(target, turned) or [target]  # writers of io write what they are told
    return Conversion(
        kind=kind, source=reader, target=writer, content=KINDS[kind].told(content), files=tuple(map(Path, files))
    )


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
    others = [other for other in KINDS if other not in reachable]
    for goal in (*reachable, *others):
        meant = _meant(path, goal) if name is None else name
        if meant is not None and meant in KINDS[goal].formats:
            if goal in reachable:
                return goal, meant
            raise InputError(
                f"{kind} cannot become '{meant}'; from {kind} one can write {_writable(kind)}{_instead(kind)}"
            )
    if name is not None:
        raise InputError(f"no format is called '{name}'; known: {_known()}")
    raise FormatError(f"{path}: its name does not say the format; say --to with one of {_writable(kind)}")


def _meant(path: Path, kind: str) -> str | None:
    """The format of a kind that the name of a file means, if any."""
    try:
        return KINDS[kind].meant(path)
    except FormatError:
        return None


def _instead(kind: str) -> str:
    return f"; {KINDS[kind].instead}" if KINDS[kind].instead else ""


def _writable(kind: str) -> str:
    goals = [kind, *KINDS[kind].becomes]
    return ", ".join(name for goal in goals for name, entry in KINDS[goal].formats.items() if entry.writer)


def _known() -> str:
    return "; ".join(f"{kind}: {', '.join(entry.formats)}" for kind, entry in KINDS.items())


def _read_cameras(entry: FileFormat, path: Path, stated: Unstated) -> Cameras:
    stated.only(path, "unit")
    cameras: Cameras = entry.read(path, unit=stated.unit, dtype=torch.float64)
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
        read=read_with,
        told=told_joints,
        becomes={"motion": motions_of_joints, "angles": motions_of_joints, "keypoints": keypoints_of},
    ),
    "motion": Kind(
        formats=MOTION_FORMATS,
        found=motion_formats_of,
        meant=target_format(MOTION_FORMATS),
        read=read_with,
        told=told_motions,
        becomes={"joints": joints_of_motions},
        instead="angles are measured from Marey's own rest pose: convert the motion to csv, and that to mot",
    ),
    "angles": Kind(
        formats=ANGLE_FORMATS,
        found=lambda path: ["mot"] if path.suffix.lower() in ANGLE_FORMATS["mot"].suffixes else [],
        meant=target_format(ANGLE_FORMATS),
        read=read_with,
        told=told_motions,
        instead="angles do not say where joints are; in Python, marey.io.mot.read_mot reads the table",
    ),
    "keypoints": Kind(
        formats=KEYPOINT_FORMATS,
        found=keypoint_formats_of,
        meant=target_format(KEYPOINT_FORMATS),
        read=read_with,
        told=told_views,
        instead="`marey estimate` makes joints of keypoints and a calibration: write them as openpose, a folder a view",
    ),
}
"""What files hold. A new kind is a row here, and `becomes` in the rows of those that can be turned into it."""

"""BVH, the text files of motion capture that Blender, Maya, MotionBuilder, Unity and three.js read.

The format of Biovision, as Meredith and Maddock describe it ("Motion Capture File Formats Explained", 2001): a nested
hierarchy of joints with constant offsets, then one row of channels a frame, angles in degrees about the moving axes in
the order listed.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.errors import FormatError, InputError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import matrix_to_euler, rotvec_to_matrix
from marey.io.atomic import atomic_path
from marey.io.bvh_hierarchy import BvhJoint, parse_hierarchy
from marey.io.motion_files import JointMotion, plausible_unit, steady_motion, unique_names
from marey.io.motion_gaps import fill_motion_gaps
from marey.io.number_rows import parse_number, parse_number_rows
from marey.io.text import LONGEST_LINE, read_text_limited
from marey.io.units import metres_per_unit

END = "_end"
"""What the name of a joint ends with that is an End Site in the file: its parent's name and this."""
_AXES = "XYZ"
_DECIMALS = 6
"""Written: a millionth of a degree, or of the unit."""
_SHORTEST = 1e-6
"""Seconds of a frame that anything could have recorded."""
_ROUNDING = 2e-3
"""Of the frame rate, by which a frame time in few decimals may differ from that of a whole rate."""


def read_bvh(
    path: str | os.PathLike[str], *, unit: str | float | None = None, dtype: torch.dtype = torch.float32
) -> Motion:
    """Read one person's motion.

    The file's axes are kept (y up, as a rule). Position channels stand in place of OFFSET, as in Blender and
    MotionBuilder: those of the root are the translation; a root that only carries the one joint that moves in it is
    merged into that; other joints get their median place as offset, with a warning if it changes. End Sites that have
    a length become joints named as their parent with `_end` behind. Repeated names are numbered, with a warning.
    Frames with NaN in their row are unknown, with a warning. A number of rows other than promised, and a last row that
    is cut off, give warnings.

    Args:
        path: The file.
        unit: Of its lengths, which BVH does not state: m, cm, mm, in, or the metres in one unit. None: that of m, cm
            and mm in which the rest skeleton extends 0.5 to 2.6 m, else cm with a warning.
        dtype: Precision of the result.

    Raises:
        InputError: the file cannot be read, or the unit is unknown.
        FormatError: it is not BVH, or malformed; the message names the line.
    """
    path = Path(path)
    lines = read_text_limited(path, longest_line=LONGEST_LINE).split("\n")
    joints, start = parse_hierarchy(path, lines)
    count, seconds, start = _motion_header(path, lines, start)
    width = sum(len(joint.channels or ()) for joint in joints)
    values = parse_number_rows(path, lines[start:], first=start + 1, width=width)
    if len(values) != count:
        warnings.warn(f"{path}: {len(values)} frames, but it promises {count:.0f}; cut off?", stacklevel=2)
    kept = [place for place, joint in enumerate(joints) if not joint.end_site or any(joint.offset or ())]
    offsets = np.array([joint.offset for joint in joints], dtype=np.float64)
    metres = plausible_unit(path, _rest(joints, offsets), custom="cm") if unit is None else metres_per_unit(unit)
    names = [f"{joints[joint.parent].name}{END}" if joint.end_site else joint.name for joint in joints]
    moving = _joint_motion(path, joints, values, offsets * metres, metres=metres)
    new = {-1: -1} | {old: place for place, old in enumerate(kept)}
    parents = tuple(new[joints[place].parent] for place in kept)
    tree = JointTree(path.stem, unique_names(path, [names[place] for place in kept]), parents)
    return steady_motion(path, tree, moving.of(kept), fps=_frame_rate(seconds), dtype=dtype)


def _motion_header(path: Path, lines: Sequence[str], start: int) -> tuple[float, str, int]:
    """Promised frames, frame time as written, and the place of the first line after them."""
    found: list[str] = []
    for wanted in (r"frames\s*:?\s*(\S+)", r"frame\s*time\s*:?\s*(\S+)"):
        while start < len(lines) and not lines[start].strip():
            start += 1
        match = re.fullmatch(wanted, lines[start].strip(), re.IGNORECASE) if start < len(lines) else None
        if match is None:
            raise FormatError(f"{path}, line {start + 1}: expected {'Frame Time' if found else 'Frames'}: and a number")
        found.append(match[1])
        start += 1
    if not parse_number(path, found[1], "Frame Time") >= _SHORTEST:
        raise FormatError(f"{path}: Frame Time is {found[1][:40]}, expected seconds above 0")
    return parse_number(path, found[0], "Frames"), found[1], start


def _frame_rate(seconds: str) -> float:
    """Frames per second; a whole rate, or one of television's, if the frame time is that one's, rounded as written."""
    period = float(seconds)
    decimals = len(seconds.partition(".")[2]) if re.fullmatch(r"\d*\.\d+", seconds) else 12
    for base in (1.0, 1.001):
        rate = round(base / period) / base
        if rate > 0 and abs(1 / rate - period) <= min(0.51 * 10.0**-decimals, _ROUNDING * period):
            return rate
    return 1 / period


def _rest(joints: Sequence[BvhJoint], offsets: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Places of the joints while nothing is turned, the root at the origin."""
    places = np.zeros_like(offsets)
    for place, joint in enumerate(joints):
        if joint.parent >= 0:
            places[place] = places[joint.parent] + offsets[place]
    return places


def _joint_motion(
    path: Path,
    joints: Sequence[BvhJoint],
    values: npt.NDArray[np.float64],
    offsets: npt.NDArray[np.float64],
    *,
    metres: float,
) -> JointMotion:
    """What the rows say of all joints, in metres."""
    known = np.logical_and.reduce(np.isfinite(values), axis=1, dtype=np.bool_)
    if not known.all():
        warnings.warn(f"{path}: {int((~known).sum())} frames have no numbers and are unknown", stacklevel=3)
    values = np.where(known[:, None], values, 0.0)
    channels = [(place, name) for place, joint in enumerate(joints) for name in joint.channels or ()]
    places = np.repeat(offsets[None], len(values), axis=0)
    for column, (joint, name) in enumerate(channels):
        if name.endswith("position"):
            places[:, joint, _AXES.index(name[0])] = values[:, column] * metres
    return JointMotion(places=places, rotations=_rotations(channels, values, len(joints)), known=known)


def _rotations(channels: Sequence[tuple[int, str]], values: npt.NDArray[np.float64], count: int) -> Tensor:
    """(T, J, 3, 3): the turns of each joint one after the other, all joints at once."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(values), count, 1, 1)
    turns: list[list[tuple[int, int, int]]] = []
    taken = [0] * count
    for column, (joint, name) in enumerate(channels):
        if name.endswith("rotation"):
            if taken[joint] == len(turns):
                turns.append([])
            turns[taken[joint]].append((joint, column, _AXES.index(name[0])))
            taken[joint] += 1
    for turn in turns:  # the first turn of all joints, then their second, ...
        at, columns, axes = (list(part) for part in zip(*turn, strict=True))
        angles = torch.from_numpy(np.radians(values[:, columns]))
        vectors = angles[..., None] * torch.eye(3, dtype=torch.float64)[axes]
        rotations[:, at] = rotations[:, at] @ rotvec_to_matrix(vectors)
    return rotations


def write_bvh(
    path: str | os.PathLike[str],
    motion: Motion,
    *,
    unit: str | float = "cm",
    order: Literal["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX"] = "ZXY",
) -> None:
    """Write one person's motion as BVH.

    Joints are listed depth first, the root with six channels, the others with three. A joint on which nothing hangs is
    a JOINT with an End Site of no length; one that is named as its parent with `_end` behind is that parent's End Site.
    White space and braces in names become underscores. Angles go on from frame to frame without jumps of a whole turn.

    Args:
        path: The file.
        motion: In the axes to be written; most programs expect y up. Unknown frames are filled with a warning, because
            BVH has no gaps.
        unit: Of the lengths in the file: m, cm, mm, in, or the metres in one unit. Programs assume cm most often.
        order: Of the rotations, about the moving axes, first to last.

    Raises:
        InputError: nothing is known, the unit or the order is unknown, or the file cannot be written.
    """
    if sorted(order) != ["X", "Y", "Z"]:
        raise InputError(f"order: expected X, Y and Z in some order, got {order!r}")
    scale = 1 / metres_per_unit(unit)
    motion = fill_motion_gaps(motion, kind="BVH")
    names = unique_names(path, [re.sub(r"[\s{}]+", "_", name.strip()) for name in motion.tree.joints])
    sites = {place for place in range(len(motion.tree)) if _is_end_site(motion.tree, place)}
    lines = ["HIERARCHY", *_hierarchy(motion, names, sites, scale=scale, order=order)]
    lines += ["MOTION", f"Frames: {motion.length}", f"Frame Time: {1 / motion.fps:.9f}"]
    rows = _channels(motion, sites, scale=scale, order=order)
    form = " ".join([f"%.{_DECIMALS}f"] * rows.shape[1])
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        file.writelines(form % tuple(row) + "\n" for row in (rows.round(_DECIMALS) + 0.0).tolist())  # no -0


def _is_end_site(tree: JointTree, place: int) -> bool:
    parent = tree.parents[place]
    return parent >= 0 and not tree.children[place] and tree.joints[place] == tree.joints[parent] + END


def _hierarchy(motion: Motion, names: tuple[str, ...], sites: set[int], *, scale: float, order: str) -> list[str]:
    """Lines of the hierarchy; a stack in place of recursion, which deep trees would overflow."""
    tree = motion.tree
    offsets = [" ".join(f"{value:.6f}" for value in row) for row in (motion.offsets.double() * scale).tolist()]
    turns = " ".join(f"{axis}rotation" for axis in order)
    lines: list[str] = []
    waiting: list[tuple[int, int]] = [(0, 0)]  # a joint to open, or -1 for a brace to close; and how deep
    while waiting:
        place, depth = waiting.pop()
        indent = "\t" * depth
        if place < 0:
            lines.append(indent + "}")
            continue
        waiting.append((-1, depth))
        if place in sites:
            lines += [f"{indent}End Site", indent + "{", f"{indent}\tOFFSET {offsets[place]}"]
            continue
        channels = f"CHANNELS 3 {turns}" if place else f"CHANNELS 6 Xposition Yposition Zposition {turns}"
        kind = "JOINT" if place else "ROOT"
        lines += [f"{indent}{kind} {names[place]}", indent + "{"]
        lines += [f"{indent}\tOFFSET {offsets[place]}", f"{indent}\t{channels}"]
        if not tree.children[place]:
            inner = indent + "\t"
            lines += [f"{inner}End Site", inner + "{", f"{inner}\tOFFSET 0.000000 0.000000 0.000000", inner + "}"]
        waiting.extend((child, depth + 1) for child in reversed(tree.children[place]))
    return lines


def _channels(motion: Motion, sites: set[int], *, scale: float, order: str) -> npt.NDArray[np.float64]:
    """(T, 3 + 3 J) the rows: place of the root, then degrees of the joints depth first."""
    listed = [place for place in motion.tree.depth_first if place not in sites]
    angles = matrix_to_euler(motion.rotations[:, listed].detach().cpu().double(), order)
    degrees = np.unwrap(np.degrees(angles.numpy()), period=360.0, axis=0)
    place = motion.translation.detach().cpu().double().numpy() * scale
    return np.concatenate((place, degrees.reshape(len(place), -1)), axis=1)

"""AMC, the motion file of Acclaim: for each frame the degrees of freedom of each bone of an ASF skeleton.

A bone's degrees of freedom turn about its own axes C: in the world's axes its rotation relative to its parent is
`C M C^-1`, with M the turns about x, y, z in the order listed, about the fixed axes. The format is described with
`marey.io.asf_skeleton`.
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.errors import FormatError, InputError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import euler_to_matrix, rotvec_to_matrix
from marey.io.asf_skeleton import AsfBone, AsfSkeleton, read_asf
from marey.io.bvh import END
from marey.io.motion_files import plausible_unit
from marey.io.naming import listed
from marey.io.number_rows import parse_number_rows
from marey.io.text import LONGEST_LINE, read_text_limited
from marey.io.units import METRES, metres_per_unit

_PERSON = (0.5, 2.6)
"""Metres from end to end of a skeleton that is plausibly a person's."""
Array = npt.NDArray[np.float64]


def read_asf_amc(
    skeleton: str | os.PathLike[str],
    motion: str | os.PathLike[str],
    *,
    fps: float = 120.0,
    unit: str | float | None = None,
    dtype: torch.dtype = torch.float32,
) -> Motion:
    """Read one person's motion from a skeleton and a motion file, which belong together.

    A joint is where its bone begins and is named as the bone; bones on which nothing hangs get a joint at their end,
    named with `_end` behind. The file's axes are kept (y up, looking along z). A last frame that is cut off is left out
    with a warning, and bones that the motion does not mention do not turn, with a warning.

    Args:
        skeleton: The .asf file.
        motion: The .amc file.
        fps: Frames per second, which the files do not state: those of Carnegie Mellon University have 120, few 60.
        unit: Of lengths after division by the skeleton's unit of length: m, cm, mm, in, or the metres in one. None:
            inches, as in the database of Carnegie Mellon University, if that makes a person; else that of m, cm and mm
            which does.
        dtype: Precision of the result.

    Raises:
        InputError: a file cannot be read, the unit is unknown, or fps is not above 0.
        FormatError: a file is not of its format or malformed, or they do not belong together; the message names the
            line.
    """
    if not 0 < fps < math.inf:
        raise InputError(f"fps: expected frames per second above 0, got {fps}")
    bones, path = read_asf(skeleton), Path(motion)
    values = _frames(path, bones)
    metres = _metres(skeleton, bones, unit) / bones.length_factor
    ends = [place for place in range(1, len(bones.bones)) if place not in set(bones.parents)]
    names = [bone.name for bone in bones.bones]
    tree = JointTree(
        Path(skeleton).stem,
        (*names, *(f"{names[place]}{END}" for place in ends)),
        (*bones.parents, *ends),
    )
    length = len(values[names[0]])
    turned = [_rotations(bone, values.get(bone.name), length) for bone in bones.bones]
    still = torch.eye(3, dtype=torch.float64).expand(length, len(ends), 3, 3)
    translation = _translation(bones, values[names[0]])
    return Motion(
        tree=tree,
        offsets=(_offsets(bones, tree) * metres).to(dtype),
        rotations=torch.cat((torch.stack(turned, 1), still), 1).to(dtype),
        translation=(translation * metres).to(dtype),
        fps=float(fps),
        name=path.stem,
    )


def _metres(path: str | os.PathLike[str], bones: AsfSkeleton, unit: str | float | None) -> float:
    """In one unit of a length that was divided by the skeleton's own unit."""
    if unit is not None:
        return metres_per_unit(unit)
    places = np.zeros((len(bones.bones), 3))
    for place, bone in enumerate(bones.bones):
        if place:
            places[place] = places[bones.parents[place]] + np.multiply(bone.direction, bone.length)
    places /= bones.length_factor
    if _PERSON[0] <= float(np.ptp(places, axis=0).max()) * METRES["in"] <= _PERSON[1]:
        return METRES["in"]
    return plausible_unit(path, places, custom="in")


def _offsets(bones: AsfSkeleton, tree: JointTree) -> Tensor:
    """(K, 3) of each joint from its parent, in the file's unit: the bone that ends there."""
    spans = [np.multiply(bone.direction, bone.length) for bone in bones.bones]
    rows = [spans[parent] if parent >= 0 else np.zeros(3) for parent in tree.parents]
    return torch.from_numpy(np.array(rows))


def _translation(bones: AsfSkeleton, values: Array) -> Tensor:
    """(T, 3) of the root, in the file's unit."""
    places = np.tile(np.array(bones.place), (len(values), 1))
    for column, name in enumerate(bones.bones[0].dof):
        if name.startswith("t"):
            places[:, "xyz".index(name[1])] += values[:, column]
    return torch.from_numpy(places)


def _rotations(bone: AsfBone, values: Array | None, length: int) -> Tensor:
    """(T, 3, 3) relative to the parent, in the world's axes of the rest pose; angles in radians."""
    axes = _fixed(torch.tensor(bone.axis, dtype=torch.float64), bone.axis_order)
    turned = torch.eye(3, dtype=torch.float64).expand(length, 3, 3)
    if values is None:
        return turned
    columns = [column for column, name in enumerate(bone.dof) if name.startswith("r")]
    if "tx" in bone.dof or "ty" in bone.dof or "tz" in bone.dof:  # the root: its `axis` is the order of its turns
        columns.sort(key=lambda column: bone.axis_order.index(bone.dof[column][1].upper()))
    for column in columns:
        vector = torch.zeros(length, 3, dtype=torch.float64)
        vector[:, "xyz".index(bone.dof[column][1])] = torch.from_numpy(values[:, column])
        turned = rotvec_to_matrix(vector) @ turned
    return axes @ turned @ axes.mT


def _fixed(angles: Tensor, order: str) -> Tensor:
    """(3, 3): turns about the fixed axes x, y, z by `angles`, in an order."""
    return euler_to_matrix(angles[["XYZ".index(axis) for axis in order]], order.lower())


def _frames(path: Path, bones: AsfSkeleton) -> dict[str, Array]:
    """For each bone that the motion mentions (T, dof) values, angles in radians."""
    lines = read_text_limited(path, longest_line=LONGEST_LINE).split("\n")
    widths = {bone.name: len(bone.dof) for bone in bones.bones}
    blocks, starts, radians = _blocks(path, lines, widths)
    if not blocks:
        raise FormatError(f"{path}: no frames in it; expected a line with a frame's number, then a line for each bone")
    order = list(blocks[0])
    for block, start in zip(blocks, starts, strict=True):
        if block.keys() != blocks[0].keys():
            odd = sorted(block.keys() ^ blocks[0].keys())
            raise FormatError(f"{path}, line {start}: other bones than in the first frame: {listed(odd)}")
    if bones.bones[0].name not in blocks[0]:
        raise FormatError(f"{path}: no values of the root in its first frame")
    silent = [bone.name for bone in bones.bones if bone.dof and bone.name not in blocks[0]]
    if silent:
        warnings.warn(f"{path}: nothing about {listed(silent)}; they do not turn", stacklevel=3)
    rows = [" ".join(block[name] for name in order) for block in blocks]
    table = parse_number_rows(path, [*rows, ""], first=1, width=sum(widths[name] for name in order))
    if not np.isfinite(table).all():
        raise FormatError(f"{path}: values that are not finite")
    result, column = {}, 0
    dof = {bone.name: bone.dof for bone in bones.bones}
    for name in order:
        scale = np.array([radians if kind.startswith("r") else 1.0 for kind in dof[name]])
        result[name] = table[:, column : column + widths[name]] * scale
        column += widths[name]
    return result


def _blocks(path: Path, lines: list[str], widths: dict[str, int]) -> tuple[list[dict[str, str]], list[int], float]:
    """For each frame the numbers of its bones as text; the line of each frame; the radians in one unit of angle."""
    blocks: list[dict[str, str]] = []
    starts: list[int] = []
    radians = math.radians(1)
    for number, line in enumerate(lines, start=1):
        name, *rest = line.split(None, 1)[:2] or ("#",)
        values = rest[0] if rest else ""
        if name.startswith("#"):
            continue
        if name.startswith(":"):
            radians = {":radians": 1.0, ":degrees": math.radians(1)}.get(name.lower(), radians)
        elif name.isdecimal() and not values:
            blocks.append({})
            starts.append(number)
        elif not blocks:
            raise FormatError(f"{path}, line {number}: '{name[:40]}' before the first frame; is this an AMC motion?")
        elif len(values.split()) != widths.get(name, -1) or name in blocks[-1]:
            if number >= len(lines) - 1 and name not in blocks[-1]:  # within the last line of a file: cut off
                break
            raise FormatError(f"{path}, line {number}: {_complaint(name, values, widths)}")
        else:
            blocks[-1][name] = values
    if len(blocks) > 1 and len(blocks[-1]) < len(blocks[0]):
        warnings.warn(f"{path}: the last frame is cut off and left out", stacklevel=4)
        blocks, starts = blocks[:-1], starts[:-1]
    return blocks, starts, radians


def _complaint(name: str, values: str, widths: dict[str, int]) -> str:
    if name not in widths:
        return f"no bone '{name[:40]}' in the skeleton; do the two files belong together?"
    count = len(values.split())
    if count != widths[name]:
        return f"{count} numbers for {name}, which has {widths[name]} degrees of freedom in the skeleton"
    return f"{name} a second time in one frame"

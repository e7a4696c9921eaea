"""BVH, the text files of motion capture that Blender, Maya, MotionBuilder, Unity and three.js read.

The format of Biovision, as Meredith and Maddock describe it ("Motion Capture File Formats Explained", 2001): a nested
hierarchy of joints with constant offsets, then one row of channels a frame, angles in degrees about the moving axes in
the order listed.
"""

from __future__ import annotations

import os
import re
from typing import Literal

import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import matrix_to_euler
from marey.io.atomic import atomic_path
from marey.io.motion_files import metres_per_unit, unique_names
from marey.io.motion_gaps import fill_motion_gaps

END = "_end"
"""What the name of a joint ends with that is an End Site in the file: its parent's name and this."""


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
    form = " ".join(["%.6f"] * rows.shape[1])
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join(lines) + "\n")
        file.writelines(form % tuple(row) + "\n" for row in rows.tolist())


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

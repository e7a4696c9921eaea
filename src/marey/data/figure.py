"""A jointed figure of rigid segments: from joint angles to the joints of any shipped body skeleton.

Segment lengths are fractions of the stature after Winter, Biomechanics and Motor Control of Human Movement, 4th ed.,
figure 4.1. The figure stands on the plane z = 0 of a world whose z points up; its own frame has x forward, y to the
left and z up, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core import InputError

Array = npt.NDArray[np.float64]

GROUND_SOFTNESS = 0.01
"""Metres over which the weight shifts from one foot to the other, so that the pelvis rises and sinks smoothly."""
SOLE = 0.035
"""Height of heel and toe joints above the ground, fraction of the stature."""

_CENTRAL: dict[str, tuple[str, tuple[float, float, float]]] = {
    "pelvis": ("pelvis", (0, 0, 0)),
    "spine": ("torso", (0, 0, 0.144)),
    "neck": ("torso", (0, 0, 0.288)),
    "head": ("head", (0.01, 0, 0.11)),
    "head_top": ("head", (0, 0, 0.182)),
    "nose": ("head", (0.062, 0, 0.09)),
}
_LEFT: dict[str, tuple[str, tuple[float, float, float]]] = {
    "hip": ("pelvis", (0, 0.052, 0)),
    "shoulder": ("torso", (0, 0.115, 0.288)),
    "eye": ("head", (0.052, 0.018, 0.118)),
    "eye_inner": ("head", (0.054, 0.012, 0.118)),
    "eye_outer": ("head", (0.048, 0.026, 0.118)),
    "ear": ("head", (0, 0.042, 0.105)),
    "mouth": ("head", (0.055, 0.014, 0.065)),
    "elbow": ("upper_arm", (0, 0, -0.186)),
    "wrist": ("forearm", (0, 0, -0.146)),
    "pinky": ("forearm", (-0.018, 0, -0.192)),
    "index": ("forearm", (0.012, 0, -0.2)),
    "thumb": ("forearm", (0.026, 0, -0.176)),
    "knee": ("thigh", (0, 0, -0.245)),
    "ankle": ("shank", (0, 0, -0.246)),
    "heel": ("foot", (-0.03, 0, -0.035)),
    "big_toe": ("foot", (0.115, -0.015, -0.035)),
    "small_toe": ("foot", (0.1, 0.03, -0.035)),
}
"""Of each joint the segment it is fixed to and its place there at rest, in statures from the segment's origin."""


@dataclass(frozen=True, kw_only=True)
class FigurePose:
    """Joint angles in radians of P figures over T frames; sides are left, right; zero is standing, arms down."""

    stature: Array
    """(P,) metres."""
    place: Array
    """(T, P, 2) of the pelvis on the ground, metres."""
    heading: Array
    """(T, P) direction of the chest, from world x counter-clockwise."""
    lean: Array
    """(T, P) of the torso, forward."""
    look: Array
    """(T, P) turn of the head, to the left."""
    hip: Array
    """(2, T, P) flexion, forward."""
    knee: Array
    """(2, T, P) flexion."""
    shoulder: Array
    """(2, T, P) flexion, forward."""
    spread: Array
    """(2, T, P) abduction of the arm, outward."""
    elbow: Array
    """(2, T, P) flexion."""


def figure_joints(pose: FigurePose, joints: Sequence[str]) -> Array:
    """World positions of named joints, (T, P, J, 3) metres. Distances within a segment never change.

    Raises:
        InputError: the figure has no such joint.
    """
    missing = [joint for joint in joints if _fixture(joint) is None]
    if missing:
        raise InputError(f"the figure has no joint {', '.join(missing)}; use a skeleton such as body_25b or coco_17")
    frames = _segment_frames(pose)
    local = np.stack([_place(joint, frames) for joint in joints], axis=-2) * pose.stature[:, None, None]
    feet = [_place(f"{side}_{part}", frames) for side in ("left", "right") for part in ("heel", "big_toe")]
    heights = np.stack(feet, axis=-1)[..., 2, :] * pose.stature[:, None]
    lowest = (
        -GROUND_SOFTNESS * np.log(np.exp(-(heights - heights[..., :1]) / GROUND_SOFTNESS).sum(-1)) + heights[..., 0]
    )
    ground = np.concatenate((pose.place, (SOLE * pose.stature - lowest)[..., None]), axis=-1)
    turned: Array = np.einsum("tpij,tpnj->tpni", rotation_about("z", pose.heading), local)
    turned += ground[..., None, :]
    return turned


def rotation_about(axis: str, angle: Array) -> Array:
    """Right-handed rotation matrices (..., 3, 3) about the axis `x`, `y` or `z` by angles (...)."""
    first = {"x": 1, "y": 2, "z": 0}[axis]
    second = (first + 1) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., 3 - first - second, 3 - first - second] = 1
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -np.sin(angle)
    return matrix


Frames = dict[str, tuple[Array, Array]]
"""Of each segment its rotation (T, P, 3, 3) and origin (T, P, 3) in statures, in the frame of the figure."""


def _segment_frames(pose: FigurePose) -> Frames:
    upright = np.broadcast_to(np.eye(3), (*pose.heading.shape, 3, 3))
    origin = np.zeros((*pose.heading.shape, 3))
    frames: Frames = {"pelvis": (upright, origin), "torso": (rotation_about("y", pose.lean), origin)}
    frames["head"] = (
        rotation_about("y", 0.5 * pose.lean) @ rotation_about("z", pose.look),
        _place("neck", frames),
    )
    for side, name in enumerate(("left", "right")):
        outward = (1, -1)[side] * pose.spread[side]
        thigh = rotation_about("y", -pose.hip[side])
        shank = thigh @ rotation_about("y", pose.knee[side])
        foot = shank @ rotation_about("y", 0.6 * (pose.hip[side] - pose.knee[side]))
        upper_arm = frames["torso"][0] @ rotation_about("x", outward) @ rotation_about("y", -pose.shoulder[side])
        forearm = upper_arm @ rotation_about("y", -pose.elbow[side])
        chain = (
            ("thigh", thigh, "hip"),
            ("shank", shank, "knee"),
            ("foot", foot, "ankle"),
            ("upper_arm", upper_arm, "shoulder"),
            ("forearm", forearm, "elbow"),
        )
        for segment, rotation, joint in chain:
            frames[f"{name}_{segment}"] = (rotation, _place(f"{name}_{joint}", frames))
    return frames


def _fixture(joint: str) -> tuple[str, tuple[float, float, float]] | None:
    """The segment that carries a joint and the joint's offset in it."""
    side, _, part = joint.partition("_")
    if side not in ("left", "right") or part not in _LEFT:
        return _CENTRAL.get(joint)
    segment, (x, y, z) = _LEFT[part]
    name = segment if segment in ("pelvis", "torso", "head") else f"{side}_{segment}"
    return name, (x, y if side == "left" else -y, z)


def _place(joint: str, frames: Frames) -> Array:
    """(T, P, 3) of a joint in the frame of the figure, in statures."""
    fixture = _fixture(joint)
    if fixture is None:
        raise InputError(f"the figure has no joint {joint}")
    rotation, origin = frames[fixture[0]]
    return rotation @ np.array(fixture[1], dtype=np.float64) + origin

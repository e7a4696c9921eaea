"""Real motions with known joint rotations: the clips that DeepMimic was trained on, as points on its figure.

A frame of a clip holds its duration, the place and the orientation of the root, and for every joint a quaternion
w x y z or, for knees and elbows, one angle. The figure has x forward, y up and z to the right; its measures are those
of the figure of DeepMimic (Peng et al., ACM Trans. Graphics 37, 2018), with points on head and feet put where people
have them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from marey.core import Joints3D, skeleton
from marey.geometry.rotations import quaternion_to_matrix, rotvec_to_matrix

_JOINTS = {
    "chest": ("root", (0, 0.236151, 0)),
    "neck": ("chest", (0, 0.223894, 0)),
    "right_hip": ("root", (0, 0, 0.084887)),
    "right_knee": ("right_hip", (0, -0.421546, 0)),
    "right_ankle": ("right_knee", (0, -0.40987, 0)),
    "right_shoulder": ("chest", (-0.02405, 0.2435, 0.18311)),
    "right_elbow": ("right_shoulder", (0, -0.274788, 0)),
    "left_hip": ("root", (0, 0, -0.084887)),
    "left_knee": ("left_hip", (0, -0.421546, 0)),
    "left_ankle": ("left_knee", (0, -0.40987, 0)),
    "left_shoulder": ("chest", (-0.02405, 0.2435, -0.18311)),
    "left_elbow": ("left_shoulder", (0, -0.274788, 0)),
}
"""In the order of the files: the joint above and the place in its frame, metres."""
_HINGES = {"right_knee": -1, "left_knee": -1, "right_elbow": 1, "left_elbow": 1}
"""Joints of one angle, and its sign in flexion."""
_POINTS = {
    "nose": ("neck", (0.1, 0.13, 0)),
    "head_top": ("neck", (0, 0.26, 0)),
    "right_eye": ("neck", (0.09, 0.16, 0.03)),
    "right_ear": ("neck", (0, 0.15, 0.075)),
    "right_wrist": ("right_elbow", (0, -0.258947, 0)),
    "right_heel": ("right_ankle", (-0.05, -0.06, 0)),
    "right_big_toe": ("right_ankle", (0.19, -0.06, -0.02)),
    "right_small_toe": ("right_ankle", (0.16, -0.06, 0.05)),
}
"""On the middle and the right side: the joint that carries a point, and its place there, metres."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One motion."""

    name: str
    positions: dict[str, Tensor]
    """(T, 3) metres, y up, of each joint."""
    flexion: dict[str, Tensor]
    """(T,) radians of knees and elbows."""
    fps: float

    def joints(self, names: str, *, noise: float, seed: int = 0) -> Joints3D:
        """Joints (T, 1) of a shipped skeleton with isotropic noise of a standard deviation in metres."""
        known = skeleton(names)
        positions = torch.stack([self.positions[joint] for joint in known.joints], 1)[:, None]
        generator = torch.Generator().manual_seed(seed)
        noisy = positions + noise * torch.randn(positions.shape, generator=generator, dtype=positions.dtype)
        seen = torch.ones(positions.shape[:-1], dtype=positions.dtype)
        spread = max(noise, 0.005) ** 2 * torch.eye(3, dtype=positions.dtype)
        return Joints3D(
            positions=noisy, covariance=spread.expand(*seen.shape, 3, 3), score=seen, filled=seen < 1, skeleton=known
        )


def read_clip(path: Path) -> Clip:
    """Read one file."""
    rows = torch.tensor(json.loads(path.read_text(encoding="utf-8"))["Frames"], dtype=torch.float64)
    place, turn, column = {"root": rows[:, 1:4]}, {"root": _matrix(rows[:, 4:8])}, 8
    flexion = {}
    for joint, (parent, offset) in _JOINTS.items():
        width = 1 if joint in _HINGES else 4
        values = rows[:, column : column + width]
        column += width
        place[joint] = place[parent] + turn[parent] @ rows.new_tensor(offset)
        local = rotvec_to_matrix(torch.nn.functional.pad(values, (2, 0))) if width == 1 else _matrix(values)
        turn[joint] = turn[parent] @ local
        if width == 1:
            flexion[joint] = _HINGES[joint] * values[:, 0]
    for point, (parent, (x, y, z)) in _POINTS.items():
        place[point] = place[parent] + turn[parent] @ rows.new_tensor((x, y, z))
        if point.startswith("right_"):
            other = parent.replace("right_", "left_")
            place[point.replace("right_", "left_")] = place[other] + turn[other] @ rows.new_tensor((x, y, -z))
    name = path.stem.removeprefix("humanoid3d_")
    return Clip(name=name, positions=place, flexion=flexion, fps=1 / float(rows[0, 0]))


def _matrix(quaternions: Tensor) -> Tensor:
    return quaternion_to_matrix(quaternions[:, [1, 2, 3, 0]])

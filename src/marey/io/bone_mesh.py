"""A mesh to be seen: every bone a long octahedron, as Blender draws bones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core.motion import Motion

_RING, _WIDTH = 0.15, 0.09
"""Where along the bone it is thickest, and how thick (half), of its length."""
_SHORTEST = 1e-4
"""Metres below which a bone is not drawn."""
_POINT = 0.03
"""Metres from the middle to the tips of what stands for a skeleton without bones."""
_FACES = np.array([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4], [5, 1, 2], [5, 2, 3], [5, 3, 4], [5, 4, 1]])
"""Corners of the triangles: 0 the head, 1-4 the ring, 5 the tail; counter-clockwise seen from outside."""


@dataclass(frozen=True, kw_only=True)
class BoneMesh:
    """Triangles in the rest pose whose root stands at the origin; no corner is shared, so that faces look flat."""

    points: npt.NDArray[np.float32]
    """(N, 3) metres; every three are a triangle."""
    normals: npt.NDArray[np.float32]
    """(N, 3) of unit length."""
    joints: npt.NDArray[np.int64]
    """(N,) places in the tree of the joint with which each corner moves."""


def bone_mesh(motion: Motion) -> BoneMesh:
    """The bones of a person: from each joint to every joint on it, moving with the inner one."""
    heads, tails, joints = _bones(motion)
    along = tails - heads
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / length
    side = np.cross(along, np.eye(3)[np.abs(along).argmin(axis=1)])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(along, side)
    middle = heads + _RING * length * along
    ring = [middle + _WIDTH * length * way for way in (side, other, -side, -other)]
    corners = np.stack([heads, *ring, tails], axis=1)[:, _FACES]
    normals = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return BoneMesh(
        points=corners.reshape(-1, 3).astype(np.float32),
        normals=np.broadcast_to(normals[..., None, :], corners.shape).reshape(-1, 3).astype(np.float32),
        joints=np.repeat(joints, _FACES.size),
    )


def rest_positions(motion: Motion) -> npt.NDArray[np.float64]:
    """(K, 3) metres: where the joints stand while all rotations are the identity and the root is at the origin."""
    places = np.zeros((len(motion.tree), 3))
    offsets = motion.offsets.detach().cpu().double().numpy()
    parents = np.array(motion.tree.parents)
    for level in motion.tree.levels[1:]:
        at = list(level)
        places[at] = places[parents[at]] + offsets[at]
    return places


def _bones(motion: Motion) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Heads and tails (B, 3) of the bones that have a length, and the joint (B,) at each head."""
    places = rest_positions(motion)
    outer = np.arange(1, len(places))
    inner = np.array(motion.tree.parents, dtype=np.int64)[1:]
    drawn = np.linalg.norm(places[outer] - places[inner], axis=1) > _SHORTEST
    if not drawn.any():
        return np.array([[0.0, -_POINT, 0.0]]), np.array([[0.0, _POINT, 0.0]]), np.zeros(1, dtype=np.int64)
    return places[inner[drawn]], places[outer[drawn]], inner[drawn]

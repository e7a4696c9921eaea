"""Skeletons that rotate: a tree of joints with bones of constant length, and one person's motion on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from marey.core.errors import InputError, ShapeError


@dataclass(frozen=True)
class JointTree:
    """Joints that hang on each other. The first is the root; every other joint comes after its parent."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    """For each joint the place of its parent; -1 for the root."""

    def __post_init__(self) -> None:
        if len(self.parents) != len(self.joints) or not self.joints:
            raise InputError(f"tree {self.name}: expected one parent a joint, got {len(self.parents)}")
        if len(set(self.joints)) != len(self.joints):
            raise InputError(f"tree {self.name}: joint names repeat")
        if not all(self.joints):
            raise InputError(f"tree {self.name}: a joint has no name")
        if self.parents[0] != -1 or any(not 0 <= up < at for at, up in enumerate(self.parents) if at):
            raise InputError(f"tree {self.name}: expected the root first and every joint after its parent")

    def __len__(self) -> int:
        return len(self.joints)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Places of the joints by their distance from the root: what can be computed at once going outwards."""
        depth = [0] * len(self.parents)
        for place, parent in enumerate(self.parents):
            depth[place] = 0 if parent < 0 else depth[parent] + 1
        return _grouped(depth, max(depth) + 1)

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """For each joint the places of those that hang on it."""
        return _grouped(self.parents, len(self.parents))

    @cached_property
    def depth_first(self) -> tuple[int, ...]:
        """Places of the joints as nested files list them: after each joint all that hangs on it."""
        order: list[int] = []
        waiting = [0]
        while waiting:
            place = waiting.pop()
            order.append(place)
            waiting.extend(reversed(self.children[place]))
        return tuple(order)


def _grouped(keys: Sequence[int], count: int) -> tuple[tuple[int, ...], ...]:
    """Group k of `count`: where `keys` is k."""
    groups: list[list[int]] = [[] for _ in range(count)]
    for place, key in enumerate(keys):
        if key >= 0:
            groups[key].append(place)
    return tuple(map(tuple, groups))


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """One person's motion as files of animation hold it: constant offsets, and rotations over T frames.

    Joint k stands at `p_k = p_parent + R_parent @ offsets[k]` and is oriented by `R_k = R_parent @ rotations[k]`, where
    R is the orientation in the world; for the root `p` is the translation and `R_parent` the identity. In the rest
    pose, where every rotation is the identity, the person stands with y up, looks along z and has the left side at +x.
    """

    tree: JointTree
    offsets: Tensor
    """(K, 3) metres: where a joint stands in its parent's frame; zero for the root."""
    rotations: Tensor
    """(T, K, 3, 3) of each joint relative to its parent, of the root relative to the world; NaN in frames where the
    person is unknown."""
    translation: Tensor
    """(T, 3) place of the root in the world, metres; NaN as the rotations."""
    fps: float
    covariance: Tensor | None = None
    """(T, K, 3, 3) of each rotation, as a rotation vector in the joint's own frame, square radians; None: unknown."""
    name: str = ""
    """Of the person or the take."""

    def __post_init__(self) -> None:
        joints = len(self.tree)
        frames = self.rotations.shape[0] if self.rotations.ndim else 0
        for field, expected in (
            ("offsets", (joints, 3)),
            ("rotations", (frames, joints, 3, 3)),
            ("translation", (frames, 3)),
            ("covariance", (frames, joints, 3, 3)),
        ):
            tensor = getattr(self, field)
            if tensor is not None and tuple(tensor.shape) != expected:
                raise ShapeError(f"Motion.{field}: expected {expected}, got {tuple(tensor.shape)}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"Motion.fps: expected frames per second above 0, got {self.fps}")
        if not self.offsets.isfinite().all():
            raise InputError("Motion.offsets: expected the lengths of all bones, got NaN or infinity")

    @property
    def length(self) -> int:
        """Number of frames."""
        return int(self.rotations.shape[0])

    @property
    def known(self) -> Tensor:
        """(T,) boolean: the frames in which the person is known."""
        return self.rotations.isfinite().all(dim=(-1, -2)).all(-1) & self.translation.isfinite().all(-1)

    def positions(self) -> Tensor:
        """Where the joints stand in the world, (T, K, 3) metres: forward kinematics, level by level."""
        positions = self.rotations.new_empty(self.length, len(self.tree), 3)
        orientations = self.rotations.clone()
        positions[:, 0] = self.translation
        offsets = self.offsets.to(positions)
        for level in self.tree.levels[1:]:
            places = list(level)
            parents = [self.tree.parents[place] for place in places]
            above = orientations[:, parents]
            positions[:, places] = positions[:, parents] + (above @ offsets[places][..., None])[..., 0]
            orientations[:, places] = above @ self.rotations[:, places]
        return positions

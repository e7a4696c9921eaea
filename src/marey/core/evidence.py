"""What is seen: boxes and keypoints in images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from marey.core.skeletons import Skeleton, check_joints
from marey.core.tensors import TensorFields, Trailing


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes(TensorFields):
    """Axis-aligned boxes in images."""

    corners: Annotated[Tensor, Trailing(4)]
    """Left, top, right, bottom in pixels; NaN where there is no box."""
    score: Annotated[Tensor, Trailing()]
    """In 0..1; 0 where there is no box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Keypoints2D(TensorFields):
    """Joints in images. Batch shape (..., V, T, P): views, frames, detection slots or people."""

    positions: Annotated[Tensor, Trailing("J", 2)]
    """x right and y down in pixels; NaN where the joint was not seen."""
    covariance: Annotated[Tensor, Trailing("J", 2, 2)]
    """Of the positions, square pixels; NaN where the joint was not seen."""
    score: Annotated[Tensor, Trailing("J")]
    """The detector's own confidence, in 0..1; 0 where the joint was not seen."""
    skeleton: Skeleton

    def __post_init__(self) -> None:
        super().__post_init__()
        check_joints(self.positions, self.skeleton)


@dataclass(frozen=True, kw_only=True, eq=False)
class Detections2D(TensorFields):
    """What a detector found in each view and frame. Batch shape (V, T, P); P counts slots, not identities."""

    keypoints: Keypoints2D
    boxes: Boxes | None = None
    monocular: Annotated[Tensor, Trailing("J", 3)] | None = None
    """A root-relative 3D guess in the camera frame, the detector's own or a lifter's, metres; NaN where absent."""
    track: Annotated[Tensor, Trailing()] | None = None
    """Integer identity of the slot within its view over time; -1 where the slot is empty."""
    monocular_covariance: Annotated[Tensor, Trailing("J", 3, 3)] | None = None
    """Of the guess, square metres; NaN where whoever guessed states none."""

"""What is estimated: joints in 3D, body parameters, and the estimate that carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from torch import Tensor

from marey.core.cameras import Cameras
from marey.core.evidence import Keypoints2D
from marey.core.skeletons import Skeleton, check_joints
from marey.core.tensors import TensorFields, Trailing

DISTANCE = "distance_deviation"
"""In an estimate's provenance: the relative deviation of everybody's distance, (P,), by errors that last, which
refinement must know: they do not average out over time.
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Joints3D(TensorFields):
    """Joints in space. Batch shape (..., T, P): frames, people."""

    positions: Annotated[Tensor, Trailing("J", 3)]
    """Metres in the frame that the producer states (the world for a calibrated recording); NaN = unknown."""
    covariance: Annotated[Tensor, Trailing("J", 3, 3)]
    """Of the positions, square metres; NaN = unknown."""
    score: Annotated[Tensor, Trailing("J")]
    """In 0..1; 0 where the joint is unknown."""
    filled: Annotated[Tensor, Trailing("J")]
    """Boolean: the value was not measured in this frame but filled in from others."""
    skeleton: Skeleton

    def __post_init__(self) -> None:
        super().__post_init__()
        check_joints(self.positions, self.skeleton)


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyState(TensorFields):
    """Parameters of a skinned body model."""

    orientation: Annotated[Tensor, Trailing(3, 3)]
    """Rotation of the root joint, body to the frame of the estimate."""
    pose: Annotated[Tensor, Trailing("K", 3, 3)]
    """Rotation of every other joint relative to its parent."""
    shape: Annotated[Tensor, Trailing("S")]
    """Coefficients of the model's shape space."""
    translation: Annotated[Tensor, Trailing(3)]
    """Metres, added after skinning."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnostics(TensorFields):
    """How well the evidence of each view agrees with the estimate. Batch shape (V, T, P)."""

    weights: Annotated[Tensor, Trailing("J")]
    """In 0..1, what the view's keypoint counted; 0: missing or rejected."""
    residuals: Annotated[Tensor, Trailing("J")]
    """Distance in pixels between the keypoint and the estimate projected into the view; NaN where either is missing."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One result for every method: joints with covariance, and what else the method knows."""

    joints: Joints3D
    """(T, P)."""
    cameras: Cameras | None = None
    """(V,), those the estimate was made with or found."""
    keypoints: Keypoints2D | None = None
    """(V, T, P), the evidence after association and correction."""
    diagnostics: Diagnostics | None = None
    body: BodyState | None = None
    samples: Tensor | None = None
    """(S, T, P, J, 3) draws from a method's distribution over poses, metres."""
    fps: float | None = None
    frames: tuple[int, ...] = ()
    """Indices of the T frames in the recording."""
    notes: tuple[str, ...] = ()
    """What was rejected, corrected or assumed on the way, in plain sentences."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Inputs, settings and versions, JSON-serialisable."""

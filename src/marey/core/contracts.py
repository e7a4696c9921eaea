"""What a method is to the house: an Estimator, and a TrainingTask where it learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from marey.core.cameras import Cameras
from marey.core.evidence import Boxes, Keypoints2D
from marey.core.recording import FrameSource
from marey.core.results import Estimate

Batch = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What evidence a method needs."""

    views: tuple[int, int | None]
    """Fewest and most views; None: any number."""
    evidence: Literal["images", "keypoints", "monocular"]
    calibration: Literal["none", "intrinsics", "full"]
    temporal: Literal["frame", "sequence"]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The evidence of a chunk of time: what every method is given, whatever it uses of it."""

    keypoints: Keypoints2D | None = None
    """(V, T, P) after association: slot p is the same person in every view and frame."""
    frames: tuple[FrameSource | None, ...] = ()
    """Of the V views, lazy."""
    boxes: Boxes | None = None
    """(V, T, P)"""
    monocular: Tensor | None = None
    """(V, T, P, J, 3) root-relative joints in each camera's frame, metres."""
    cameras: Cameras | None = None
    """(V,), with intrinsics only or full."""
    timestamps: Tensor | None = None
    """(V, T) seconds."""
    start: int = 0
    """Index in the recording of the first of the T frames."""


class Estimator(Protocol):
    """Evidence in, one estimate with its uncertainty out."""

    requires: Requirements

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate the people of one observation."""
        ...


class TrainingTask(Protocol):
    """What the training engine needs of a method, and nothing more."""

    model: nn.Module

    def batches(self, split: str, seed: int, rank: int, world: int) -> Iterable[Batch]:
        """The batches of one epoch for process `rank` of `world`, the same for the same seed."""
        ...

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses; their sum is minimised."""
        ...

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Named scores of one batch, to be averaged."""
        ...

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
    monocular_covariance: Tensor | None = None
    """(V, T, P, J, 3, 3) of the root-relative joints, square metres; None or NaN where whoever guessed states none."""
    cameras: Cameras | None = None
    """(V,), with intrinsics only or full."""
    centers: Tensor | None = None
    """(T, P, 3) where people are already known to be in the world, metres, such as their pelvis; NaN: not known."""
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
    """What the training engine needs of a method, and nothing more.

    A **global batch** is what all processes together work on at a time; each process holds its **shard** of it. Shards
    of one global batch are equally long, so that the mean over the shards' means is the mean over the global batch. An
    optimiser's step takes one global batch, or several in a row where gradients are accumulated.

    Two more methods may be there: `preview(batch) -> dict[str, Image]`, named pictures (H, W, 3) uint8 of what a batch
    holds and what the model makes of it, and `card() -> Mapping[str, Any]`, plain values that say what the data are;
    they end up in the card of the weights. Where the data decide how long it is trained, `training` holds the settings
    that `marey train` takes instead of the recipe's.
    """

    model: nn.Module
    """All that is learned. The engine moves it to its device and tells it whether it trains (`train()`, `eval()`)."""

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards of the global batches of a split.

        Args:
            split: `train`: an endless stream. `validation`, and whatever else the task has: all rows once, each at one
                process; the processes may have different numbers of batches, also none.
            seed: The stream is a pure function of it and of the place in the stream.
            rank: Which of the processes this is.
            world: How many there are. The shards of all ranks together are the same rows for every `world`.
            start: Element i of what is returned is the shard of global batch `start + i`, so that a run goes on where
                it was interrupted.

        Returns:
            Batches on the CPU; the engine moves tensors and what has a method `to`.
        """
        ...

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named losses, scalars: means over the shard. Their sum is minimised.

        Where rows weigh differently, divide by their number, not by the sum of their weights, which differs between
        shards: several processes would then learn something else than one.

        Random numbers come from torch's global generator, which the engine seeds by seed, step and rank.
        """
        ...

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Named scores as sums over the batch's rows, scalars, and `count`, the number of rows.

        The engine adds all up over batches and processes and divides each by `count`.
        """
        ...

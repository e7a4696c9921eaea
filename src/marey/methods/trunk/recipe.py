"""How the trunk is trained: the task, and recipes for the shipped weights and for a test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import Batch, Image, InputError
from marey.engine.schedules import Piecewise
from marey.engine.settings import Optimiser, TrainingSettings
from marey.methods.trunk.preview import trunk_preview
from marey.methods.trunk.samples import TrunkSamples
from marey.methods.trunk.stream import Share, TrunkStream
from marey.metrics.trunk_losses import (
    box_error,
    center_focal,
    heatmap_cross_entropy,
    keypoint_likelihood,
    part_entropy,
    visibility_entropy,
)
from marey.metrics.uncertainty import CHI2_90
from marey.nn.trunk import Trunk, TrunkConfig, read_keypoints


@dataclass(frozen=True, kw_only=True)
class TrunkRecipe:
    """What is trained on what."""

    network: TrunkConfig = field(default_factory=TrunkConfig)
    side: int = 128
    """Of the pictures, pixels."""
    shares: tuple[Share, ...] = (
        Share(tier="easy", framing="person", pictures=14),
        Share(tier="medium", framing="person", pictures=20),
        Share(tier="hard", framing="person", pictures=6),
        Share(tier="hard", framing="scene", pictures=8),
    )
    """Of a global batch. What is hardest is not learned within the hours of a processor."""
    mirrored: bool = True
    """Every batch is followed by its mirror images: on a processor making pictures takes as long as learning."""
    workers: int = 1
    """Processes that make pictures while the network learns; 0: the one that trains, as always on an accelerator."""
    validation: int = 16
    """Global batches."""
    heatmap_weight: float = 1.0
    likelihood_weight: float = 0.1
    visibility_weight: float = 0.2
    part_weight: float = 0.3
    center_weight: float = 0.2
    box_weight: float = 0.5
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            steps=20_000,
            optimiser=Optimiser(learning_rate=2e-3, weight_decay=0.05, decay_vectors=False),
            # flat for as long as there is time, then down: a run that stops earlier needs only its last part anew
            schedule=Piecewise(points=((0.0, 1.0), (0.75, 1.0), (1.0, 0.01))),
            warm_up=300,
            clip=5.0,
            precision="bf16-mixed",
            ema_decay=0.999,
            validate_every=1000,
            checkpoint_every=200,
        )
    )

    def task(self, data: Path | None = None) -> TrunkTask:
        """The task; it needs no data.

        Raises:
            InputError: a folder of data is given.
        """
        if data is not None:
            raise InputError("the trunk is trained on synthetic captures, made while it trains; leave out --data")
        return TrunkTask(self)


class TrunkTask:
    """A `TrainingTask`: an endless stream of synthetic pictures.

    Pictures are made where the task's model is: on an accelerator much faster than on a processor.
    """

    def __init__(self, recipe: TrunkRecipe) -> None:
        self.recipe, self.model = recipe, Trunk(recipe.network)

    def card(self) -> dict[str, Any]:
        """What the data are."""
        return {"pictures": "synthetic captures of the open body, split training"}

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; no two splits, and no two seeds of one, share a sample.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        if split not in ("train", "validation"):
            raise InputError(f"split: expected train or validation, got '{split}'")
        recipe, train = self.recipe, split == "train"
        stream = TrunkStream(
            shares=recipe.shares,
            side=recipe.side,
            seed=2 * seed + (not train),
            rank=rank,
            world=world,
            mirrored=recipe.mirrored and train,
            device=next(self.model.parameters()).device,
        )
        made = stream.batches(start, None if train else recipe.validation, workers=recipe.workers if train else 0)
        return ({"samples": samples} for samples in made)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted losses of the heads."""
        samples: TrunkSamples = batch["samples"]
        recipe = self.recipe
        maps = self.model(_pictures(samples.images))
        found = read_keypoints(maps)
        return {
            "heatmap": recipe.heatmap_weight * heatmap_cross_entropy(maps, samples.keypoints),
            "likelihood": recipe.likelihood_weight * keypoint_likelihood(found, samples.keypoints),
            "visibility": recipe.visibility_weight * visibility_entropy(found, samples.seen, samples.keypoints),
            "part": recipe.part_weight * part_entropy(maps, samples.parts),
            "center": recipe.center_weight * center_focal(maps, samples.boxes),
            "box": recipe.box_weight * box_error(maps, samples.boxes),
        }

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over the keypoints that are seen: their error in pixels, and the shares that are near and in ellipses.

        `error_px`, `within_5_percent` of the picture's side, `coverage_90` of the ellipses of 90 %.
        """
        samples: TrunkSamples = batch["samples"]
        found = read_keypoints(self.model(_pictures(samples.images)))
        counted = samples.seen & samples.keypoints.isfinite().all(-1)
        residual = torch.where(counted[..., None], samples.keypoints - found.positions.float(), 0.0)
        distance = residual.square().sum(-1).sqrt()
        a, _, b, c = found.factor.float().flatten(-2).unbind(-1)
        first = residual[..., 0] / a
        squared = first.square() + ((residual[..., 1] - b * first) / c).square()
        near = distance < 0.05 * samples.images.shape[-1]
        return {
            "error_px": distance[counted].sum(),
            "within_5_percent": near[counted].sum(),
            "coverage_90": (squared <= CHI2_90[2])[counted].sum(),
            "count": counted.sum(),
        }

    def preview(self, batch: Batch) -> dict[str, Image]:
        """Labels, keypoints found and parts of the first picture with a person in the middle."""
        samples: TrunkSamples = batch["samples"]
        return trunk_preview(samples, self.model(_pictures(samples.images)))


def _pictures(images: Tensor) -> Tensor:
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def default() -> TrunkRecipe:
    """What the shipped weights are made with, on a processor."""
    return TrunkRecipe()


def small() -> TrunkRecipe:
    """For a test."""
    return TrunkRecipe(
        network=TrunkConfig(widths=(16, 24, 32, 48), units=(1, 1, 1, 1), features=32),
        side=96,
        shares=(Share(tier="easy", framing="person", pictures=12), Share(tier="hard", framing="scene", pictures=4)),
        validation=2,
        workers=0,
        training=TrainingSettings(
            steps=60,
            optimiser=Optimiser(learning_rate=4e-3),
            schedule=Piecewise(points=((0.0, 1.0), (1.0, 0.01))),
            warm_up=10,
            clip=5.0,
            validate_every=60,
            checkpoint_every=60,
        ),
    )

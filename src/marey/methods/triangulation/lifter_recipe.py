"""How the lifter that looks at the picture is trained: what the trunk says of single images, to joints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import Batch, Image, skeleton
from marey.detect.lifting import shipped_lifter
from marey.detect.trunk import shipped_trunk
from marey.engine.capture_preview import capture_preview
from marey.engine.capture_recipe import CaptureRecipe, CaptureTask, capture_scores, data_card, shrunk
from marey.engine.captures import Captures
from marey.engine.schedules import Cosine
from marey.engine.settings import Optimiser, TrainingSettings
from marey.io.weights import load_weights
from marey.methods.triangulation.trunk_model import looked_at
from marey.metrics.joint_losses import bent_distance, bounded_likelihood
from marey.nn.image_lifter import ImageJoints, ImageLifter, ImageLifterConfig
from marey.nn.lifter import LifterConfig
from marey.nn.trunk import KEYPOINTS, Trunk

_HIPS = list(skeleton(KEYPOINTS).indices(("left_hip", "right_hip")))


@dataclass(frozen=True, kw_only=True)
class ImageLifterRecipe(CaptureRecipe):
    """What is trained on what. The network begins as the shipped lifter, if it is of the same size."""

    network: ImageLifterConfig = field(default_factory=ImageLifterConfig)

    def task(self, data: Path | None = None) -> ImageLifterTask:
        """The task; it needs no data.

        Raises:
            InputError: a folder of data is given.
            MissingAssetError: weights of the trunk or of the lifter are missing.
        """
        self.check_data(data)
        return ImageLifterTask(self, shipped_trunk())


class ImageLifterTask(CaptureTask[ImageLifterRecipe]):
    """A `TrainingTask`: an endless stream of synthetic people; the trunk stays as it is."""

    def __init__(self, recipe: ImageLifterRecipe, trunk: Trunk) -> None:
        self.recipe, self.trunk, self.model = recipe, trunk, ImageLifter(recipe.network)
        start = shipped_lifter()
        if start.config == recipe.network.lifter:
            self.model.lifter.load_state_dict(start.state_dict())
        if recipe.weights:
            load_weights(self.model, recipe.weights)

    def card(self) -> dict[str, Any]:
        """What the data are."""
        return data_card()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `distance` and `likelihood` of the joints from midway between the hips, every view for itself."""
        joints, covariance, truth, known = self._compared(batch["samples"])
        return {
            "distance": self.recipe.distance_weight * bent_distance(joints, truth, known),
            "likelihood": self.recipe.likelihood_weight * bounded_likelihood(joints.detach(), covariance, truth, known),
        }

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over people and views: `mpjpe_mm` and `coverage_90`, see `scores`."""
        joints, covariance, truth, _ = self._compared(batch["samples"])
        return capture_scores(joints - truth, covariance)

    def preview(self, batch: Batch) -> dict[str, Image]:
        """The first person's pictures with the true joints and, put about the true hips, those of the first view."""
        samples: Captures = batch["samples"]
        found = self._lifted(samples).positions[:: samples.images.shape[1]]
        return capture_preview(samples, found + samples.joints[:, _HIPS].mean(1, keepdim=True))

    def _lifted(self, samples: Captures) -> ImageJoints:
        self.trunk = self.trunk.to(samples.images.device)
        with torch.no_grad():
            maps = looked_at(self.trunk, samples.images.float() / 255)
        found: ImageJoints = self.model(maps, samples.projections.flatten(0, 1))
        return found

    def _compared(self, samples: Captures) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Joints (B V, K, 3), their covariances, the true joints, and which count (B V, K)."""
        found, views = self._lifted(samples), samples.images.shape[1]
        truth = (samples.joints - samples.joints[:, _HIPS].mean(1, keepdim=True)).repeat_interleave(views, dim=0)
        return found.positions, found.covariance, truth, truth.isfinite().all(-1) & found.known[:, None]


def image_lifter() -> ImageLifterRecipe:
    """What the shipped weights are made with, on a processor."""
    return ImageLifterRecipe(
        tiers=(("easy", 16), ("medium", 24), ("hard", 8)),
        views=(1.0,),
        training=TrainingSettings(
            steps=2000,
            optimiser=Optimiser(learning_rate=1e-3, weight_decay=1e-2),
            schedule=Cosine(final=0.01),
            warm_up=100,
            clip=5.0,
            ema_decay=0.995,
            validate_every=500,
            checkpoint_every=100,
        ),
    )


def small() -> ImageLifterRecipe:
    """For a test."""
    network = ImageLifterConfig(lifter=LifterConfig(width=64, blocks=1), width=32)
    return shrunk(ImageLifterRecipe(network=network))

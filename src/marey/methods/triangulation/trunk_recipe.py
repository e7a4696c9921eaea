"""How the heads on the trunk are trained: one task for both, and recipes for the shipped weights and for tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from marey.core import Batch, Image
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import WEIGHTS as LIFTER
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.engine.capture_preview import capture_preview
from marey.engine.capture_recipe import CaptureRecipe, CaptureTask, capture_scores, card_hash, data_card, shrunk
from marey.engine.captures import Captures
from marey.engine.schedules import Cosine
from marey.engine.settings import Optimiser, ParameterGroup, TrainingSettings
from marey.io.weights import load_weights
from marey.methods.triangulation.losses import volumetric_cross_entropy
from marey.methods.triangulation.model import AlgebraicOutput, VolumetricOutput
from marey.methods.triangulation.networks import ENTRY, Kind, describe, trunk_network
from marey.methods.triangulation.trunk_model import (
    AlgebraicHead,
    AlgebraicHeadConfig,
    TrunkAlgebraic,
    TrunkVolumetric,
    VolumetricHead,
    VolumetricHeadConfig,
    lifted,
    looked_at,
    volume_grid,
)
from marey.metrics.joint_losses import bent_distance, bounded_likelihood, coverage_loss
from marey.nn.image_lifter import ImageLifter
from marey.nn.trunk import Trunk

Output = AlgebraicOutput | VolumetricOutput

_SPREAD = ParameterGroup(prefix="spread.", learning_rate=1e-2, weight_decay=0.0)
"""A few numbers that a quantile decides, by steps of one size: they have far to go."""


@dataclass(frozen=True, kw_only=True)
class HeadRecipe(CaptureRecipe):
    """What is trained on what."""

    network: AlgebraicHeadConfig | VolumetricHeadConfig
    center_deviation: float = 0.1
    """Metres by which the middle of a volume lies beside the pelvis, along each axis."""
    depth_deviation: float = 0.15
    """Of the logarithm of its distance from the camera, where that is all there is: one view leaves it open."""
    entropy_weight: float = 0.05
    """Of the volumes' cross-entropy."""
    coverage_weight: float = 1.0
    """Of the share of joints within their ellipsoids, see `coverage_loss`."""

    def task(self, data: Path | None = None) -> HeadTask:
        """The task; it needs no data.

        Raises:
            InputError: a folder of data is given.
            MissingAssetError: weights that stay as they are, of the trunk or of the lifter, are missing.
        """
        self.check_data(data)
        lifter = None if isinstance(self.network, AlgebraicHeadConfig) else shipped_image_lifter()
        return HeadTask(self, shipped_trunk(), lifter)


class HeadTask(CaptureTask[HeadRecipe]):
    """A `TrainingTask`: an endless stream of synthetic people and cameras; the trunk and the lifter stay as they are.

    Args:
        recipe: What is trained on what.
        trunk: The first stage.
        lifter: The second one of the volumetric network.
    """

    def __init__(self, recipe: HeadRecipe, trunk: Trunk, lifter: ImageLifter | None = None) -> None:
        self.recipe, self.trunk, self.lifter = recipe, trunk, lifter
        self.model: AlgebraicHead | VolumetricHead = (
            AlgebraicHead(recipe.network)
            if isinstance(recipe.network, AlgebraicHeadConfig)
            else VolumetricHead(recipe.network)
        )
        if recipe.weights:
            load_weights(self.model, recipe.weights)

    def card(self) -> dict[str, Any]:
        """What the data are, and what the network is to whoever loads it."""
        kind: Kind = "algebraic" if isinstance(self.model, AlgebraicHead) else "volumetric"
        whole = (
            TrunkAlgebraic(self.trunk, self.model)
            if isinstance(self.model, AlgebraicHead)
            else TrunkVolumetric(self.trunk, self._lifter(), self.model)
        )
        lifter = {} if self.lifter is None else {"lifter": card_hash(LIFTER)}
        return {**data_card(), **lifter, ENTRY: describe(trunk_network(kind, whole))}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `distance`, `likelihood` and `coverage`, and of volumes `entropy`; of one view root-relative."""
        samples: Captures = batch["samples"]
        recipe, output = self.recipe, self._estimated(samples, jittered=True)
        known = samples.joints.isfinite().all(-1) & output.joints.isfinite().all(-1)
        joints, truth = _comparable(output.joints, samples)
        losses = {
            "distance": recipe.distance_weight * bent_distance(joints, truth, known),
            "likelihood": recipe.likelihood_weight
            * bounded_likelihood(joints.detach(), output.covariance, truth, known),
            "coverage": recipe.coverage_weight
            * coverage_loss(joints - truth, output.covariance, self.model.spread(samples.projections), known),
        }
        if isinstance(output, VolumetricOutput):  # the depth of one view is open
            placed = known & (samples.images.shape[1] > 1)
            entropy = volumetric_cross_entropy(output.volumes, output.grid, samples.joints, placed)
            losses["entropy"] = recipe.entropy_weight * entropy
        return losses

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over people: `mpjpe_mm` and `coverage_90`, see `scores`."""
        samples: Captures = batch["samples"]
        output = self._estimated(samples, jittered=False)
        joints, truth = _comparable(output.joints, samples)
        return capture_scores(joints - truth, output.covariance)

    def preview(self, batch: Batch) -> dict[str, Image]:
        """The first person's pictures with the keypoints found, and the joints estimated and true."""
        samples: Captures = batch["samples"]
        return capture_preview(samples, self._estimated(samples, jittered=False).joints)

    def _estimated(self, samples: Captures, *, jittered: bool) -> Output:
        device = samples.images.device
        self.trunk = self.trunk.to(device)
        with torch.no_grad():
            maps = looked_at(self.trunk, samples.images.float() / 255)
        if isinstance(self.model, AlgebraicHead):
            algebraic: AlgebraicOutput = self.model(maps, samples.projections)
            return algebraic
        centers, turns = samples.centers, None
        if jittered:
            centers = self._misjudged(centers, samples.projections)
            turns = 2 * torch.pi * torch.rand(len(centers), device=device)
        grid = volume_grid(self.model.config, centers, turns)
        with torch.no_grad():
            guess = lifted(self._lifter().to(device), maps, samples.projections)
        volumetric: VolumetricOutput = self.model(maps, guess, samples.projections, grid)
        return volumetric

    def _misjudged(self, centers: Tensor, projections: Tensor) -> Tensor:
        if projections.shape[1] == 1:
            origin = -torch.linalg.solve(projections[:, 0, :, :3], projections[:, 0, :, 3])
            far = (self.recipe.depth_deviation * torch.randn_like(centers[:, :1])).exp()
            centers = origin + far * (centers - origin)
        return centers + self.recipe.center_deviation * torch.randn_like(centers)

    def _lifter(self) -> ImageLifter:
        assert self.lifter is not None, "the volumetric network has one"
        return self.lifter


def _comparable(joints: Tensor, samples: Captures) -> tuple[Tensor, Tensor]:
    """Joints and truth; of one view, whose depth is open, from the mean of the joints."""
    if samples.images.shape[1] > 1:
        return joints, samples.joints
    return joints - joints.mean(1, keepdim=True), samples.joints - samples.joints.mean(1, keepdim=True)


def algebraic() -> HeadRecipe:
    """What the shipped algebraic head is made with, on a processor."""
    return HeadRecipe(
        network=AlgebraicHeadConfig(),
        training=TrainingSettings(
            steps=1000,
            optimiser=Optimiser(learning_rate=1e-3, weight_decay=1e-3, groups=(_SPREAD,)),
            schedule=Cosine(final=0.01),
            warm_up=50,
            clip=1.0,
            ema_decay=0.995,
            validate_every=250,
            checkpoint_every=50,
        ),
    )


def volumetric() -> HeadRecipe:
    """What the shipped volumetric head is made with, on a processor."""
    return HeadRecipe(
        network=VolumetricHeadConfig(),
        tiers=(("easy", 1), ("medium", 4), ("hard", 1)),
        views=(0.3, 0.25, 0.1, 0.15, 0.0, 0.08, 0.0, 0.12),
        training=TrainingSettings(
            steps=1650,
            optimiser=Optimiser(learning_rate=2e-3, weight_decay=1e-3, groups=(_SPREAD,)),
            schedule=Cosine(final=0.01),
            warm_up=50,
            clip=1.0,
            precision="bf16-mixed",
            ema_decay=0.995,
            validate_every=250,
            checkpoint_every=50,
        ),
    )


def small(kind: Literal["algebraic", "volumetric"]) -> HeadRecipe:
    """For a test."""
    network = AlgebraicHeadConfig(width=32) if kind == "algebraic" else VolumetricHeadConfig(width=4, stem=8)
    return shrunk(HeadRecipe(network=network), views=(0.0, 1.0))

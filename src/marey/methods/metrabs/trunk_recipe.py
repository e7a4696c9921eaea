"""How the network on the trunk is trained: synthetic people, one camera each.

It begins as the shipped trunk and lifter under a head that changes nothing, and all three learn: on a trunk that stays
as it is for the sake of the other methods, the head soon has nothing left to learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import Batch, Image, skeleton
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import WEIGHTS as LIFTER
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.engine.capture_preview import capture_preview
from marey.engine.capture_recipe import CaptureRecipe, CaptureTask, capture_scores, card_hash, data_card, shrunk
from marey.engine.captures import Captures, CaptureStream
from marey.engine.schedules import Cosine
from marey.engine.settings import Optimiser, ParameterGroup, TrainingSettings
from marey.geometry.projection_matrices import pinhole_parts
from marey.io.weights import load_weights
from marey.methods.metrabs.framed_captures import FramedCaptures, Framing
from marey.methods.metrabs.trunk_model import MetricHead, MetricHeadConfig, PosedCrops, TrunkMetrabs
from marey.metrics.joint_losses import bent_distance, bounded_likelihood, coverage_loss, interval_loss
from marey.metrics.trunk_losses import heatmap_cross_entropy, keypoint_likelihood, visibility_entropy
from marey.nn.image_lifter import ImageLifter
from marey.nn.trunk import KEYPOINTS, Trunk

_HIPS = list(skeleton(KEYPOINTS).indices(("left_hip", "right_hip")))

_DOUBT = tuple(
    ParameterGroup(prefix=f"head.{name}", learning_rate=1e-2, weight_decay=0.0)
    for name in ("spread", "growth", "distance")
)
"""What learns from coverage alone, whose derivatives are small."""


@dataclass(frozen=True, kw_only=True)
class TrunkMetrabsRecipe(CaptureRecipe):
    """What is trained on what. Every batch is of single views."""

    network: MetricHeadConfig = field(default_factory=MetricHeadConfig)
    framing: Framing = field(default_factory=Framing)
    """Of the people in the pictures."""
    depth_weight: float = 1.0
    """Of the root's relative depth error, as its logarithm."""
    heatmap_weight: float = 0.5
    """Of the keypoints' cross-entropy, nats."""
    pixel_weight: float = 0.05
    """Of the negative log-likelihood of the keypoints in the picture."""
    visibility_weight: float = 0.2
    """Of the cross-entropy of the keypoints' visibility."""
    coverage_weight: float = 1.0
    """Of the shares within ellipsoids and intervals."""
    doubt_alone: bool = False
    """Whether the network stays as it is and works as it will be used, and only the factors on its ellipsoids and
    intervals learn: errors are larger where normalisation has not seen the batch."""

    def maker(self, stream: CaptureStream) -> Callable[[], Callable[[int], Captures]]:
        """What gives the function that makes batches, people framed anew."""
        return FramedCaptures(stream=stream, framing=self.framing).maker

    def task(self, data: Path | None = None) -> TrunkMetrabsTask:
        """The task; it needs no data.

        Raises:
            InputError: a folder of data is given.
            MissingAssetError: weights of the trunk or of the lifter are missing.
        """
        self.check_data(data)
        return TrunkMetrabsTask(self, shipped_trunk(), shipped_image_lifter())


class TrunkMetrabsTask(CaptureTask[TrunkMetrabsRecipe]):
    """A `TrainingTask`: an endless stream of synthetic people."""

    model: TrunkMetrabs

    def __init__(self, recipe: TrunkMetrabsRecipe, trunk: Trunk, lifter: ImageLifter) -> None:
        self.recipe = recipe
        self.model = TrunkMetrabs(deepcopy(trunk), deepcopy(lifter), MetricHead(recipe.network)).requires_grad_()
        if recipe.weights:
            load_weights(self.model, recipe.weights)
        if recipe.doubt_alone:
            for name, weight in self.model.named_parameters():
                weight.requires_grad_(name.startswith(tuple(group.prefix for group in _DOUBT)))

    def card(self) -> dict[str, Any]:
        """What the data are, and what the network is to whoever loads it."""
        network = {"on": "trunk", "skeleton": KEYPOINTS} | self.model.settings()
        return {**data_card(), "lifter": card_hash(LIFTER), "metrabs": network}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """What is lost by the joints, their covariances, the distance and the keypoints, every view for itself."""
        if self.recipe.doubt_alone:
            self.model.eval()
        recipe, (posed, truth, pixels) = self.recipe, self._posed(batch["samples"])
        rooted = truth - _hips(truth)
        guess = posed.poses.relative - _hips(posed.poses.relative)
        placed = posed.poses.joints - _hips(posed.poses.joints)
        known = truth.isfinite().all(-1)
        there = known & placed.isfinite().all(-1)
        error, placing = posed.poses.joints.detach() - truth, posed.poses.covariance
        assert placing is not None
        far, exact = _hips(posed.poses.joints)[:, 0, 2], _hips(truth)[:, 0, 2]
        near = there.all(-1) & (far > 0)
        off = (torch.where(near, far, 1.0) / torch.where(near, exact, 1.0)).log().abs()
        shown = torch.where(near, posed.place_covariance[:, 2, 2].detach(), 1.0)
        hidden = torch.where(near, far.detach(), 1.0) * self.model.head.distance.exp()
        nearly = bent_distance(guess, rooted, known) + bent_distance(placed.nan_to_num(), rooted, there)
        return {
            "distance": recipe.distance_weight * nearly / 2,
            "likelihood": recipe.likelihood_weight
            * bounded_likelihood(guess.detach(), posed.relative.covariance, rooted, known),
            "depth": recipe.depth_weight * (off.clamp(max=1.0) * near).sum() / near.sum().clamp_min(1),
            "heatmap": recipe.heatmap_weight * heatmap_cross_entropy(posed.maps, pixels),
            "pixels": recipe.pixel_weight * keypoint_likelihood(posed.keypoints, pixels),
            "visibility": recipe.visibility_weight
            * visibility_entropy(posed.keypoints, batch["samples"].seen.flatten(0, 1), pixels),
            "coverage": recipe.coverage_weight
            * (
                coverage_loss(error, placing, posed.relative.spread, there)
                + interval_loss(far - exact, (shown + hidden.square()).sqrt(), near)
            ),
        }

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over people and views: `mpjpe_mm` from the hips, `coverage_90` in the camera's frame, `depth_error`."""
        posed, truth, _ = self._posed(batch["samples"])
        joints = posed.poses.joints
        assert posed.poses.covariance is not None
        told = capture_scores((joints - truth).nan_to_num(), posed.poses.covariance)
        rooted = ((joints - _hips(joints)) - (truth - _hips(truth))).nan_to_num(nan=1.0)
        depth = _hips(joints)[:, 0, 2] / _hips(truth)[:, 0, 2] - 1
        return {
            **told,
            "mpjpe_mm": 1000 * rooted.norm(dim=-1).mean(1).sum(),
            "depth_error": depth.nan_to_num(nan=1.0).abs().clamp(max=1.0).sum(),
        }

    def preview(self, batch: Batch) -> dict[str, Image]:
        """The first person's picture with the true joints, and with those estimated about the true hips."""
        samples: Captures = batch["samples"]
        posed, _, _ = self._posed(samples)
        relative = posed.poses.relative - _hips(posed.poses.relative)
        _, to_camera = pinhole_parts(samples.projections.flatten(0, 1))
        found = (relative @ to_camera)[:: samples.images.shape[1]]
        return capture_preview(samples, found + samples.joints[:, _HIPS].mean(1, keepdim=True))

    def _posed(self, samples: Captures) -> tuple[PosedCrops, Tensor, Tensor]:
        """What the network says of all views; the true joints (B V, K, 3) in the cameras' frames, and their pixels."""
        projections = samples.projections.flatten(0, 1).float()
        inverse, _ = pinhole_parts(projections)
        intrinsics = torch.linalg.inv(inverse)
        images = samples.images.flatten(0, 1).float() / 255
        moved = inverse @ projections
        joints = samples.joints.repeat_interleave(samples.images.shape[1], dim=0)
        truth = joints @ moved[..., :3].mT + moved[:, None, :, 3]
        depth = torch.where(truth[..., 2:] > 0, truth[..., 2:], torch.nan)
        return self.model.posed(images, intrinsics), truth, (truth / depth @ intrinsics.mT)[..., :2]


def _hips(joints: Tensor) -> Tensor:
    return joints[:, _HIPS].mean(1, keepdim=True)


def trunk_metrabs() -> TrunkMetrabsRecipe:
    """Meant for a processor; the card of the method says how the shipped weights were made with it."""
    return TrunkMetrabsRecipe(
        tiers=(("easy", 16), ("medium", 24), ("hard", 8)),
        views=(1.0,),
        training=TrainingSettings(
            steps=2000,
            optimiser=Optimiser(learning_rate=1e-3, weight_decay=0.05, decay_vectors=False, groups=_DOUBT),
            schedule=Cosine(final=0.01),
            warm_up=100,
            precision="bf16-mixed",
            clip=5.0,
            ema_decay=0.998,
            validate_every=500,
            checkpoint_every=200,
        ),
    )


def small() -> TrunkMetrabsRecipe:
    """For a test."""
    return shrunk(TrunkMetrabsRecipe(network=MetricHeadConfig(width=16, blocks=1)))

"""How the heads on the trunk are trained: one task for both, and recipes for the shipped weights and for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from marey.core import Batch, Image, InputError
from marey.detect.trunk import SIDE, WEIGHTS, shipped_trunk
from marey.engine.schedules import Cosine
from marey.engine.settings import Optimiser, TrainingSettings
from marey.engine.streams import made_ahead
from marey.geometry.small import inverse_3x3_symmetric
from marey.methods.triangulation.captures import Captures, CaptureStream
from marey.methods.triangulation.losses import gaussian_likelihood, volumetric_cross_entropy
from marey.methods.triangulation.model import AlgebraicOutput, VolumetricOutput
from marey.methods.triangulation.networks import ENTRY, Kind, describe, trunk_network
from marey.methods.triangulation.trunk_model import (
    AlgebraicHead,
    AlgebraicHeadConfig,
    TrunkAlgebraic,
    TrunkVolumetric,
    VolumetricHead,
    VolumetricHeadConfig,
    looked_at,
    volume_grid,
)
from marey.methods.triangulation.trunk_preview import head_preview
from marey.nn.precision import full_precision
from marey.nn.trunk import KEYPOINTS, Trunk

CHI2_90 = 6.2514
"""90 % quantile of the chi-squared distribution with three degrees of freedom."""
_LEAST_DEVIATION = 0.001
"""Metres, of what is known of a joint."""
_OPEN = 4.0
"""Square metres of a covariance in all, from which on it says nothing."""
_FAR = 1.0
"""Metres off, from which on it matters less how far."""
Output = AlgebraicOutput | VolumetricOutput


@dataclass(frozen=True, kw_only=True)
class HeadRecipe:
    """What is trained on what."""

    network: AlgebraicHeadConfig | VolumetricHeadConfig
    tiers: tuple[tuple[str, int], ...] = (("easy", 4), ("medium", 16), ("hard", 4))
    """And people of each in a global batch."""
    views: tuple[float, ...] = (0.0, 0.3, 0.15, 0.25, 0.0, 0.1, 0.0, 0.2)
    """How often a batch has one view, two, and so on."""
    validation: int = 8
    """Global batches."""
    mirrored: bool = True
    """Every batch is followed by its mirror images."""
    workers: int = 1
    """Processes that make pictures while the head learns; 0: the one that trains, as always on an accelerator."""
    center_deviation: float = 0.1
    """Metres by which the middle of a volume lies beside the pelvis, along each axis."""
    distance_weight: float = 10.0
    """Of the mean distance of the joints, metres."""
    likelihood_weight: float = 0.1
    """Of the covariance's negative log-likelihood; the joints themselves do not learn from it."""
    entropy_weight: float = 0.05
    """Of the volumes' cross-entropy."""
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def task(self, data: Path | None = None) -> HeadTask:
        """The task; it needs no data.

        Raises:
            InputError: a folder of data is given.
            MissingAssetError: the trunk's weights are missing.
        """
        if data is not None:
            raise InputError("the heads are trained on synthetic captures, made while they train; leave out --data")
        return HeadTask(self, shipped_trunk())


class HeadTask:
    """A `TrainingTask`: an endless stream of synthetic people and cameras; the trunk stays as it is."""

    def __init__(self, recipe: HeadRecipe, trunk: Trunk) -> None:
        self.recipe, self.trunk = recipe, trunk
        self.model: AlgebraicHead | VolumetricHead = (
            AlgebraicHead(recipe.network)
            if isinstance(recipe.network, AlgebraicHeadConfig)
            else VolumetricHead(recipe.network)
        )

    def card(self) -> dict[str, Any]:
        """What the data are, and what the network is to whoever loads it."""
        kind: Kind = "algebraic" if isinstance(self.model, AlgebraicHead) else "volumetric"
        whole = (
            TrunkAlgebraic(self.trunk, self.model)
            if isinstance(self.model, AlgebraicHead)
            else TrunkVolumetric(self.trunk, self.model)
        )
        return {
            "pictures": "synthetic captures of the open body, split training, some of eight cameras around people",
            "trunk": hashlib.sha256(WEIGHTS.joinpath("card.json").read_bytes()).hexdigest(),
            ENTRY: describe(trunk_network(kind, whole)),
        }

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; no two splits, and no two seeds of one, share a sample.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        if split not in ("train", "validation"):
            raise InputError(f"split: expected train or validation, got '{split}'")
        recipe, train, device = self.recipe, split == "train", next(self.model.parameters()).device
        if odd := [people for _, people in recipe.tiers if people % world]:
            raise InputError(f"tiers: expected multiples of the {world} processes, got {odd[0]} people")
        stream = CaptureStream(
            tiers=recipe.tiers,
            views=recipe.views,
            side=SIDE,
            skeleton=KEYPOINTS,
            seed=2 * seed + (not train),
            rank=rank,
            world=world,
            mirrored=recipe.mirrored and train,
            device=device,
        )
        stop, workers = (None, recipe.workers) if train else (recipe.validation, 0)
        make: Callable[[], Callable[[int], Captures]] = stream.maker
        made = made_ahead(make, start, stop, workers=workers if device.type == "cpu" else 0)
        return ({"samples": samples} for samples in made)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `distance` and `likelihood`, and of volumes `entropy`; of one view relative to the pelvis."""
        samples: Captures = batch["samples"]
        recipe, output = self.recipe, self._estimated(samples, jittered=True)
        known = samples.joints.isfinite().all(-1) & output.joints.isfinite().all(-1)
        joints, truth = _comparable(output.joints, samples)
        losses = {
            "distance": recipe.distance_weight * _distance(joints, truth, known),
            "likelihood": recipe.likelihood_weight * _likelihood(joints.detach(), output.covariance, truth, known),
        }
        if isinstance(output, VolumetricOutput):  # the depth of one view is open
            placed = known & (samples.images.shape[1] > 1)
            entropy = volumetric_cross_entropy(output.volumes, output.grid, samples.joints, placed)
            losses["entropy"] = recipe.entropy_weight * entropy
        return losses

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over people: mean distance of the joints in millimetres, and the share within 90 % ellipsoids."""
        samples: Captures = batch["samples"]
        output = self._estimated(samples, jittered=False)
        joints, truth = _comparable(output.joints, samples)
        error = joints - truth
        with full_precision(error):
            squared = torch.einsum("bji,bjik,bjk->bj", error, inverse_3x3_symmetric(output.covariance), error)
        return {
            "mpjpe_mm": 1000 * error.square().sum(-1).sqrt().mean(1).sum(),
            "coverage_90": (squared <= CHI2_90).to(error).mean(1).sum(),
            "count": torch.tensor(len(error), device=error.device),
        }

    def preview(self, batch: Batch) -> dict[str, Image]:
        """The first person's pictures with the keypoints found, and the joints estimated and true."""
        samples: Captures = batch["samples"]
        return head_preview(samples, self._estimated(samples, jittered=False))

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
            centers = centers + self.recipe.center_deviation * torch.randn_like(centers)
            turns = 2 * torch.pi * torch.rand(len(centers), device=device)
        volumetric: VolumetricOutput = self.model(
            maps, samples.projections, volume_grid(self.model.config, centers, turns)
        )
        return volumetric


def _comparable(joints: Tensor, samples: Captures) -> tuple[Tensor, Tensor]:
    """Joints and truth; of one view, whose depth is open, from the mean of the joints."""
    if samples.images.shape[1] > 1:
        return joints, samples.joints
    return joints - joints.mean(1, keepdim=True), samples.joints - samples.joints.mean(1, keepdim=True)


def _likelihood(joints: Tensor, covariance: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Of covariances of which some are hardly defined: two cameras that face each other leave a direction open."""
    total = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    defined = (total > 0) & (total < _OPEN)  # beyond, single precision leaves a matrix that is none
    identity = torch.eye(3, dtype=torch.float64, device=total.device)
    spread = torch.where(defined[..., None, None], covariance.double(), identity)
    share = (_FAR / (joints - truth).norm(dim=-1, keepdim=True).clamp_min(_FAR)).double()
    near = truth + share * (joints - truth)  # one joint that is lost must not drown the others
    with full_precision(joints):
        spread = spread + _LEAST_DEVIATION**2 * identity
        return gaussian_likelihood(near, spread, truth.double(), known & defined).float()


def _distance(joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean distance; beyond a metre it grows with its logarithm."""
    squared = torch.where(known[..., None], joints - truth, 0.0).square().sum(-1)
    apart = (squared + 1e-10).sqrt()
    bent = torch.where(apart > _FAR, _FAR * (1 + (apart.clamp_min(_FAR) / _FAR).log()), apart)
    return (bent * known).sum() / known.sum().clamp_min(1)


def algebraic() -> HeadRecipe:
    """What the shipped algebraic head is made with, on a processor."""
    return HeadRecipe(
        network=AlgebraicHeadConfig(),
        training=TrainingSettings(
            steps=1500,
            optimiser=Optimiser(learning_rate=1e-3, weight_decay=1e-3),
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
        views=(0.2, 0.3, 0.1, 0.2, 0.0, 0.08, 0.0, 0.12),
        training=TrainingSettings(
            steps=1500,
            optimiser=Optimiser(learning_rate=2e-3, weight_decay=1e-3),
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
    return HeadRecipe(
        network=network,
        tiers=(("easy", 4),),
        views=(0.0, 1.0),
        validation=1,
        workers=0,
        training=TrainingSettings(
            steps=4, optimiser=Optimiser(learning_rate=1e-3), validate_every=4, checkpoint_every=4
        ),
    )

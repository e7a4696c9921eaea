"""What recipes of networks on the shared trunk have in common: captures as they come, the card, scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from marey.core import Batch, InputError
from marey.detect.trunk import SIDE, WEIGHTS
from marey.engine.captures import Captures, CaptureStream
from marey.engine.settings import Optimiser, TrainingSettings
from marey.engine.streams import made_ahead
from marey.geometry.small import inverse_3x3_symmetric
from marey.io.weights import CARD
from marey.metrics.uncertainty import CHI2_90
from marey.nn.precision import full_precision
from marey.nn.trunk import KEYPOINTS

Recipe = TypeVar("Recipe", bound="CaptureRecipe")


@dataclass(frozen=True, kw_only=True)
class CaptureRecipe:
    """Which captures a network on the trunk learns from, and what counts how much."""

    tiers: tuple[tuple[str, int], ...] = (("easy", 4), ("medium", 16), ("hard", 4))
    """And people of each in a global batch."""
    views: tuple[float, ...] = (0.0, 0.3, 0.15, 0.25, 0.0, 0.1, 0.0, 0.2)
    """How often a batch has one view, two, and so on."""
    validation: int = 8
    """Global batches."""
    mirrored: bool = True
    """Every batch is followed by its mirror images."""
    workers: int = 1
    """Processes that make pictures while the network learns; 0: the one that trains, as always on an accelerator."""
    distance_weight: float = 10.0
    """Of the mean distance of the joints, metres."""
    likelihood_weight: float = 0.1
    """Of the covariance's negative log-likelihood; the joints themselves do not learn from it."""
    weights: str = ""
    """A folder that `marey train` wrote, with whose weights the network starts."""
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def maker(self, stream: CaptureStream) -> Callable[[], Callable[[int], Captures]]:
        """What gives the function that makes batches; can be sent to other processes."""
        return stream.maker

    def check_data(self, data: Path | None) -> None:
        """Refuse data.

        Raises:
            InputError: there are any.
        """
        if data is not None:
            raise InputError("this is trained on synthetic captures, made while it trains; leave out --data")

    def batches(
        self, split: str, *, seed: int, rank: int, world: int, device: torch.device, start: int = 0
    ) -> Iterable[Batch]:
        """Give this process's shards; no two splits, and no two seeds of one, share a sample.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        if split not in ("train", "validation"):
            raise InputError(f"split: expected train or validation, got '{split}'")
        train = split == "train"
        if odd := [people for _, people in self.tiers if people % world]:
            raise InputError(f"tiers: expected multiples of the {world} processes, got {odd[0]} people")
        stream = CaptureStream(
            tiers=self.tiers,
            views=self.views,
            side=SIDE,
            skeleton=KEYPOINTS,
            seed=2 * seed + (not train),
            rank=rank,
            world=world,
            mirrored=self.mirrored and train,
            device=device,
        )
        stop, workers = (None, self.workers) if train else (self.validation, 0)
        made = made_ahead(self.maker(stream), start, stop, workers=workers if device.type == "cpu" else 0)
        return ({"samples": samples} for samples in made)


class CaptureTask(Generic[Recipe]):
    """The part of a `TrainingTask` that networks on the trunk have in common: an endless stream of captures."""

    recipe: Recipe
    model: nn.Module

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; no two splits, and no two seeds of one, share a sample.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        device = next(self.model.parameters()).device
        return self.recipe.batches(split, seed=seed, rank=rank, world=world, device=device, start=start)


def shrunk(recipe: Recipe, *, views: tuple[float, ...] = (1.0,)) -> Recipe:
    """A recipe of a few steps with a few people, for tests.

    Args:
        recipe: Whose other settings stay.
        views: As `CaptureRecipe.views`.
    """
    training = TrainingSettings(steps=4, optimiser=Optimiser(learning_rate=1e-3), validate_every=4, checkpoint_every=4)
    return replace(recipe, tiers=(("easy", 4),), views=views, validation=1, workers=0, training=training)


def data_card() -> dict[str, Any]:
    """What the data are."""
    return {
        "pictures": "synthetic captures of the open body, split training, some of eight cameras around people",
        "trunk": card_hash(WEIGHTS),
    }


def card_hash(weights: Traversable) -> str:
    """SHA-256 of the card of weights, which names those of their files: what was learned on them needs them."""
    return hashlib.sha256(weights.joinpath(CARD).read_bytes()).hexdigest()


def capture_scores(error: Tensor, covariance: Tensor) -> dict[str, Tensor]:
    """Sums over people: mean distance of the joints in millimetres, and the share within 90 % ellipsoids.

    Args:
        error: (B, J, 3) metres.
        covariance: (B, J, 3, 3) square metres.
    """
    with full_precision(error):
        squared = torch.einsum("bji,bjik,bjk->bj", error, inverse_3x3_symmetric(covariance), error)
    return {
        "mpjpe_mm": 1000 * error.square().sum(-1).sqrt().mean(1).sum(),
        "coverage_90": (squared <= CHI2_90[3]).to(error).mean(1).sum(),
        "count": torch.tensor(len(error), device=error.device),
    }

"""How the lifter is trained: the task, and recipes for the shipped weights and for a test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.body.motion_splits import Split
from marey.body.recorded_motions import find_motions, read_motion
from marey.core import Batch, Image, InputError
from marey.data.synthetic.clips import Clips
from marey.data.synthetic.random import Draws
from marey.engine.schedules import Cosine
from marey.engine.settings import Optimiser, TrainingSettings
from marey.methods.lifting.losses import distance, joint_weights, negative_log_likelihood, squared_deviation
from marey.methods.lifting.motions import MixedPoses, PoseMix
from marey.methods.lifting.preview import lifting_preview
from marey.methods.lifting.samples import SampleMaker, Samples, Scene
from marey.metrics.uncertainty import CHI2_90
from marey.nn.lifter import LiftedJoints, Lifter, LifterConfig


@dataclass(frozen=True, kw_only=True)
class LiftingRecipe:
    """What is trained on what."""

    network: LifterConfig = field(default_factory=LifterConfig)
    poses: PoseMix = field(default_factory=PoseMix)
    scene: Scene = field(default_factory=Scene)
    motions: tuple[str, ...] = ("motion_clips", "mocap_cmu")
    """Folders of motions in the data folder, of which those for training are used; empty: the data folder itself.
    Without a data folder there are no recorded poses."""
    batch: int = 512
    """Samples of a step, of all processes together."""
    validation: int = 4096
    """Samples."""
    distance_weight: float = 10.0
    """Of the mean distance in metres."""
    likelihood_weight: float = 0.2
    """Of the negative logarithm of the likelihood, nats a joint."""
    training: TrainingSettings = field(
        default_factory=lambda: TrainingSettings(
            steps=4500,
            optimiser=Optimiser(learning_rate=2e-3, weight_decay=1e-4),
            schedule=Cosine(),
            warm_up=200,
            clip=5.0,
            ema_decay=0.998,
            validate_every=500,
            checkpoint_every=500,
        )
    )

    def task(self, data: Path | None = None) -> LiftingTask:
        """The task, with the recorded motions of a folder if there is one.

        Raises:
            InputError: the folder has no motions for training.
            FormatError: a motion is malformed.
        """
        clips = None if data is None else read_clips(data, self.motions, "training")
        return LiftingTask(self, clips)


class LiftingTask:
    """A `TrainingTask`: an endless stream of synthetic people.

    Args:
        recipe: What is trained on what.
        clips: Recorded motions for training.
    """

    def __init__(self, recipe: LiftingRecipe, clips: Clips | None = None) -> None:
        self.recipe, self.model = recipe, Lifter(recipe.network)
        self._make = SampleMaker(MixedPoses(mix=recipe.poses, clips=clips), recipe.scene)
        self._clips = () if clips is None else clips.names

    def card(self) -> dict[str, Any]:
        """What the data are."""
        return {"people": "synthetic, of the open body", "recorded_motions": list(self._clips)}

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; no two splits, and no two seeds of one, share a sample.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        size = self.recipe.batch
        if size % world:
            raise InputError(f"batch: expected a multiple of the {world} processes, got {size}")
        if split not in ("train", "validation"):
            raise InputError(f"split: expected train or validation, got '{split}'")
        shard = torch.arange(rank, size, world)
        firsts = count(start * size, size) if split == "train" else range(start * size, self.recipe.validation, size)
        return self._made(split, seed, (first + shard for first in firsts))

    def _made(self, split: str, seed: int, rows: Iterable[Tensor]) -> Iterator[Batch]:
        for indices in rows:
            kept = indices if split == "train" else indices[indices < self.recipe.validation]
            if len(kept):
                yield {"samples": self._make(Draws(seed=seed, split=f"lifting/{split}", indices=kept))}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted `distance` and `likelihood`."""
        samples: Samples = batch["samples"]
        lifted = self._lifted(samples)
        weights = joint_weights(samples.there, samples.view.known)
        residual = samples.joints - lifted.positions
        return {
            "distance": self.recipe.distance_weight * distance(lifted.positions, samples.joints, weights),
            "likelihood": self.recipe.likelihood_weight * negative_log_likelihood(residual, lifted.factor, weights),
        }

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over the people: mean distance of their joints in millimetres, and the share within 90 % ellipsoids."""
        samples: Samples = batch["samples"]
        lifted = self._lifted(samples)
        counted = (samples.there & samples.view.known[:, None]).to(lifted.positions)
        each = counted.sum(1).clamp_min(1)
        residual = samples.joints - lifted.positions
        inside = (squared_deviation(residual, lifted.factor) <= CHI2_90[3]).to(each)
        return {
            "mpjpe_mm": 1000 * (residual.square().sum(-1).sqrt() * counted).sum(1).div(each).sum(),
            "coverage_90": (inside * counted).sum(1).div(each).sum(),
            "count": samples.view.known.sum().to(each),
        }

    def preview(self, batch: Batch) -> dict[str, Image]:
        """Keypoints, and the joints that are true and guessed from three sides, of the first person."""
        samples: Samples = batch["samples"]
        return lifting_preview(samples, self._lifted(samples))

    def _lifted(self, samples: Samples) -> LiftedJoints:
        view = samples.view
        lifted: LiftedJoints = self.model(view.points, view.deviation, view.score, view.size)
        return lifted


def read_clips(data: Path, folders: tuple[str, ...], split: Split) -> Clips:
    """Read the recorded motions of a split, see `marey.body.motion_splits`.

    Args:
        data: Folder.
        folders: In it; empty: itself.
        split: Whose motions.

    Raises:
        InputError: a folder is missing or has no motion of the split.
        FormatError: a motion is malformed.
    """
    paths = [path for folder in folders or ("",) for path in find_motions(data / folder, split=split)]
    return Clips.of([read_motion(path) for path in paths])


def default() -> LiftingRecipe:
    """What the shipped weights were made with."""
    return LiftingRecipe()


def small() -> LiftingRecipe:
    """For a test: a smaller network that learns something in half a minute."""
    return LiftingRecipe(
        network=LifterConfig(width=96, blocks=1),
        batch=128,
        validation=512,
        training=TrainingSettings(
            steps=150,
            optimiser=Optimiser(learning_rate=4e-3),
            schedule=Cosine(),
            warm_up=20,
            clip=5.0,
            ema_decay=0.95,
            validate_every=150,
            checkpoint_every=150,
        ),
    )

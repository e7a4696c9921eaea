"""A small real task for the tests of the engine: a network learns what another one, fixed, makes of random rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from marey.engine.settings import Optimiser, TrainingSettings
from marey.engine.streams import in_order, shuffled

ROWS, INPUTS, OUTPUTS = 96, 6, 3


def settings(**changes) -> TrainingSettings:
    """Twelve steps, everything on."""
    usual = {
        "steps": 12,
        "seed": 5,
        "optimiser": Optimiser(learning_rate=0.02),
        "ema_decay": 0.9,
        "validate_every": 4,
        "checkpoint_every": 4,
        "log_every": 2,
        "accelerator": "cpu",
    }
    return TrainingSettings(**usual | changes)


@dataclass(frozen=True, kw_only=True)
class SmallRecipe:
    """What a recipe looks like."""

    width: int = 16
    batch: int = 16
    dropout: float = 0.2
    validation: int = 40
    """Rows of a batch."""
    idle: bool = False
    """Whether the network has a part that no loss depends on."""
    normalise: bool = False
    """Whether inputs are normalised by the statistics of the batch."""
    training: TrainingSettings = field(default_factory=settings)

    def task(self, data: Path | None) -> SmallTask:
        return SmallTask(self, scale=1.0 if data is None else float((data / "scale.txt").read_text()))


class Idle(nn.Linear):
    """Has parameters, and passes on what comes."""

    def forward(self, values: Tensor) -> Tensor:
        return values


class SmallTask:
    """See the head of the file.

    Args:
        recipe: Network, data and training.
        scale: Of what is learned.
        kill_at: Global batch at which the process kills itself.
        stop_at: Global batch at which the first process is asked to stop.
        poison_at: Global batch whose labels are not numbers.
    """

    def __init__(
        self, recipe: SmallRecipe, *, scale: float = 1.0, kill_at: int = -1, stop_at: int = -1, poison_at: int = -1
    ) -> None:
        self.recipe, self.kill_at, self.stop_at, self.poison_at = recipe, kill_at, stop_at, poison_at
        source = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(ROWS, INPUTS, generator=source)
        self.truth = scale * torch.tanh(self.inputs @ torch.randn(INPUTS, OUTPUTS, generator=source))
        self.model = nn.Sequential(
            nn.Linear(INPUTS, recipe.width), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(recipe.width, OUTPUTS)
        )
        if recipe.idle:
            self.model.idle = Idle(3, 3)
        if recipe.normalise:
            self.model.insert(0, nn.BatchNorm1d(INPUTS))
        self.seen: list[list[int]] = []
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=source))

    def batches(
        self, split: str, *, seed: int, rank: int, world: int, start: int = 0
    ) -> Iterator[Mapping[str, Tensor]]:
        if split == "train":
            stream = shuffled(ROWS, self.recipe.batch, seed=seed, rank=rank, world=world, start=start)
        else:
            stream = in_order(ROWS, self.recipe.validation, rank=rank, world=world)
        for number, rows in enumerate(stream, start):
            if split == "train" and number == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if split == "train" and number == self.stop_at and rank == 0:
                signal.raise_signal(signal.SIGTERM)
            poisoned = split == "train" and number == self.poison_at
            truth = self.truth[rows] * (float("nan") if poisoned else 1)
            yield {"rows": rows, "inputs": self.inputs[rows], "truth": truth}

    def loss(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.seen.append(batch["rows"].tolist())
        difference = self.model(batch["inputs"]) - batch["truth"]
        return {"square": difference.square().mean(), "absolute": 0.1 * difference.abs().mean()}

    def validate(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        error = (self.model(batch["inputs"]) - batch["truth"]).norm(dim=-1)
        return {"error": error.sum(), "count": torch.tensor(len(error))}

    def preview(self, batch: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
        shades = (batch["truth"].sigmoid() * 255).to(torch.uint8).cpu().numpy()
        return {
            "truth": np.repeat(np.repeat(shades[:, None, :, None], 3, axis=-1).reshape(len(shades), -1, 3), 8, axis=0)
        }

    def card(self) -> dict[str, object]:
        return {"name": "random rows", "rows": ROWS}

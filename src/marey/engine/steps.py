"""One optimiser step: gradients of one global batch or several, over all processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from marey.core import Batch, InputError, ShapeError, TrainingError, TrainingTask
from marey.engine.batches import moved, rows
from marey.engine.optimisers import make_optimiser, set_learning_rates
from marey.engine.schedules import learning_rate_factor
from marey.engine.seeding import seed_all
from marey.engine.settings import TrainingSettings


class StepReport(NamedTuple):
    """What a step did at this process; tensors stay on the device, so that nobody waits for them."""

    losses: dict[str, Tensor]
    norm: Tensor
    """Of the gradient of all parameters, before clipping."""
    rates: dict[str, float]
    """Learning rates by the names of parts."""
    rows: int


class Stepper:
    """The model with its optimiser at this process."""

    def __init__(self, task: TrainingTask, settings: TrainingSettings, fabric: Any) -> None:
        self.task, self.settings, self.fabric = task, settings, fabric
        self.optimiser = make_optimiser(task.model, settings.optimiser)
        self.losses, self._step = fabric.setup(_Losses(task), self.optimiser)
        self.dtype = torch.float64 if settings.precision == "64-true" else None
        self.batch: Batch = {}
        """The last one, on the device."""

    def stream(self, step: int) -> Iterator[Batch]:
        """Global batches from a step on, this process's shards."""
        batches = self.task.batches(
            "train",
            seed=self.settings.seed,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
            start=step * self.settings.accumulate,
        )
        return iter(batches)

    def step(self, stream: Iterator[Batch], step: int) -> StepReport:
        """Do the step of this number, counted from 0."""
        settings = self.settings
        factor = learning_rate_factor(settings.schedule, step, steps=settings.steps, warm_up=settings.warm_up)
        rates = set_learning_rates(self.optimiser, factor)
        losses: dict[str, Tensor] = {}
        count = 0
        for part in range(settings.accumulate):
            seed_all(settings.seed, step * settings.accumulate + part, self.fabric.global_rank)
            self.batch = moved(_next(stream, step), self.fabric.device, self.dtype)
            for name, value in self._backward(last=part + 1 == settings.accumulate).items():
                losses[name] = losses[name] + value if name in losses else value
            count += rows(self.batch)
        norm = self.fabric.clip_gradients(
            self.losses, self._step, max_norm=settings.clip or torch.inf, error_if_nonfinite=False
        )
        self._step.step()
        self._step.zero_grad()
        return StepReport(losses, norm, rates, count)

    def _backward(self, *, last: bool) -> dict[str, Tensor]:
        """Add the gradients of a batch; the processes exchange theirs with the last one only."""
        share = 1 / self.settings.accumulate
        with self.fabric.no_backward_sync(self.losses, enabled=not last):
            try:
                losses = _checked(self.losses(_Carried(self.batch)))
                self.fabric.backward(torch.stack([*losses.values()]).sum() * share)
            except RuntimeError as error:
                if "find_unused_parameters" not in str(error):
                    raise
                raise InputError(
                    "the loss of a step left parameters out, which processes that train together have to know: set "
                    "training.unused_parameters = true, or train without them (requires_grad)"
                ) from error
        return {name: value.detach() * share for name, value in losses.items()}

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, but for the average, the data and the settings."""
        return {
            "model": self.task.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that was kept; what the optimiser was told anew stays.

        Raises:
            TrainingError: it is of another network, or of other groups of parameters.
        """
        told = [{name: value for name, value in group.items() if name != "params"} for group in self._groups()]
        try:
            self.task.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(f"the checkpoint is of another network or optimiser: {error}") from error
        for group, options in zip(self._groups(), told, strict=True):
            group.update(options)
        self.fabric.strategy.precision.load_state_dict(state["precision"])

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimiser.param_groups


class _Losses(nn.Module):
    """A task's losses as a module: what distributed training and mixed precision wrap."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.model = task.model
        self._loss = task.loss

    def forward(self, carried: _Carried) -> dict[str, Tensor]:
        return self._loss(carried.batch)


class _Carried:
    """A batch that the wrappers pass on as it is: they would take frozen dataclasses apart."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


def _next(stream: Iterator[Batch], step: int) -> Batch:
    batch = next(stream, None)
    if batch is None:
        raise InputError(
            f"the task's batches of the split 'train' ended in step {step + 1}; expected an endless stream"
        )
    return batch


def _checked(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    if not losses:
        raise ShapeError("loss: expected one or more named losses, got none")
    for name, value in losses.items():
        if value.ndim:
            raise ShapeError(f"loss: expected scalars, means over the batch, got {tuple(value.shape)} for '{name}'")
    return losses

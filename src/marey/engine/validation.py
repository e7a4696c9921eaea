"""Scores of a split: sums over rows, batches and processes, divided once at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marey.core import InputError, ShapeError, TrainingTask
from marey.engine.batches import moved
from marey.engine.seeding import seed_all

COUNT = "count"


def validated(
    task: TrainingTask,
    fabric: Any,
    *,
    seed: int,
    step: int,
    split: str = "validation",
    dtype: torch.dtype | None = None,
) -> dict[str, float]:
    """Average a task's scores over a split, the same at every process.

    The model is used without the wrapper of distributed training, so processes may have different numbers of batches.

    Raises:
        InputError: the split has no row.
        ShapeError: the task's scores have no count, or change their names.
    """
    seed_all(seed, "validation", step, fabric.global_rank)
    task.model.eval()
    sums: dict[str, Tensor] = {}
    batches = task.batches(split, seed=seed, rank=fabric.global_rank, world=fabric.world_size)
    for batch in batches:  # the task makes its batches without the precision that its model computes in
        with torch.no_grad(), fabric.autocast():
            _add(sums, task.validate(moved(batch, fabric.device, dtype)))
    totals = _over_processes(sums, fabric)
    count = totals.pop(COUNT, 0.0)
    if not count:
        raise InputError(f"the split '{split}' has no row to validate on; set validate_every to 0 if that is meant")
    return {name: total / count for name, total in totals.items()}


def _add(sums: dict[str, Tensor], scores: dict[str, Tensor]) -> None:
    if COUNT not in scores or (sums and scores.keys() != sums.keys()):
        before = f", before {', '.join(sums)}" if sums else ""
        raise ShapeError(
            f"validate: expected the same named sums each time and '{COUNT}', got {', '.join(scores)}{before}"
        )
    for name, score in scores.items():
        value = torch.as_tensor(score).detach().cpu().double()
        sums[name] = sums[name] + value if name in sums else value


def _over_processes(sums: dict[str, Tensor], fabric: Any) -> dict[str, float]:
    """Add up what the processes have; one without a row adds nothing and learns the names."""
    everyone: list[dict[str, float]] = [{name: float(value) for name, value in sums.items()}]
    if fabric.world_size > 1:
        gathered: list[Any] = [None] * fabric.world_size
        torch.distributed.all_gather_object(gathered, everyone[0])
        everyone = gathered
    names = dict.fromkeys(name for sums_there in everyone for name in sums_there)
    return {name: sum(sums_there.get(name, 0.0) for sums_there in everyone) for name in names}

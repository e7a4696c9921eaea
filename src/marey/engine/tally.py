"""What steps report, kept on the device until it is asked for."""

from __future__ import annotations

import time
from typing import Any

import torch

from marey.core import TrainingError
from marey.engine.steps import StepReport

NORM = "grad_norm"


class Tally:
    """Reports of the steps since the last reading.

    Args:
        finite_norm: Whether a gradient that is not finite is an error; with float16 it happens and is skipped.
    """

    def __init__(self, *, finite_norm: bool = True) -> None:
        self.finite_norm = finite_norm
        self._steps: list[tuple[int, StepReport]] = []
        self._since = time.perf_counter()

    def add(self, step: int, report: StepReport) -> None:
        """Take in the report of the step of this number, counted from 1."""
        self._steps.append((step, report))

    def read(self, fabric: Any) -> dict[str, float]:
        """Average over the steps since the last reading and over processes, and start anew; all processes read at once.

        Raises:
            TrainingError: a loss or a gradient was not finite; the message names the first step and which.
        """
        names = [*self._steps[0][1].losses, NORM]
        values = torch.stack([torch.stack([*_floats(report)]) for _, report in self._steps])
        table = fabric.all_reduce(values, reduce_op="mean").cpu().double()
        self._check(names, table)
        loss = table[:, :-1].sum(1).mean()
        now = time.perf_counter()
        seconds, self._since = max(now - self._since, 1e-9), now
        reports = [report for _, report in self._steps]
        self._steps = []
        return {
            "loss": float(loss),
            **{f"loss/{name}": value for name, value in zip(names[:-1], table.mean(0).tolist(), strict=False)},
            NORM: float(table[:, -1].mean()),
            **{f"learning_rate/{name}": rate for name, rate in reports[-1].rates.items()},
            "steps_per_s": len(reports) / seconds,
            "samples_per_s": sum(report.rows for report in reports) * fabric.world_size / seconds,
        }

    def _check(self, names: list[str], table: torch.Tensor) -> None:
        bad = ~table.isfinite()
        bad[:, -1] &= self.finite_norm
        if not bad.any():
            return
        first = int(bad.any(1).nonzero()[0])
        which = ", ".join(name for name, is_bad in zip(names, bad[first].tolist(), strict=True) if is_bad)
        raise TrainingError(
            f"step {self._steps[first][0]}: not finite: {which}; the last checkpoint is from before. Lower the "
            "learning rate, clip the gradient (training.clip), or look at the data with --preview"
        )

    def pause(self, seconds: float) -> None:
        """Leave time that was not spent on steps out of the rates."""
        self._since += seconds


def _floats(report: StepReport) -> list[torch.Tensor]:
    return [value.float() for value in (*report.losses.values(), report.norm)]

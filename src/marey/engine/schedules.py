"""Learning-rate schedules: pure functions of the step, as factors of each part's learning rate.

In TOML a schedule is a table with its kind: `schedule = {kind = "cosine", final = 0.01}`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from marey.core import InputError


@dataclass(frozen=True, kw_only=True)
class Constant:
    """1 throughout."""

    def factor(self, step: int, steps: int) -> float:
        """Of the step, counted from 0, of so many steps."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from 1 at the first step to `final` after the last (Loshchilov and Hutter, ICLR 2017)."""

    final: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """Of the step, counted from 0, of so many steps."""
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


@dataclass(frozen=True, kw_only=True)
class StepDecay:
    """Multiplied by `by` at each of some steps."""

    at: tuple[int, ...]
    by: float = 0.1

    def factor(self, step: int, steps: int) -> float:
        """Of the step, counted from 0, of so many steps."""
        return float(self.by ** sum(step >= place for place in self.at))


@dataclass(frozen=True, kw_only=True)
class Exponential:
    """Falls by the same factor every step, from 1 at the first step to `final` after the last."""

    final: float

    def __post_init__(self) -> None:
        if not self.final > 0:
            raise InputError(f"final: expected a factor above 0, got {self.final}; cosine can end at 0")

    def factor(self, step: int, steps: int) -> float:
        """Of the step, counted from 0, of so many steps."""
        return float(self.final ** min(step / steps, 1))


@dataclass(frozen=True, kw_only=True)
class Piecewise:
    """Straight lines between points, or such in the logarithm; two points at one place are a jump.

    MeTRAbs's schedule is `points = [[0, 1], [0.92, 0.3333], [0.92, 0.03333], [1, 0.01]]`, `between = "exponential"`.
    """

    points: tuple[tuple[float, float], ...]
    """Share of the steps (0 to 1, in order) and factor there; constant before the first and after the last."""
    between: Literal["linear", "exponential"] = "linear"

    def __post_init__(self) -> None:
        shares = [share for share, _ in self.points]
        if not shares or shares != sorted(shares) or not 0 <= shares[0] <= shares[-1] <= 1:
            raise InputError(f"points: expected shares of the steps from 0 to 1 in order, got {shares}")
        if self.between == "exponential" and min(factor for _, factor in self.points) <= 0:
            raise InputError("points: expected factors above 0 for exponential pieces")

    def factor(self, step: int, steps: int) -> float:
        """Of the step, counted from 0, of so many steps."""
        share = step / steps
        after = bisect_right([place for place, _ in self.points], share)
        if after in (0, len(self.points)):
            return float(self.points[0 if after == 0 else -1][1])
        (start, low), (end, high) = self.points[after - 1 : after + 1]
        weight = (share - start) / (end - start)
        if self.between == "exponential":
            return float(low * (high / low) ** weight)
        return low + weight * (high - low)


Schedule = Constant | Cosine | StepDecay | Exponential | Piecewise


def learning_rate_factor(schedule: Schedule, step: int, *, steps: int, warm_up: int = 0) -> float:
    """The factor of a step's learning rates, counted from 0.

    Args:
        schedule: Of the whole run; it runs on under the warm-up.
        step: Which of the steps.
        steps: Of the run.
        warm_up: Over so many steps the factor also rises in a straight line, from 1 / warm_up at the first to 1.
    """
    rise = min(1.0, (step + 1) / warm_up) if warm_up else 1.0
    return rise * schedule.factor(step, steps)

"""One unknown by MINPACK's `lmder`, with a slope that need not be the derivative.

The published search for the depth gives MINPACK a wrong derivative. Where such a search ends is a matter of its steps,
so here are those of MINPACK for one unknown (More, Garbow and Hillstrom, ANL-80-74, 1980: routines lmder and lmpar),
with the settings of `scipy.optimize.least_squares(method="lm")`, for many problems at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Values (B,) of the unknown to residuals (B, M) and slopes (B, M)."""

_TOLERANCE = 1e-8
_FACTOR = 100.0
"""Of the start, the first bound of a step."""
_ITERATIONS = 99


def minimise(evaluate: Evaluate, start: Tensor) -> Tensor:
    """Where the search for the least sum of squares ends, (B,); a constant to autograd."""
    with torch.no_grad():
        state = _State.first(evaluate, start)
        for _ in range(_ITERATIONS):
            state = state.next(evaluate)
        return state.at


@dataclass(frozen=True)
class _State:
    """Of B searches."""

    at: Tensor
    length: Tensor
    """Root of the sum of squares."""
    normal: Tensor
    """Sum of the squared slopes."""
    gradient: Tensor
    """Sum of slopes times residuals."""
    bound: Tensor
    """Of the next step."""
    damping: Tensor
    fresh: Tensor
    """No step was accepted yet."""
    done: Tensor

    @classmethod
    def first(cls, evaluate: Evaluate, start: Tensor) -> _State:
        fresh = torch.ones_like(start, dtype=torch.bool)
        state = cls(*_seen(evaluate, start), _FACTOR * start.abs(), torch.zeros_like(start), fresh, ~fresh)
        return replace(state, done=state._flat())

    def next(self, evaluate: Evaluate) -> _State:
        """After one more trial."""
        step, damping = _bounded_step(self)
        trial = _State(*_seen(evaluate, self.at - step), self.bound, damping, torch.zeros_like(self.fresh), self.done)
        size = step.abs()
        bound = torch.where(self.fresh, torch.minimum(self.bound, size), self.bound)
        linear, damped = (step.square() * part / self.length.square() for part in (self.normal, damping))
        predicted, direction = linear + 2 * damped, -(linear + damped)
        lower = 0.1 * trial.length < self.length
        actual = torch.where(lower, 1 - (trial.length / self.length).square(), -1.0)
        ratio = torch.where(predicted > 0, actual / predicted, 0.0)
        shrink = torch.where(actual >= 0, 0.5, 0.5 * direction / (direction + 0.5 * actual))
        shrink = torch.where(lower & (shrink >= 0.1), shrink, 0.1)
        poor, good = ratio <= 0.25, (damping == 0) | (ratio >= 0.75)
        smaller, larger = shrink * torch.minimum(bound, 10 * size), 2 * size
        bound = torch.where(poor, smaller, torch.where(good, larger, bound))
        damping = torch.where(poor, damping / shrink, torch.where(good, damping / 2, damping))
        accepted = ratio >= 1e-4
        after = replace(_where(accepted, trial, self), bound=bound, damping=damping)
        small = (actual.abs() <= _TOLERANCE) & (predicted <= _TOLERANCE) & (ratio <= 2)
        done = small | (bound <= _TOLERANCE * after.at.abs()) | (accepted & after._flat())
        return _where(self.done, self, replace(after, done=done))

    def _flat(self) -> Tensor:
        return self.gradient.abs() <= _TOLERANCE * self.length * self.normal.sqrt()


def _seen(evaluate: Evaluate, at: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    residuals, slopes = evaluate(at)
    tiny = torch.finfo(at.dtype).tiny
    normal = slopes.square().sum(-1).clamp_min(tiny)
    return at, residuals.square().sum(-1).clamp_min(tiny).sqrt(), normal, (slopes * residuals).sum(-1)


def _bounded_step(state: _State) -> tuple[Tensor, Tensor]:
    """The step, to be subtracted, and its damping: none, or such that it is as long as the bound, by a tenth."""
    size = state.gradient.abs()
    whole = state.gradient / state.normal
    excess = whole.abs() - state.bound
    free = excess <= 0.1 * state.bound
    low, high = excess / state.bound * state.normal, size / state.bound
    damping = torch.minimum(torch.maximum(state.damping, low), high)
    damping = torch.where(damping == 0, size / whole.abs().clamp_min(torch.finfo(size.dtype).tiny), damping)
    for _ in range(10):
        excess = size / (state.normal + damping) - state.bound
        low = torch.where(excess > 0, torch.maximum(low, damping), low)
        high = torch.where(excess < 0, torch.minimum(high, damping), high)
        corrected = torch.maximum(low, damping + excess / state.bound * (state.normal + damping))
        damping = torch.where(excess.abs() <= 0.1 * state.bound, damping, corrected)
    step = state.gradient / (state.normal + damping)
    return torch.where(free, whole, step), torch.where(free, 0.0, damping)


def _where(condition: Tensor, first: _State, second: _State) -> _State:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return _State(*(torch.where(condition, one, other) for one, other in pairs))

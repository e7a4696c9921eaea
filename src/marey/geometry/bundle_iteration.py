"""The iteration and the statistics that bundle adjustments share, whatever their unknowns beside the cameras are.

Internal to the room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from marey.geometry.bundle_evidence import Evidence
from marey.geometry.bundle_system import Linearisation
from marey.geometry.least_squares import LARGEST_DAMPING, Damping, cost_resolution
from marey.geometry.robust import RobustLoss


class Place(Protocol):
    """Where an iteration stands."""

    @property
    def cost(self) -> Tensor:
        """The value (), half the sum of the losses."""
        ...


Here = TypeVar("Here", bound=Place)

Propose = Callable[[Here, Tensor], tuple[Here, Tensor] | None]
"""(place, damping ()) -> the place where the damped step leads, and the decrease of the cost that the linear model
promises; None where the system cannot be solved."""


def minimise(
    start: Here, propose: Propose[Here], *, rounding: Tensor, tolerance: float, max_iterations: int
) -> tuple[Here, Tensor, bool]:
    """Levenberg-Marquardt; the end, the cost (iterations + 1,) at the start and after each step tried, and success.

    Args:
        start: where to begin.
        propose: tries a step.
        rounding: () the sum of squares of what rounding adds to the residuals.
        tolerance: relative change of the cost that ends the iteration.
        max_iterations: steps tried at most.
    """
    state, history = start, [start.cost]
    control = Damping.start(state.cost, 1e-4)
    for _ in range(max_iterations):
        proposal = propose(state, control.value)
        gain = torch.full_like(state.cost, -1.0)
        if proposal is not None:
            proposed, predicted = proposal
            actual = state.cost - proposed.cost
            gain = actual / predicted
            bound = torch.maximum(tolerance * state.cost, cost_resolution(state.cost, rounding))
            small = bool((actual.abs() <= bound) & (predicted <= bound))
            if actual > 0:
                state = proposed
            if small:
                history.append(state.cost)
                return state, torch.stack(history), bool(control.value < 1)
        history.append(state.cost)
        control = control.update(gain)
        if control.value > LARGEST_DAMPING:
            break
    return state, torch.stack(history), False


def variance_factor(evidence: Evidence, linear: Linearisation, loss: RobustLoss, unknowns: int) -> Tensor:
    """How much larger the covariance of the robust fit is than the inverse of its weighted normal matrix.

    `K^2 sum(w^2 s) / freedom * mean(w) / mean(slope)^2` with `K = 1 + unknowns / observations * var(slope) / mean^2`
    (Huber, Robust Statistics, 1981, section 7.6); for the squared loss the variance of unit weight. Good to 10 % in
    standard deviations for scales of the loss from 2 standard deviations of the noise, too small for tighter ones.
    """
    used = evidence.prior > 0
    prior, squared = evidence.prior[used], linear.squared[used]
    _, robust = loss(squared)
    slopes = loss.influence_slope(squared)
    observations = 2 * len(squared)
    slope = (prior * slopes).sum() / prior.sum()
    correction = 1 + unknowns / observations * (slopes - slope).square().mean() / slope.square()
    influence = (prior * robust.square() * squared).sum() / (observations - unknowns)
    return correction.square() * influence * (prior * robust).sum() / prior.sum() / slope.square()

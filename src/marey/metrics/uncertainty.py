"""Whether a covariance is honest: coverage, reliability, calibration error, likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.small import determinant_3x3, eigh_3x3, solve_3x3_symmetric
from marey.metrics.known import check_pairs, mean_of_known

_DIRECTIONS, _RADII, _BLOCK = 64, 10, 4096
"""Of the quadrature of energy scores, and how many joints are scored at once, which bounds the memory."""

CHI2_90 = {1: 2.7055, 2: 4.6052, 3: 6.2514}
"""90 % quantiles of the chi-squared distribution, by its degrees of freedom: squared radii of ellipsoids."""
LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""5, 10, ... 95 %."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Coverage over levels: what a reliability diagram draws."""

    levels: Tensor
    """(K,) stated probabilities, ascending."""
    observed: Tensor
    """(K,) share of the truths inside the ellipsoid of each level; the levels themselves if the covariance is right."""
    count: int
    """How many joints it was counted on."""

    @property
    def expected_calibration_error(self) -> Tensor:
        """The mean distance from the diagonal, a scalar in 0..1 (Kuleshov et al. 2018, here the absolute one)."""
        return (self.observed - self.levels).abs().mean()

    @property
    def maximum_calibration_error(self) -> Tensor:
        """The largest distance from the diagonal, a scalar in 0..1."""
        return (self.observed - self.levels).abs().amax()


def confidence_levels(estimated: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """The probability of the smallest ellipsoid around each estimate that holds the truth.

    The squared Mahalanobis distance of a Gaussian in three dimensions follows the chi-squared distribution with three
    degrees of freedom; this is its distribution function there. Uniform in 0..1 if the covariance is right.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        covariance: (..., J, 3, 3) square metres, positive definite; NaN = unknown.
        truth: (..., J, 3) metres.

    Returns:
        (..., J), NaN where anything is unknown.

    Raises:
        ShapeError: the joints do not match.
    """
    distance, _ = _squared_distances(estimated, covariance, truth)
    levels: Tensor = torch.special.gammainc(torch.full_like(distance, 1.5), distance.clamp_min(0) / 2)
    return levels


def coverage(estimated: Tensor, covariance: Tensor, truth: Tensor, *, level: float = 0.9) -> Tensor:
    """Share of the known joints whose `level` ellipsoid holds the truth, a scalar: `level` if the covariance is right.

    Shapes as in `confidence_levels`.

    Raises:
        ShapeError: the joints do not match.
        InputError: the level is not between 0 and 1, or nothing is known.
    """
    return mean_of_known(covered(confidence_levels(estimated, covariance, truth), level=level), "coverage")


def covered(confidence: Tensor, *, level: float) -> Tensor:
    """Which truths lie within a stated probability: 1.0, 0.0, NaN where unknown, to accumulate as hits do.

    Args:
        confidence: any shape, from `confidence_levels` or `sample_confidence_levels`.
        level: between 0 and 1.

    Raises:
        InputError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level: expected a probability between 0 and 1, got {level}")
    return torch.where(confidence.isnan(), torch.nan, (confidence <= level).to(confidence.dtype))


def reliability(confidence: Tensor, *, levels: Sequence[float] = LEVELS) -> Reliability:
    """Count how often the truth lies within each stated probability.

    Args:
        confidence: any shape, from `confidence_levels` or `sample_confidence_levels`; NaN = unknown.
        levels: K ascending probabilities between 0 and 1.

    Raises:
        InputError: nothing is known, or the levels are no ascending probabilities.
    """
    steps = torch.tensor(levels, dtype=torch.float64, device=confidence.device)
    if not len(steps) or steps.amin() <= 0 or steps.amax() >= 1 or (steps.diff() <= 0).any():
        raise InputError(f"levels: expected ascending probabilities between 0 and 1, got {list(levels)}")
    known = confidence[~confidence.isnan()].double()
    if not len(known):
        raise InputError(f"confidence: expected a known value, got {tuple(confidence.shape)} without one")
    within = torch.searchsorted(known.sort().values, steps, right=True)
    return Reliability(levels=steps, observed=within.double() / len(known), count=len(known))


def gaussian_nll(estimated: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """Negative logarithm of the Gaussian density of the truth, in nats: a proper score, lower is better.

    0.5 (d^T C^-1 d + log det C + 3 log 2 pi). In metres it changes by 3 log 1000 a joint against millimetres.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        covariance: (..., J, 3, 3) square metres; NaN = unknown.
        truth: (..., J, 3) metres; NaN = unknown.

    Returns:
        (..., J), NaN where anything is unknown.

    Raises:
        ShapeError: the joints do not match.
        InputError: a covariance is not positive definite.
    """
    distance, determinant = _squared_distances(estimated, covariance, truth)
    minors = covariance[..., 0, 0], covariance[..., 0, 0] * covariance[..., 1, 1] - covariance[..., 1, 0].square()
    bad = (determinant <= 0) | (minors[0] <= 0) | (minors[1] <= 0)
    if bad.any():
        raise InputError(
            f"covariance: expected positive definite matrices, got {int(bad.sum())} others, the first at "
            f"{bad.nonzero()[0].tolist()}; missing ones are NaN"
        )
    return 0.5 * (distance + determinant.log() + 3 * math.log(2 * math.pi))


def mean_gaussian_nll(estimated: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """The mean of `gaussian_nll` over what is known, a scalar; InputError if nothing is."""
    return mean_of_known(gaussian_nll(estimated, covariance, truth), "mean_gaussian_nll")


def _squared_distances(estimated: Tensor, covariance: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis distances (..., J) and determinants of the covariances."""
    check_pairs(estimated, truth)
    _check_covariance(estimated, covariance)
    difference = estimated - truth
    distance = (difference * solve_3x3_symmetric(covariance, difference)).sum(dim=-1)
    return distance, determinant_3x3(covariance)


def _check_covariance(estimated: Tensor, covariance: Tensor) -> None:
    if covariance.shape[-3:] != (*estimated.shape[-2:], 3):
        expected = f"(..., {estimated.shape[-2]}, 3, 3)"
        raise ShapeError(f"covariance: expected {expected} for these joints, got {tuple(covariance.shape)}")


def gaussian_energy_scores(estimated: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """Energy score of a stated Gaussian: E|X - y| - E|X - X'| / 2, a proper score that outliers do not dominate.

    Gneiting and Raftery 2007, equation 22; `marey.metrics.samples.energy_scores` is its counterpart for samples. X - X'
    has twice the covariance, so both expectations are of the length of a Gaussian vector: quadrature over its length
    and 64 directions, right to 1 %.

    Shapes as in `confidence_levels`; a covariance of zero gives the distance.

    Returns:
        (..., J) metres, NaN where anything is unknown.

    Raises:
        ShapeError: the joints do not match.
    """
    check_pairs(estimated, truth)
    _check_covariance(estimated, covariance)
    difference, shape = estimated - truth, (estimated - truth).shape[:-1]
    spread = covariance.expand(*shape, 3, 3).reshape(-1, 3, 3)
    blocks = zip(torch.split(spread, _BLOCK), torch.split(difference.reshape(-1, 3), _BLOCK), strict=True)
    return torch.cat([_energy(root, offset) for root, offset in blocks]).reshape(shape)


def _energy(covariance: Tensor, offset: Tensor) -> Tensor:
    """(N,) of covariances (N, 3, 3) and estimate less truth (N, 3)."""
    gone = (offset.isnan().any(-1) | covariance.isnan().any(-1).any(-1))[:, None]
    values, vectors = eigh_3x3(torch.where(gone[..., None], 0, covariance))
    root = vectors * values.clamp_min(0).sqrt()[:, None, :]
    directions = _directions(_DIRECTIONS).to(root) @ root.mT  # (N, K, 3)
    radii, weights = (values.to(root) for values in _radii(_RADII))
    reached = radii[:, None, None] * directions[:, None] + torch.where(gone, 0, offset)[:, None, None]
    beside = (reached.norm(dim=-1).mean(-1) * weights).sum(-1)
    among = math.sqrt(8 / math.pi) * directions.norm(dim=-1).mean(-1)
    return torch.where(gone[:, 0], torch.nan, beside - among / math.sqrt(2))


@cache
def _directions(count: int) -> Tensor:
    """Evenly spread unit vectors (count, 3), each with its opposite: a Fibonacci lattice on the half sphere."""
    place = torch.arange(count // 2, dtype=torch.float64)
    height = (place + 0.5) / (count // 2)
    angle = place * math.pi * (3 - math.sqrt(5))
    half = torch.stack(((1 - height**2).sqrt() * angle.cos(), (1 - height**2).sqrt() * angle.sin(), height), -1)
    return torch.cat((half, -half))


@cache
def _radii(count: int) -> tuple[Tensor, Tensor]:
    """Lengths of a standard normal vector in space and their weights: Gauss's quadrature for r^2 exp(-r^2 / 2).

    Stieltjes's recurrence on a fine grid, then Golub and Welsch 1969: nodes are the eigenvalues of the Jacobi matrix,
    weights the squared first components of its eigenvectors.
    """
    grid = torch.linspace(0, 10, 4001, dtype=torch.float64)
    density = grid.square() * (-grid.square() / 2).exp()
    before, now = torch.zeros_like(grid), density.sum().rsqrt().expand_as(grid)
    jacobi, beside = torch.zeros(count, count, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for place in range(count):
        jacobi[place, place] = (density * grid * now.square()).sum()
        after = (grid - jacobi[place, place]) * now - beside * before
        beside = (density * after.square()).sum().sqrt()
        before, now = now, after / beside
        if place + 1 < count:
            jacobi[place, place + 1] = jacobi[place + 1, place] = beside
    nodes, vectors = torch.linalg.eigh(jacobi)
    return nodes, vectors[0].square()

"""How restless each joint is, and how noisy its measurements are: maximum likelihood over a grid, per track."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.geometry.small import determinant_3x3
from marey.refine.kalman import Filtered, kalman_filter, white_noise_dynamics
from marey.refine.timeline import gap_limits

WINDOWS = 6
WINDOW_FRAMES = 200
"""A long recording is judged by this many windows of so many frames, spread evenly over it."""
GRID = {2: (-4.0, 3.0), 3: (-2.0, 6.0)}
"""Of each motion order the decades of spectral density searched, m^2/s^3 and m^2/s^5, for covariances as stated."""
STEPS_PER_DECADE = 2
SCALE_ITERATIONS = 8
SMALLEST_SCALE = 1e-6
"""Keeps a track that does not move at all, or is never seen, finite."""


@dataclass(frozen=True, kw_only=True)
class NoiseFit:
    """Of N tracks."""

    density: Tensor
    """(N,) spectral density of the process noise, m^2/s^3 for order 2, m^2/s^5 for order 3."""
    scale: Tensor
    """(N,) factor on the stated measurement covariances: 1 where they are right and the noise Gaussian."""


def fit_noise(
    positions: Tensor,
    covariance: Tensor,
    present: Tensor,
    times: Tensor,
    *,
    order: int,
    max_gap: float,
    freedom: float,
) -> NoiseFit:
    """Fit process density and measurement scale of each track by the likelihood of the filter's innovations.

    Multiplying both by one factor multiplies every innovation covariance by it. So the density is searched on a grid
    for covariances as stated, and the common factor has its own best value at each grid point. Innovations follow
    Student's t, so a few gross ones do not count as restlessness.

    Args:
        positions: (T, 3, N) metres; finite.
        covariance: (T, 3, 3, N) square metres; positive definite.
        present: (T, N)
        times: (T,) seconds.
        order: Of the motion, 2 or 3.
        max_gap: Seconds; longer gaps begin a track anew.
        freedom: Degrees of freedom of Student's t.
    """
    low, high = GRID[order]
    exponents = torch.linspace(low, high, round((high - low) * STEPS_PER_DECADE) + 1, dtype=times.dtype)
    exponents = exponents.to(times.device)
    tracks = positions.shape[-1]
    density = (10.0**exponents).repeat_interleave(tracks)
    parts = []
    for window in _windows(len(times)):
        placed, spread, seen = (
            _repeated(values[window], len(exponents)) for values in (positions, covariance, present)
        )
        restart = gap_limits(seen, times[window], max_gap).restart
        filtered = kalman_filter(
            placed, spread, seen, restart, white_noise_dynamics(times[window], density, order=order)
        )
        parts.append((*_innovation_statistics(filtered), seen & ~restart))
    distance, logdet, counted = (
        torch.cat(part).reshape(-1, len(exponents), tracks) for part in zip(*parts, strict=True)
    )
    likelihood, scale = _student_likelihood(distance, logdet, counted, freedom)
    exponent = _peak(likelihood, exponents)
    factor = _at(scale.log(), exponents, exponent).exp()
    factor = factor / _scale_of_gaussian(freedom)
    return NoiseFit(density=10.0**exponent * factor, scale=factor)


def _windows(frames: int) -> list[slice]:
    """The frames that a recording is judged by."""
    if frames <= WINDOWS * WINDOW_FRAMES:
        return [slice(0, frames)]
    starts = torch.linspace(0, frames - WINDOW_FRAMES, WINDOWS).long().tolist()
    return [slice(start, start + WINDOW_FRAMES) for start in starts]


def _repeated(values: Tensor, count: int) -> Tensor:
    """All tracks `count` times over, (L, ..., N) -> (L, ..., count N)."""
    return values[..., None, :].expand(*values.shape[:-1], count, values.shape[-1]).flatten(-2)


def _innovation_statistics(filtered: Filtered) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis distances and log determinants of the covariance of the innovations, both (L, N)."""
    information, innovation = filtered.information.movedim(-1, 1), filtered.innovation.transpose(1, 2)
    distance = (innovation * (information @ innovation[..., None])[..., 0]).sum(-1)
    determinant = determinant_3x3(information)
    return distance, -torch.where(determinant > 0, determinant, 1.0).log()


def _student_likelihood(distance: Tensor, logdet: Tensor, counted: Tensor, freedom: float) -> tuple[Tensor, Tensor]:
    """Log-likelihood (G, N) of innovations (K, G, N) in three dimensions, and the scale (G, N) that maximises it.

    The scale multiplies the covariances and is found by expectation maximisation.
    """
    count = counted.sum(0).clamp_min(1)
    squared = torch.where(counted, distance, 0.0)
    scale = (squared.sum(0) / (3 * count)).clamp_min(SMALLEST_SCALE)
    for _ in range(SCALE_ITERATIONS):
        weight = (freedom + 3) / (freedom + squared / scale)
        scale = ((weight * squared).sum(0) / (3 * count)).clamp_min(SMALLEST_SCALE)
    terms = 0.5 * logdet + 1.5 * scale.log() + 0.5 * (freedom + 3) * torch.log1p(squared / (freedom * scale))
    return -torch.where(counted, terms, 0.0).sum(0), scale


@cache
def _scale_of_gaussian(freedom: float) -> float:
    """The scale that Student's t finds for Gaussian innovations of unit covariance: fitted scales are divided by it."""
    squared = torch.linspace(0, 60, 6001, dtype=torch.float64)
    weight = squared.sqrt() * (-0.5 * squared).exp()  # density of chi-square with three degrees of freedom
    weight = weight / weight.sum()
    scale = torch.ones((), dtype=torch.float64)
    for _ in range(50):
        scale = (weight * squared * (freedom + 3) / (freedom + squared / scale)).sum() / 3
    return float(scale)


def _peak(likelihood: Tensor, exponents: Tensor) -> Tensor:
    """Exponents (N,) where the likelihood (G, N) over the grid is largest, by a parabola through the best three."""
    best = likelihood.argmax(0).clamp(1, len(exponents) - 2)
    left, middle, right = (likelihood.gather(0, (best + step)[None])[0] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = torch.where(bend < 0, 0.5 * (left - right) / torch.where(bend < 0, bend, -1.0), right - left).clamp(-1, 1)
    return exponents[best] + shift * (exponents[1] - exponents[0])


def _at(values: Tensor, exponents: Tensor, place: Tensor) -> Tensor:
    """Linear interpolation of values (G, N) on the grid at places (N,)."""
    position = ((place - exponents[0]) / (exponents[1] - exponents[0])).clamp(0, len(exponents) - 1)
    below = position.long().clamp_max(len(exponents) - 2)
    lower, upper = values.gather(0, below[None])[0], values.gather(0, below[None] + 1)[0]
    return torch.lerp(lower, upper, position - below)

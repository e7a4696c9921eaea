"""How restless each joint is at each moment, and how noisy its measurements are: a bank of filters, judged locally.

People stand and then wave. One process noise for the whole recording would either flatten the wave or follow the
noise of the standing, so filters of every magnitude of process noise run side by side, and at each moment those count
that foresee the measurements around it best (multiple-model adaptive estimation: Bar-Shalom, Li, Kirubarajan,
Estimation with Applications to Tracking and Navigation, section 11.6, with a sliding window in place of all the past).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.refine.kalman import Tracks, innovation_statistics, white_noise_dynamics

GRID = {2: (-4, 3), 3: (-2, 6)}
"""Of each motion order the decades of spectral density, m^2/s^3 and m^2/s^5, for covariances as stated."""
WINDOW = 0.2
"""Seconds before and after a moment whose measurements judge the filters."""
LEAST_FREQUENCY = 1e-3
"""Share of the recording that every filter is expected to be the best for, at least: a burst may be short."""
ITERATIONS = 6
SMALLEST_SCALE = 1e-6
"""Keeps a track that does not move at all, or is never seen, finite."""


@dataclass(frozen=True, kw_only=True)
class NoiseFit:
    """Of N tracks over T frames."""

    density: Tensor
    """(T, N) spectral density of the process noise, m^2/s^3 for order 2, m^2/s^5 for order 3."""
    scale: Tensor
    """(N,) factor on the stated measurement covariances: 1 where they are right and the noise Gaussian."""
    weights: Tensor
    """(T, N) what each measurement counts, about 1 unless nothing foresaw it; 0 where there is none."""


def fit_noise(tracks: Tracks, times: Tensor, *, order: int, freedom: float) -> NoiseFit:
    """Fit process density over time and measurement scale of each track by the likelihood of innovations.

    Multiplying process noise and measurement covariances by one factor multiplies every innovation covariance by it. So
    the filters run once, for covariances as stated, and the factor is found by expectation maximisation together with
    the share of each filter at each moment and its frequency in the recording. Innovations follow Student's t, so a few
    gross ones do not count as restlessness.

    Args:
        tracks: N tracks over T frames.
        times: (T,) seconds.
        order: Of the motion, 2 or 3.
        freedom: Degrees of freedom of Student's t.
    """
    low, high = GRID[order]
    exponents = torch.arange(low, high + 1, dtype=times.dtype, device=times.device)
    count = tracks.measured.shape[-1]
    dynamics = white_noise_dynamics(times, (10.0**exponents).repeat_interleave(count), order=order)
    squared, logdet = (part.reshape(len(times), -1, count) for part in innovation_statistics(tracks, dynamics))
    counted = tracks.present & ~tracks.restart
    scale, frequency = squared.new_ones(count), squared.new_ones(len(exponents), count)
    for _ in range(ITERATIONS):
        likelihood = _log_likelihood(squared / scale, logdet, freedom) * counted[:, None]
        share = torch.softmax(_within_window(likelihood, times) + frequency.log(), dim=1)
        frequency = (share * counted[:, None]).sum(0) / counted.sum(0).clamp_min(1) + LEAST_FREQUENCY
        surprise = (share * _student_weight(squared / scale, freedom) * squared).sum(1)
        scale = (surprise * counted).sum(0) / (3 * counted.sum(0).clamp_min(1))
        scale = torch.where(counted.any(0), scale, 1.0).clamp_min(SMALLEST_SCALE)
    factor = scale / _scale_of_gaussian(freedom)
    weights = (share * _student_weight(squared / factor, freedom)).sum(1)
    return NoiseFit(
        density=10.0 ** (share * exponents[:, None]).sum(1) * factor,
        scale=factor,
        weights=torch.where(counted, weights, 1.0) * tracks.present,
    )


def _log_likelihood(squared: Tensor, logdet: Tensor, freedom: float) -> Tensor:
    """Of innovations in three dimensions with Student's t, up to a constant."""
    return -0.5 * logdet - 0.5 * (freedom + 3) * torch.log1p(squared / freedom)


def _student_weight(squared: Tensor, freedom: float) -> Tensor:
    return (freedom + 3) / (freedom + squared)


def _within_window(likelihood: Tensor, times: Tensor) -> Tensor:
    """Sums of log-likelihoods (T, G, N) over the window around each moment."""
    total = torch.cat((torch.zeros_like(likelihood[:1]), likelihood.cumsum(0)))
    first = torch.searchsorted(times, times - WINDOW)
    last = torch.searchsorted(times, times + WINDOW, right=True)
    return total[last] - total[first]


@cache
def _scale_of_gaussian(freedom: float) -> float:
    """The scale that Student's t finds for Gaussian innovations of unit covariance: fitted scales are divided by it."""
    squared = torch.linspace(0, 60, 6001, dtype=torch.float64)
    density = squared.sqrt() * (-0.5 * squared).exp()  # of chi-square with three degrees of freedom
    density = density / density.sum()
    scale = torch.ones((), dtype=torch.float64)
    for _ in range(50):
        scale = (density * squared * _student_weight(squared / scale, freedom)).sum() / 3
    return float(scale)

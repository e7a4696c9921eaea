"""What the other frames of a recording tell about a coordinate in each frame.

A coordinate wanders about its mean as an Ornstein-Uhlenbeck process: far apart in time it is anything that is usual,
close in time it has hardly changed. Filtering from both ends is a scan of associative elements (Sarkka and
Garcia-Fernandez, Temporal parallelization of Bayesian smoothers, IEEE Trans. Automatic Control 66, 2021), so the
rounds grow with the logarithm of the number of frames.
"""

from __future__ import annotations

import torch
from torch import Tensor


def told_by_others(value: Tensor, variance: Tensor, *, stationary: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of a coordinate in each frame by all other frames and by what is usual.

    Args:
        value: (T, ...) what each frame tells, as difference from the usual mean.
        variance: (T, ...) of that; infinite where the frame tells nothing.
        stationary: (...) variance of the coordinate in general.
        correlation: between one frame and the next, in 0..1.

    Returns:
        Mean (T, ...) as difference from the usual mean, and variance (T, ...).
    """
    before = _predicted(value, variance, stationary, correlation)
    after = tuple(part.flip(0) for part in _predicted(value.flip(0), variance.flip(0), stationary, correlation))
    # both contain what is usual, which counts once
    information = 1 / before[1] + 1 / after[1] - 1 / stationary
    return (before[0] / before[1] + after[0] / after[1]) / information, 1 / information


def _predicted(value: Tensor, variance: Tensor, stationary: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
    """Mean and variance (T, ...) in each frame by the frames before it."""
    none = torch.zeros_like(value[:1])
    start = none, stationary + none
    if len(value) < 2:
        return start
    filtered, spread = _filtered(value, variance, stationary, correlation)
    mean = torch.cat((start[0], correlation * filtered[:-1]))
    new = (1 - correlation**2) * stationary
    return mean, torch.cat((start[1], correlation**2 * spread[:-1] + new))


def _filtered(value: Tensor, variance: Tensor, stationary: Tensor, correlation: float) -> tuple[Tensor, Tensor]:
    """Mean and variance (T, ...) in each frame by it and the frames before."""
    first = torch.zeros_like(value)
    first[0] = 1
    carried = correlation * (1 - first)
    new = stationary * torch.where(first > 0, 1.0, 1 - correlation**2)
    precision = 1 / (new + variance)
    gain = new * precision
    value = torch.where(variance.isfinite(), value, 0.0)
    element: tuple[Tensor, ...] = (
        (1 - gain) * carried,
        gain * value,
        (1 - gain) * new,
        carried * precision * value,
        carried**2 * precision,
    )
    reach = 1
    while reach < len(value):
        late = tuple(part[reach:] for part in element)
        early = tuple(part[:-reach] for part in element)
        joined = _joined(early, late)
        element = tuple(torch.cat((part[:reach], new)) for part, new in zip(element, joined, strict=True))
        reach *= 2
    return element[1], element[2]


def _joined(early: tuple[Tensor, ...], late: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Two stretches of frames as one: factor, mean, variance, and the evidence on what came before (two numbers)."""
    a1, b1, c1, e1, j1 = early
    a2, b2, c2, e2, j2 = late
    share = 1 / (1 + c1 * j2)
    return (
        a1 * a2 * share,
        a2 * share * (b1 + c1 * e2) + b2,
        a2 * a2 * share * c1 + c2,
        a1 * share * (e2 - j2 * b1) + e1,
        a1 * a1 * share * j2 + j1,
    )

"""Butterworth low-pass filters as second-order sections, and their zero-phase use."""

from __future__ import annotations

import cmath
import math

import torch
from torch import Tensor

from marey.core import InputError


def butterworth_sections(order: int, cutoff: float, fps: float) -> Tensor:
    """Design a digital Butterworth low-pass by the bilinear transform.

    The analogue prototype has its poles evenly on the left half of a circle; the cutoff is prewarped, so that the gain
    there is exactly 1 / sqrt 2 (Oppenheim and Schafer, Discrete-Time Signal Processing, 3rd ed., section 7.2).

    Args:
        order: 1 or more.
        cutoff: Hz, between 0 and half of `fps`.
        fps: Samples per second.

    Returns:
        (S, 5) float64: b0 b1 b2 a1 a2 of each section, a0 being 1. A first-order section has b2 = a2 = 0.

    Raises:
        InputError: the cutoff or the order is impossible.
    """
    if order < 1:
        raise InputError(f"order: expected 1 or more, got {order}")
    if not 0 < cutoff < fps / 2:
        raise InputError(f"cutoff: expected Hz between 0 and half the frame rate ({fps / 2:g}), got {cutoff:g}")
    warped = math.tan(math.pi * cutoff / fps)
    sections = []
    for k in range((order + 1) // 2):
        pole = warped * cmath.exp(1j * math.pi * (2 * k + order + 1) / (2 * order))
        digital = (1 + pole) / (1 - pole)
        if 2 * k + 1 == order:
            a1, a2, zeros = -digital.real, 0.0, (1.0, 1.0, 0.0)
        else:
            a1, a2, zeros = -2 * digital.real, abs(digital) ** 2, (1.0, 2.0, 1.0)
        gain = (1 + a1 + a2) / sum(zeros)
        sections.append([*(gain * zero for zero in zeros), a1, a2])
    return torch.tensor(sections, dtype=torch.float64)


def filter_zero_phase(values: Tensor, lengths: Tensor, sections: Tensor, *, padding: int) -> Tensor:
    """Filter sequences forward and backward, so that nothing is delayed.

    Each sequence is extended at both ends by its own point reflection, and the filter starts in the steady state of its
    first value (Gustafsson, Determining the initial states in forward-backward filtering, IEEE Trans. Signal Processing
    44, 1996, compares the choices): what scipy's `filtfilt` does by default.

    Args:
        values: (L, N) float64; sequence n is values[:lengths[n], n].
        lengths: (N,) 1 or more.
        sections: (S, 5)
        padding: Length of the extensions, at most; a sequence is extended by at most its length less one.
    """
    place = torch.arange(values.shape[0] + 2 * padding, device=values.device)[:, None]
    pads = (lengths - 1).clamp_max(padding)
    extended, total = _extended(values, lengths, pads, place), lengths + 2 * pads
    backward = (total - 1 - place).clamp_min(0)
    for _ in range(2):
        extended = _filtered(extended, sections).gather(0, backward)
    return extended.gather(0, (place[: values.shape[0]] + pads).clamp_max(extended.shape[0] - 1))


def _extended(values: Tensor, lengths: Tensor, pads: Tensor, place: Tensor) -> Tensor:
    """Sequences with both ends reflected in their first and last value; beyond that, the last value of all."""
    last = lengths - 1
    index = place - pads
    folded = torch.where(index < 0, -index, torch.where(index > last, 2 * last - index, index)).clamp_min(0)
    inner = values.gather(0, torch.minimum(folded, last))
    ends = torch.where(index < 0, values[:1], values.gather(0, last[None]))
    return torch.where((index < 0) | (index > last), 2 * ends - inner, inner)


def _filtered(values: Tensor, sections: Tensor) -> Tensor:
    """Run (L, N) forward through the sections, in transposed direct form II, from the steady state of the first row."""
    for b0, b1, b2, a1, a2 in sections.tolist():
        gain = (b0 + b1 + b2) / (1 + a1 + a2)
        first = (gain - b0) * values[0]
        second = (b2 - a2 * gain) * values[0]
        feed_first, feed_second = b1 * values, b2 * values
        output = b0 * values
        for row in range(values.shape[0]):
            now = output[row].add_(first)
            first = torch.add(feed_first[row], now, alpha=-a1).add_(second)
            second = torch.add(feed_second[row], now, alpha=-a2)
        values = output
    return values

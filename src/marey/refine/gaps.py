"""Fill short gaps by curves through what lies on both sides, with a covariance that grows into the gap."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import Joints3D
from marey.refine.timeline import check_times, gap_limits, measured, neighbours, with_filled

SLOPE_SPAN = 0.1
"""Seconds over which the velocity at the edge of a gap, and the restlessness of a joint, are measured."""
BURST = 20.0
"""A squared acceleration this many times the median is an error of measurement beyond here."""


def fill_gaps(joints: Joints3D, times: Tensor, *, max_gap: float = 0.25) -> Joints3D:
    """Fill gaps of up to `max_gap` seconds; longer ones, and what lies before the first or after the last, stay NaN.

    A filled value lies on the cubic with the positions and velocities of both edges. Driven by white noise of spectral
    density q in its acceleration, the joint strays from that curve with the variance q s^3 (L - s)^3 / (3 L^3), s
    seconds into a gap of L (the bridge of integrated Brownian motion; the cubic is its mean). q is measured on each
    joint's second differences. The uncertainty of the four measurements that make the curve is carried through it.

    Args:
        joints: (T, P)
        times: (T,) seconds, ascending, evenly spaced or not.
        max_gap: Seconds.

    Raises:
        ShapeError: joints or times have the wrong shape.
        InputError: times do not ascend.
    """
    check_times(joints, times)
    times = times.double()
    present = measured(joints)
    positions, covariance = joints.positions.double(), joints.covariance.double()
    before, after = neighbours(present)
    inside = gap_limits(present, times, max_gap).inside & ~present
    first, last = before.clamp_min(0), after.clamp_max(len(times) - 1)
    earlier, later = _edge_partners(present, times, first, last)
    span = torch.where(inside, times[last] - times[first], 1.0)
    offset = times[:, None, None] - times[first]
    backward, forward = times[first] - times[earlier], times[later] - times[last]
    weights, lever_first, lever_last = _hermite(offset / span, span, backward, forward)
    frames = (earlier, first, last, later)
    curve = torch.stack([weights[k][..., None] * _at(positions, frame) for k, frame in enumerate(frames)]).sum(0)
    spread = torch.stack([weights[k, ..., None, None] ** 2 * _at(covariance, f) for k, f in enumerate(frames)]).sum(0)
    drift = lever_first**2 * torch.where(backward > 0, backward, span) / 3
    drift = drift + lever_last**2 * torch.where(forward > 0, forward, span) / 3
    stray = offset**3 * (span - offset) ** 3 / (3 * span**3)
    axes = torch.eye(3, dtype=spread.dtype, device=spread.device)
    spread = spread + (restlessness(positions, covariance, present, times) * (stray + drift))[..., None, None] * axes
    return with_filled(
        joints,
        positions=torch.where(inside[..., None], curve, positions),
        covariance=torch.where(inside[..., None, None], spread, covariance),
        filled=inside,
        known=present | inside,
        times=times,
    )


def restlessness(positions: Tensor, covariance: Tensor, present: Tensor, times: Tensor) -> Tensor:
    """Spectral density of each joint's acceleration, (P, J) m^2/s^3, from second differences over `SLOPE_SPAN`.

    Integrated Brownian motion has second differences of variance (2/3) q h^3 an axis; the noise of the measurements is
    taken off.
    """
    frames = len(times)
    step = max(1, round(SLOPE_SPAN / float(times.diff().median()))) if frames > 1 else 1
    if frames <= 2 * step:
        return positions.new_zeros(present.shape[1:])
    span = 0.5 * (times[2 * step :] - times[: -2 * step])[:, None, None]
    bend = positions[2 * step :] - 2 * positions[step:-step] + positions[: -2 * step]
    variance = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    noise = variance[2 * step :] + 4 * variance[step:-step] + variance[: -2 * step]
    whole = present[2 * step :] & present[step:-step] & present[: -2 * step]
    density = torch.where(whole, (bend.square().sum(-1) - noise) / (2 * span**3), torch.nan)
    bound = BURST * density.abs().nanmedian(0).values
    return density.clamp_max(bound).nanmean(0).nan_to_num().clamp_min(0.0)


def _edge_partners(present: Tensor, times: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The measured frames farthest from each edge, away from the gap, but within `SLOPE_SPAN`; else the edge itself."""
    before, after = neighbours(present)
    reach = torch.searchsorted(times, times - SLOPE_SPAN)
    ahead = torch.searchsorted(times, times + SLOPE_SPAN, right=True) - 1
    return torch.minimum(after.gather(0, reach[first]), first), torch.maximum(before.gather(0, ahead[last]), last)


def _hermite(share: Tensor, span: Tensor, backward: Tensor, forward: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (4, ...) of the measurements earlier, first, last and later, and the levers of both edge velocities.

    Where an edge has no measured velocity (`backward` or `forward` is zero) the velocity of the chord stands in.
    """
    rest = 1 - share
    lever_first, lever_last = share * rest**2 * span, -(share**2) * rest * span
    weight_first, weight_last = rest**2 * (1 + 2 * share), share**2 * (3 - 2 * share)
    slope_first = lever_first / torch.where(backward > 0, backward, span)
    slope_last = lever_last / torch.where(forward > 0, forward, span)
    measured_first, measured_last = backward > 0, forward > 0
    zero = torch.zeros_like(share)
    earlier = torch.where(measured_first, -slope_first, zero)
    later = torch.where(measured_last, slope_last, zero)
    chord = torch.where(measured_first, zero, slope_first) + torch.where(measured_last, zero, slope_last)
    weight_first = weight_first + torch.where(measured_first, slope_first, zero) - chord
    weight_last = weight_last - torch.where(measured_last, slope_last, zero) + chord
    return torch.stack((earlier, weight_first, weight_last, later)), lever_first, lever_last


def _at(values: Tensor, frames: Tensor) -> Tensor:
    """Values (T, P, J, ...) of other frames (T, P, J); NaN becomes zero, for it has no weight."""
    index = frames.reshape(*frames.shape, *(1,) * (values.ndim - frames.ndim)).expand(values.shape)
    return values.gather(0, index).nan_to_num()

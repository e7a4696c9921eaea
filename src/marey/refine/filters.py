"""Low-pass filters that know nothing of uncertainty: Butterworth, as biomechanics uses it; One-Euro, for live data.

Both leave the covariance as measured: how far it shrinks depends on how neighbouring frames err together, which a
filter does not know. `marey.refine.smoother` does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from marey.core import InputError, Joints3D
from marey.refine.biquads import butterworth_sections, filter_zero_phase
from marey.refine.timeline import check_times

UNEVEN = 0.01
"""Largest deviation of a frame's time from an even rate, in frames, that a Butterworth filter takes for even."""


def butterworth(joints: Joints3D, times: Tensor, *, cutoff: float = 6.0, order: int = 4) -> Joints3D:
    """Low-pass every coordinate with zero phase: the filter runs forward and backward.

    Spans between unknown values are filtered each by itself; what is unknown stays unknown (see `fill_gaps`).

    Args:
        joints: (T, P)
        times: (T,) seconds, evenly spaced.
        cutoff: Hz, of each of the two runs.
        order: Of each of the two runs.

    Raises:
        ShapeError: joints or times have the wrong shape.
        InputError: times are not evenly spaced, or the cutoff is not below half the frame rate.
    """
    check_times(joints, times)
    if len(times) < 2:
        return joints
    sections = butterworth_sections(order, cutoff, _even_rate(times))
    tracks = joints.positions.double().flatten(1, 2)
    known = tracks.isfinite().all(-1)
    filtered = tracks.clone()
    for start, length, track in _spans(known):
        place = torch.arange(int(length.max()), device=tracks.device)[:, None]
        rows = torch.minimum(place, length - 1) + start
        values = tracks[rows, track].flatten(1)
        smooth = filter_zero_phase(values, length.repeat_interleave(3), sections, padding=3 * (order + 1))
        valid = place < length
        filtered[rows[valid], track.expand_as(rows)[valid]] = smooth.reshape(*rows.shape, 3)[valid]
    return replace(joints, positions=filtered.reshape(joints.positions.shape).to(joints.positions.dtype))


def one_euro(
    joints: Joints3D,
    times: Tensor,
    *,
    min_cutoff: float = 2.0,
    speed_factor: float = 4.0,
    speed_cutoff: float = 1.0,
) -> Joints3D:
    """Smooth with a cutoff that rises with speed, using the past only (Casiez et al., 1 Euro filter, CHI 2012).

    The speed is that of the joint in space, so the result does not depend on the axes. A frame without a joint is
    passed over and stays unknown.

    Args:
        joints: (T, P)
        times: (T,) seconds, ascending, evenly spaced or not.
        min_cutoff: Hz at rest: lower is steadier.
        speed_factor: Hz for each metre per second: higher follows faster.
        speed_cutoff: Hz, of the speed itself.

    Raises:
        ShapeError: joints or times have the wrong shape.
        InputError: times do not ascend.
    """
    check_times(joints, times)
    positions = joints.positions.double()
    known = positions.isfinite().all(-1, keepdim=True)
    output = torch.full_like(positions, torch.nan)
    value, velocity = torch.full_like(positions[0], torch.nan), torch.zeros_like(positions[0])
    since = torch.zeros_like(known[0], dtype=torch.float64)
    for frame, step in enumerate([0.0, *times.double().diff().tolist()]):
        since = since + step
        begins, seen = known[frame] & value.isnan().any(-1, keepdim=True), known[frame]
        change = torch.where(begins, 0.0, (positions[frame] - value) / since.clamp_min(1e-9))
        steady = velocity + _share(speed_cutoff, since) * (change - velocity)
        velocity = torch.where(seen, torch.where(begins, 0.0, steady), velocity)
        cutoff = min_cutoff + speed_factor * velocity.square().sum(-1, keepdim=True).sqrt()
        followed = value + _share(cutoff, since) * (positions[frame] - value)
        value = torch.where(seen, torch.where(begins, positions[frame], followed), value)
        since = torch.where(seen, 0.0, since)
        output[frame] = torch.where(seen, value, torch.nan)
    return replace(joints, positions=output.to(joints.positions.dtype))


def _share(cutoff: Tensor | float, step: Tensor) -> Tensor:
    """How much of a new value an exponential filter takes over after `step` seconds."""
    turned = 2 * math.pi * cutoff * step
    return turned / (1 + turned)


def _even_rate(times: Tensor) -> float:
    """Frames per second.

    Raises:
        InputError: times are not evenly spaced.
    """
    step = float((times[-1] - times[0]) / (len(times) - 1))
    even = times[0] + step * torch.arange(len(times), dtype=times.dtype, device=times.device)
    worst = float((times - even).abs().max()) / step
    if worst > UNEVEN:
        raise InputError(
            f"times: a Butterworth filter needs evenly spaced frames, these are up to {worst:.2f} frames off; "
            "use the smoother or resample"
        )
    return 1 / step


def _spans(known: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Start, length and track of every span of `known` (T, N), in groups of similar length."""
    edges = torch.nn.functional.pad(known.to(torch.int8), (0, 0, 1, 1)).diff(dim=0).T
    track, start = (edges == 1).nonzero(as_tuple=True)
    stop = (edges == -1).nonzero(as_tuple=True)[1]
    length = stop - start
    group = length.double().log2().floor()
    groups = [group == size for size in sorted(set(group.tolist()))]
    return [(start[chosen], length[chosen], track[chosen]) for chosen in groups]

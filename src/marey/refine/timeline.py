"""Times, gaps and masks that every refinement shares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import InputError, Joints3D, ShapeError


@dataclass(frozen=True, kw_only=True)
class GapLimits:
    """Where short gaps may be filled and where a trajectory begins anew; (T, ...) booleans."""

    inside: Tensor
    """Measured, or within a gap that is short enough."""
    restart: Tensor
    """Measured, first of its track or first behind a gap that is too long."""


def check_times(joints: Joints3D, times: Tensor) -> None:
    """Demand joints (T, P) and ascending times (T,).

    Raises:
        ShapeError: joints or times have the wrong shape.
        InputError: times are not finite or do not ascend.
    """
    if len(joints.batch_shape) != 2:
        raise ShapeError(f"joints: expected the batch shape (T, P), got {joints.batch_shape}")
    if times.shape != joints.batch_shape[:1]:
        raise ShapeError(f"times: expected ({joints.batch_shape[0]},), one a frame, got {tuple(times.shape)}")
    if not (times.isfinite().all() and (times.diff() > 0).all()):
        raise InputError("times: expected finite seconds that ascend from frame to frame; sort or repair them")


def measured(joints: Joints3D) -> Tensor:
    """(T, P, J) where a joint has a position and a covariance of its own frame."""
    variances = joints.covariance.diagonal(dim1=-2, dim2=-1)
    finite = joints.positions.isfinite().all(-1) & joints.covariance.isfinite().all((-1, -2))
    return finite & (variances > 0).all(-1) & ~joints.filled


def neighbours(present: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (T, ...) of the last frame at or before, and the first at or after each frame, that is present (T, ...).

    -1 where there is none before, T where there is none after.
    """
    frames = present.shape[0]
    index = torch.arange(frames, device=present.device).reshape(-1, *(1,) * (present.ndim - 1)).expand(present.shape)
    before = torch.where(present, index, -1).cummax(0).values
    after = torch.where(present, index, frames).flip(0).cummin(0).values.flip(0)
    return before, after


def gap_limits(present: Tensor, times: Tensor, max_gap: float) -> GapLimits:
    """Tell short gaps from long ones.

    Args:
        present: (T, ...) where there is a measurement.
        times: (T,) seconds.
        max_gap: Seconds from the last measurement before to the first one after a gap, at most, beyond one frame.
    """
    before, after = neighbours(present)
    frames = present.shape[0]
    exists = (before >= 0) & (after < frames)
    span = times[after.clamp_max(frames - 1)] - times[before.clamp_min(0)]
    limit = max_gap + (float(times.diff().median()) if frames > 1 else 0.0)
    inside = present | (exists & (span <= limit))
    previous = torch.cat((torch.full_like(before[:1], -1), before[:-1]))
    begins = (previous < 0) | (times.reshape(-1, *(1,) * (present.ndim - 1)) - times[previous.clamp_min(0)] > limit)
    return GapLimits(inside=inside, restart=present & begins)


def interpolated(values: Tensor, present: Tensor, times: Tensor) -> Tensor:
    """Linear interpolation over time of (T, ...) where `present` (T, ...) is false; the nearest value at the ends."""
    before, after = neighbours(present)
    frames = present.shape[0]
    first = torch.where(before >= 0, before, after).clamp(0, frames - 1)
    last = torch.where(after < frames, after, before).clamp(0, frames - 1)
    span = (times[last] - times[first]).to(values.dtype)
    now = times.reshape(-1, *(1,) * (present.ndim - 1))
    share = torch.where(span > 0, (now - times[first]).to(values.dtype) / torch.where(span > 0, span, 1.0), 0.0)
    return torch.lerp(values.gather(0, first), values.gather(0, last), share)


def with_filled(
    joints: Joints3D, *, positions: Tensor, covariance: Tensor, filled: Tensor, known: Tensor, times: Tensor
) -> Joints3D:
    """Joints with new values where `known`, unknown elsewhere.

    A filled joint's score is half of what its measured neighbours in time have.
    """
    score = torch.where(filled, 0.5 * interpolated(joints.score, ~filled & known, times), joints.score)
    return replace(
        joints,
        positions=torch.where(known[..., None], positions.to(joints.positions.dtype), torch.nan),
        covariance=torch.where(known[..., None, None], covariance.to(joints.covariance.dtype), torch.nan),
        filled=filled & known,
        score=torch.where(known, score, 0.0),
    )

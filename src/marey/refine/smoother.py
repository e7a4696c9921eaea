"""Smooth joint trajectories by their own uncertainty: a Kalman smoother whose noise is fitted to the recording.

How restless a joint is at each moment, and how much of the stated covariances shows as noise from frame to frame, are
found for each joint by maximum likelihood: an ankle that stands and a wrist that waves get what each needs, and nothing
has to be tuned. The rest of a stated covariance is error that changes slowly (a detector that sees the knee too high
does so in the next frame too). No filter removes it, so it stays in the result's covariance.

Measurements far from where the others put the joint lose weight (Student's t, by expectation maximisation: Lange,
Little and Taylor, Robust statistical modeling using the t distribution, JASA 84, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from marey.core import Joints3D
from marey.geometry.small import inverse_3x3_symmetric
from marey.refine.kalman import Tracks, kalman_filter, smooth_positions, white_noise_dynamics
from marey.refine.noise_fit import fit_noise
from marey.refine.timeline import check_times, gap_limits, measured, neighbours, with_filled

MOTION_ORDER = {"constant_velocity": 2, "constant_acceleration": 3}
TRACKS_AT_ONCE = 16
"""Bounds the memory: about 1 kB a track and frame."""
REJECTED_WEIGHT = 0.1
"""A measurement that counts less than this is not what the result rests on."""
LASTING = 0.2
"""Share of a stated variance that has to be missing from the noise before it is taken for slowly changing error."""


@dataclass(frozen=True, kw_only=True)
class SmootherConfig:
    """How trajectories are smoothed."""

    motion: Literal["constant_velocity", "constant_acceleration"] = "constant_velocity"
    """What is constant but for white noise in its derivative."""
    max_gap: float = 0.25
    """Seconds; longer gaps stay unknown, and the trajectory begins anew behind them."""
    degrees_of_freedom: float = 5.0
    """Of Student's t for the measurements: the smaller, the less a far one counts."""
    robust_passes: int = 1
    """Reweightings; 0: every measurement counts fully."""


def smooth(joints: Joints3D, times: Tensor, *, config: SmootherConfig | None = None) -> Joints3D:
    """Smooth every joint of every person, fill short gaps and return the posterior covariance.

    Cost: linear in frames, people and joints; 10,000 frames of 2 people with 25 joints take about 15 s on one thread.

    Args:
        joints: (T, P). Frames with NaN in position or covariance, or with `filled`, are not measured.
        times: (T,) seconds, ascending, evenly spaced or not.
        config: None: the defaults.

    Returns:
        (T, P). The covariance is that of the smoother plus what slowly changing error is in the measurements. Where a
        gap is filled or the measurement is rejected, `filled` is true, the covariance says how uncertain the value is,
        and the score is half of what its neighbours in time have. Before the first and after the last measurement, and
        in gaps longer than `max_gap`, joints stay NaN.

    Raises:
        ShapeError: joints or times have the wrong shape.
        InputError: times do not ascend.
    """
    config = config or SmootherConfig()
    check_times(joints, times)
    positions, covariance, present = (
        values.flatten(1, 2) for values in (joints.positions, joints.covariance, measured(joints))
    )
    smoothed, posterior, weights = torch.empty_like(positions), torch.empty_like(covariance), positions[..., 0].clone()
    for start in range(0, present.shape[1], TRACKS_AT_ONCE):
        tracks = slice(start, start + TRACKS_AT_ONCE)
        place, spread, weight = _smooth_tracks(
            positions[:, tracks].double().permute(0, 2, 1),
            covariance[:, tracks].double().permute(0, 2, 3, 1),
            present[:, tracks],
            times.double(),
            config=config,
        )
        smoothed[:, tracks], posterior[:, tracks] = place.permute(0, 2, 1), spread.permute(0, 3, 1, 2)
        weights[:, tracks] = weight
    known = gap_limits(present, times.double(), config.max_gap).inside
    return with_filled(
        joints,
        positions=smoothed.reshape(joints.positions.shape),
        covariance=posterior.reshape(joints.covariance.shape),
        filled=(known & (weights < REJECTED_WEIGHT)).reshape(joints.filled.shape),
        known=known.reshape(joints.filled.shape),
        times=times,
    )


def _smooth_tracks(
    positions: Tensor, covariance: Tensor, present: Tensor, times: Tensor, *, config: SmootherConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed positions (T, 3, N), covariance (T, 3, 3, N) and the weights of the measurements (T, N)."""
    order = MOTION_ORDER[config.motion]
    axes = torch.eye(3, dtype=positions.dtype, device=positions.device)[..., None]
    tracks = Tracks(
        measured=torch.where(present[:, None], positions, 0.0).contiguous(),
        covariance=torch.where(present[:, None, None], covariance, axes).contiguous(),
        present=present,
        restart=gap_limits(present, times, config.max_gap).restart,
    )
    fit = fit_noise(tracks, times, order=order, freedom=config.degrees_of_freedom)
    spread = tracks.covariance * fit.scale
    dynamics = white_noise_dynamics(times, fit.density, order=order)
    weights = fit.weights if config.robust_passes else present.to(positions.dtype)
    for left in reversed(range(config.robust_passes + 1)):
        weighted = replace(tracks, covariance=spread / weights.clamp_min(1e-6)[:, None, None])
        smoothed, posterior = smooth_positions(kalman_filter(weighted, dynamics), tracks.restart, dynamics)
        if left:
            residual = tracks.measured - smoothed
            weights = _student_weights(residual, spread, posterior, config.degrees_of_freedom) * present
    return smoothed, posterior + _lasting_error(tracks, fit.scale), weights


def _lasting_error(tracks: Tracks, scale: Tensor) -> Tensor:
    """The part of the stated covariance (T, 3, 3, N) that does not show as noise; in a gap, that of the last frame."""
    share = torch.where(scale < 1 - LASTING, 1 - scale, 0.0)
    last = neighbours(tracks.present)[0].clamp_min(0)
    return share * tracks.covariance.gather(0, last[:, None, None].expand(tracks.covariance.shape))


def _student_weights(residual: Tensor, spread: Tensor, posterior: Tensor, freedom: float) -> Tensor:
    """Expected weights (T, N) of measurements with residuals (T, 3, N): how much each shrinks its own information."""
    information = inverse_3x3_symmetric(spread.movedim(-1, 1))
    expected = posterior.movedim(-1, 1) + residual.transpose(1, 2)[..., None] * residual.transpose(1, 2)[..., None, :]
    return (freedom + 3) / (freedom + (information * expected).sum((-1, -2)))

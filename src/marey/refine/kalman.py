"""Kalman filter and fixed-interval smoother for many points in space at once, sequential over time only.

Each track is a point whose last known derivative is driven by white noise: `order` 2 is constant velocity with white
acceleration, 3 is constant acceleration with white jerk (Bar-Shalom, Li, Kirubarajan, Estimation with Applications to
Tracking and Navigation, section 6.2). The three axes share the transition but are coupled by full 3x3 measurement
covariances.

The backward pass is the Rauch-Tung-Striebel smoother in the form of Bryson and Frazier (Bierman, Fixed interval
smoothing with discrete measurements, Int. J. Control 18, 1973): the same means and covariances, without the inverse of
a state covariance. Its equations need only what `kalman_filter` stores.

Tensors have the tracks N last, so that every operation runs along contiguous memory; M is the order, i and j are axes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

POSITION_PRIOR = 1.0
"""Standard deviation of the first position of a track about its first measurement, metres."""
DERIVATIVE_PRIOR = (5.0, 50.0)
"""Standard deviations of the first velocity (m/s) and acceleration (m/s^2): wide for any part of a body."""
BLOCK = 32
"""Frames prepared at once in the backward pass."""


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """How the states move from each frame to the next."""

    transition: Tensor
    """(T, M, M) from frame t - 1 to t; the first is not used."""
    noise: Tensor
    """(T, M, M) covariance of the process per unit of spectral density."""
    density: Tensor
    """(T, N) spectral density of the white noise up to each frame, m^2/s^3 for order 2, m^2/s^5 for order 3."""


@dataclass(frozen=True, kw_only=True)
class Filtered:
    """What the forward pass leaves for the backward pass and for the likelihood."""

    predicted: Tensor
    """(T, 3, N) position before the measurement of the frame."""
    gain: Tensor
    """(T, M, 3, 3, N) covariance of the predicted state with the predicted position."""
    information: Tensor
    """(T, 3, 3, N) inverse covariance of the innovation; zero without measurement."""
    innovation: Tensor
    """(T, 3, N) measurement minus prediction; zero without measurement."""


def white_noise_dynamics(times: Tensor, density: Tensor, *, order: int) -> Dynamics:
    """Exact discretisation of a derivative of the given order driven by white noise.

    Args:
        times: (T,) seconds, ascending, evenly spaced or not.
        density: (N,) or (T, N) spectral density of each track.
        order: 2 or 3.
    """
    step = torch.cat((times.new_zeros(1), times.diff()))
    transition = torch.zeros(len(times), order, order, dtype=times.dtype, device=times.device)
    noise = torch.zeros_like(transition)
    for row in range(order):
        for column in range(order):
            if column >= row:
                transition[:, row, column] = step ** (column - row) / math.factorial(column - row)
            a, b = order - 1 - row, order - 1 - column
            noise[:, row, column] = step ** (a + b + 1) / ((a + b + 1) * math.factorial(a) * math.factorial(b))
    return Dynamics(transition=transition, noise=noise, density=density.expand(len(times), density.shape[-1]))


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """What was measured of N tracks over T frames."""

    measured: Tensor
    """(T, 3, N) metres; finite everywhere."""
    covariance: Tensor
    """(T, 3, 3, N) square metres; positive definite everywhere."""
    present: Tensor
    """(T, N) where there is a measurement."""
    restart: Tensor
    """(T, N) where a track begins anew at this measurement; at the latest its first one."""


def kalman_filter(tracks: Tracks, dynamics: Dynamics) -> Filtered:
    """Run forward over time and keep what the backward pass needs."""
    frames, _, count = tracks.measured.shape
    stored = Filtered(
        predicted=torch.empty_like(tracks.measured),
        gain=tracks.measured.new_empty(frames, dynamics.transition.shape[-1], 3, 3, count),
        information=torch.empty_like(tracks.covariance),
        innovation=torch.empty_like(tracks.measured),
    )
    for frame, step in enumerate(_forward(tracks, dynamics)):
        stored.predicted[frame], stored.gain[frame], stored.information[frame], stored.innovation[frame] = step
    return stored


def innovation_statistics(tracks: Tracks, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Run forward over time, every track by each of G models, and keep how well each measurement was foreseen.

    Args:
        tracks: N tracks.
        dynamics: with the density (T, G N), the tracks of one model beside each other.

    Returns:
        Squared Mahalanobis distances of the innovations and log determinants of their covariances, both (T, G N); zero
        where there is no measurement.
    """
    distance = torch.empty_like(dynamics.density, memory_format=torch.contiguous_format)
    logdet = torch.empty_like(distance)
    steps = _forward(tracks, dynamics)
    for start in range(0, len(distance), BLOCK):
        _, _, informations, innovations = zip(*islice(steps, BLOCK), strict=True)
        information, innovation = torch.stack(informations), torch.stack(innovations)
        block = slice(start, start + BLOCK)
        distance[block] = (innovation * (information * innovation[:, None]).sum(2)).sum(1)
        adjugate = torch.linalg.cross(information[:, 1], information[:, 2], dim=1)
        determinant = (information[:, 0] * adjugate).sum(1)
        logdet[block] = -torch.where(determinant > 0, determinant, 1.0).log()
    return distance, logdet


def _forward(tracks: Tracks, dynamics: Dynamics) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield of each frame what `Filtered` holds: predicted, gain, information and innovation, for G N tracks."""
    frames, order = dynamics.transition.shape[:2]
    count = dynamics.density.shape[-1]
    models = count // max(tracks.measured.shape[-1], 1)
    shape = (order, order, 3, 3, count)
    both = torch.einsum("tac,tbd->tabcd", dynamics.transition, dynamics.transition).reshape(frames, order**2, order**2)
    prior = _prior_covariance(order, tracks.measured)
    axes = torch.eye(3, dtype=prior.dtype, device=prior.device)[..., None]
    noise = dynamics.noise.reshape(frames, -1, 1)
    state, spread = prior.new_zeros(order, 3, count), prior.expand(shape)
    weight = tracks.present.to(prior.dtype)
    restarts = tracks.restart.any(-1).tolist()
    for frame in range(frames):
        measured, covariance = tracks.measured[frame].repeat(1, models), tracks.covariance[frame].repeat(1, 1, models)
        seen = weight[frame].repeat(models)
        shock = noise[frame] * (axes * dynamics.density[frame]).reshape(-1)
        state = (dynamics.transition[frame] @ state.reshape(order, -1)).reshape(order, 3, count)
        spread = torch.addmm(shock, both[frame], spread.reshape(order**2, -1)).reshape(shape)
        if restarts[frame]:
            begins = tracks.restart[frame].repeat(models)
            fresh = torch.zeros_like(state)
            fresh[0] = measured
            state = torch.where(begins, fresh, state)
            spread = torch.where(begins, prior, spread)
        gain = spread[:, 0]
        information = _inverse(gain[0] + covariance) * seen
        innovation = (measured - state[0]) * seen
        yield state[0], gain, information, innovation
        kalman = _times(gain, information)
        state = state + (kalman * innovation).sum(2)
        spread = spread - (kalman[:, None, :, None] * gain[None, :, None]).sum(4)
        # rounding would let the antisymmetric part grow with the transition, for no measurement sees it
        spread = 0.5 * (spread + spread.permute(1, 0, 3, 2, 4))


def smooth_positions(filtered: Filtered, restart: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Run backward over time: positions (T, 3, N) and their covariance (T, 3, 3, N) given all measurements.

    With C = 1 - K H of frame t and F into it, the adjoint state and its curvature go back as
    l <- F' (C' l - H' S^-1 y) and L <- F' (C' L C + H' S^-1 H) F; the filtered state x with covariance P becomes
    x - P l and P - P L P. All but these two recursions is done for many frames at once.
    """
    frames, order, _, _, tracks = filtered.gain.shape
    adjoint = filtered.predicted.new_zeros(tracks, 3 * order, 1)
    curvature = filtered.predicted.new_zeros(tracks, 3 * order, 3 * order)
    positions = torch.empty_like(filtered.predicted)
    covariance = torch.empty_like(filtered.information)
    for start in reversed(range(0, frames, BLOCK)):
        block = slice(start, min(start + BLOCK, frames))
        steps = _backward_steps(filtered, ~restart[block], dynamics, block)
        adjoints, curvatures = torch.empty_like(steps.source), torch.empty_like(steps.carry)
        for frame in reversed(range(block.stop - start)):
            adjoints[frame], curvatures[frame] = adjoint, curvature
            carry = steps.carry[frame]
            back = carry.transpose(-1, -2)
            adjoint = torch.baddbmm(steps.source[frame], back, adjoint)
            curvature = torch.baddbmm(steps.curving[frame], back, curvature @ carry)
        across = steps.spread.transpose(-1, -2)
        positions[block] = (steps.position - across @ adjoints)[..., 0].transpose(1, 2)
        covariance[block] = (steps.spread[:, :, :3] - across @ curvatures @ steps.spread).movedim(1, -1)
    return positions, covariance


@dataclass(frozen=True, kw_only=True)
class _BackwardSteps:
    """What the backward recursion needs of a block of B frames; states of all derivatives are stacked, S = 3 M."""

    position: Tensor
    """(B, N, 3, 1) filtered position."""
    spread: Tensor
    """(B, N, S, 3) covariance of the filtered state with the filtered position."""
    carry: Tensor
    """(B, N, S, S) C F; zero where the track begins anew."""
    source: Tensor
    """(B, N, S, 1) -F' H' S^-1 y; zero where the track begins anew."""
    curving: Tensor
    """(B, N, S, S) F' H' S^-1 H F; zero where the track begins anew."""


def _backward_steps(filtered: Filtered, goes_on: Tensor, dynamics: Dynamics, block: slice) -> _BackwardSteps:
    gain = filtered.gain[block].flatten(1, 2).movedim(-1, 1)
    information = filtered.information[block].movedim(-1, 1)
    pull = information @ filtered.innovation[block].transpose(1, 2)[..., None]
    kalman = gain @ information
    axes = torch.eye(3, dtype=gain.dtype, device=gain.device)
    transition = torch.kron(dynamics.transition[block].contiguous(), axes)[:, None]
    carried = transition[..., :3, :] * goes_on[..., None, None]
    down = carried.transpose(-1, -2)
    return _BackwardSteps(
        position=filtered.predicted[block].transpose(1, 2)[..., None] + gain[..., :3, :] @ pull,
        spread=gain - kalman @ gain[..., :3, :],
        carry=transition * goes_on[..., None, None] - kalman @ carried,
        source=-down @ pull,
        curving=down @ information @ carried,
    )


def _prior_covariance(order: int, like: Tensor) -> Tensor:
    """Of a state that begins, (M, M, 3, 3, 1)."""
    deviations = torch.tensor((POSITION_PRIOR, *DERIVATIVE_PRIOR[: order - 1]), dtype=like.dtype, device=like.device)
    axes = torch.eye(3, dtype=like.dtype, device=like.device)
    return (deviations.square().diag()[..., None, None] * axes)[..., None]


def _times(left: Tensor, right: Tensor) -> Tensor:
    """Matrix products of (M, 3, 3, N) with (3, 3, N)."""
    return (left[:, :, :, None] * right).sum(2)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric (3, 3, N) matrix by its adjugate."""
    adjugate: Tensor = torch.linalg.cross(matrix.roll(-1, 0), matrix.roll(-2, 0), dim=1)
    return adjugate / (matrix[0] * adjugate[0]).sum(0)

"""The kernel against the textbook: Kalman's filter and the Rauch-Tung-Striebel recursion in full matrices."""

import numpy as np
import pytest
import torch

from marey.refine.kalman import (
    DERIVATIVE_PRIOR,
    POSITION_PRIOR,
    Tracks,
    kalman_filter,
    smooth_positions,
    white_noise_dynamics,
)


def _textbook(measured, covariance, present, transition, noise):
    """Smoothed positions and covariance of one track, (T, 3) and (T, 3, 3)."""
    order = transition.shape[-1]
    transition, noise = (np.stack([np.kron(step, np.eye(3)) for step in steps]) for steps in (transition, noise))
    observe = np.eye(3, 3 * order)
    state = np.concatenate((measured[0], np.zeros(3 * order - 3)))
    deviations = np.array((POSITION_PRIOR, *DERIVATIVE_PRIOR))[:order]
    spread = np.kron(np.diag(deviations**2), np.eye(3))
    states, spreads, predicted, predicted_spreads = [], [], [], []
    for t in range(len(measured)):
        if t:
            state, spread = transition[t] @ state, transition[t] @ spread @ transition[t].T + noise[t]
        predicted.append(state)
        predicted_spreads.append(spread)
        if present[t]:
            innovation_spread = observe @ spread @ observe.T + covariance[t]
            gain = spread @ observe.T @ np.linalg.inv(innovation_spread)
            state = state + gain @ (measured[t] - observe @ state)
            kept = np.eye(3 * order) - gain @ observe
            spread = kept @ spread @ kept.T + gain @ covariance[t] @ gain.T  # Joseph's form: stays symmetric
        states.append(state)
        spreads.append(spread)
    for t in range(len(measured) - 2, -1, -1):
        back = spreads[t] @ transition[t + 1].T @ np.linalg.inv(predicted_spreads[t + 1])
        states[t] = states[t] + back @ (states[t + 1] - predicted[t + 1])
        spreads[t] = spreads[t] + back @ (spreads[t + 1] - predicted_spreads[t + 1]) @ back.T
    return np.stack(states)[:, :3], np.stack(spreads)[:, :3, :3]


def _of(measured, covariance, present, restart):
    return Tracks(measured=measured, covariance=covariance, present=present, restart=restart)


def _tracks(frames, tracks, seed=0):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(frames, 3, 3, tracks)) * 0.005
    covariance = np.einsum("tikn,tjkn->tijn", root, root) + 1e-5 * np.eye(3)[..., None]
    measured = np.cumsum(rng.normal(size=(frames, 3, tracks)) * 0.01, axis=0)
    return torch.from_numpy(measured), torch.from_numpy(covariance)


@pytest.mark.parametrize("order", [2, 3])
def test_smoother__is_the_textbooks_with_uneven_times_and_gaps(order):
    rng = np.random.default_rng(1)
    frames, tracks = 70, 3
    times = torch.from_numpy(np.cumsum(rng.uniform(0.01, 0.03, frames)))
    measured, covariance = _tracks(frames, tracks)
    present = torch.from_numpy(rng.random((frames, tracks)) > 0.2)
    present[0], present[40:50, 1] = True, False
    restart = torch.zeros_like(present)
    restart[0] = True
    dynamics = white_noise_dynamics(times, torch.tensor([3.0, 100.0, 5000.0], dtype=torch.float64), order=order)
    filtered = kalman_filter(_of(measured, covariance, present, restart), dynamics)
    positions, spread = smooth_positions(filtered, restart, dynamics)
    for track in range(tracks):
        noise = dynamics.noise * dynamics.density[0, track]
        expected, expected_spread = _textbook(
            measured[..., track].numpy(),
            covariance[..., track].numpy(),
            present[:, track].numpy(),
            dynamics.transition.numpy(),
            noise.numpy(),
        )
        np.testing.assert_allclose(positions[..., track], expected, atol=1e-9)
        np.testing.assert_allclose(spread[..., track], expected_spread, rtol=1e-6, atol=1e-12)


def test_restart__makes_two_trajectories_of_one():
    measured, covariance = _tracks(90, 2)
    present = torch.ones(90, 2, dtype=torch.bool)
    restart = torch.zeros_like(present)
    restart[0] = True
    restart[40, 1] = True
    dynamics = white_noise_dynamics(torch.arange(90).double() / 60, torch.full((2,), 50.0).double(), order=2)
    together = smooth_positions(kalman_filter(_of(measured, covariance, present, restart), dynamics), restart, dynamics)
    for part in (slice(0, 40), slice(40, 90)):
        alone = white_noise_dynamics(torch.arange(part.stop - part.start).double() / 60, dynamics.density[0], order=2)
        begin = torch.zeros_like(present[part])
        begin[0] = True
        filtered = kalman_filter(_of(measured[part], covariance[part], present[part], begin), alone)
        for ours, expected in zip(together, smooth_positions(filtered, begin, alone), strict=True):
            torch.testing.assert_close(ours[part][..., 1], expected[..., 1], atol=1e-12, rtol=1e-9)


def test_long_recording__stays_positive_definite():
    frames = 3000
    measured, covariance = _tracks(frames, 4)
    present = torch.rand(frames, 4, generator=torch.Generator().manual_seed(0)) > 0.3
    present[0] = True
    restart = torch.zeros_like(present)
    restart[0] = True
    dynamics = white_noise_dynamics(
        torch.arange(frames).double() / 60, 10.0 ** torch.arange(-2.0, 6, 2).double(), order=3
    )
    _, spread = smooth_positions(
        kalman_filter(_of(measured, covariance, present, restart), dynamics), restart, dynamics
    )
    assert torch.linalg.eigvalsh(spread.movedim(-1, 1)).min() > 0


@pytest.mark.parametrize("order", [2, 3])
def test_dynamics__of_two_steps_is_that_of_one_twice_as_long(order):
    unit = torch.ones(1, dtype=torch.float64)
    short = white_noise_dynamics(torch.tensor([0.0, 0.1, 0.2]).double(), unit, order=order)
    long = white_noise_dynamics(torch.tensor([0.0, 0.2]).double(), unit, order=order)
    step, noise = short.transition[1], short.noise[1]
    torch.testing.assert_close(step @ step, long.transition[1])
    torch.testing.assert_close(step @ noise @ step.T + noise, long.noise[1])

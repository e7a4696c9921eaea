import numpy as np
import pytest
import torch

from marey.refine.kalman import Tracks, white_noise_dynamics
from marey.refine.noise_fit import fit_noise


def _simulated(frames, density, scale, *, order, stated, seed=0):
    """Tracks that follow the model exactly: measured positions (T, 3, N)."""
    rng = np.random.default_rng(seed)
    times = torch.arange(frames).double() / 60
    dynamics = white_noise_dynamics(times, torch.ones(1).double(), order=order)
    root = torch.linalg.cholesky(dynamics.noise[1]).numpy()
    state = np.zeros((order, 3, len(density)))
    path = []
    for _ in range(frames):
        shock = np.einsum("ab,bin->ain", root, rng.normal(size=state.shape)) * np.sqrt(density)
        state = np.einsum("ab,bin->ain", dynamics.transition[1].numpy(), state) + shock
        path.append(state[0])
    noise = rng.normal(size=(frames, 3, len(density))) * stated * np.sqrt(scale)
    return torch.from_numpy(np.stack(path) + noise), times


def _tracks(positions, present=None):
    frames, _, count = positions.shape
    present = torch.ones(frames, count, dtype=torch.bool) if present is None else present
    restart = torch.zeros_like(present)
    restart[0] = present[0]
    covariance = (1e-4 * torch.eye(3).double())[..., None].expand(frames, 3, 3, count)
    return Tracks(measured=positions, covariance=covariance, present=present, restart=restart)


@pytest.mark.parametrize("order", [2, 3])
def test_fit__finds_what_made_the_tracks(order):
    density = np.array([0.1, 3.0, 50.0] if order == 2 else [3.0, 300.0, 30000.0])
    scale = np.array([1.0, 4.0, 0.5])
    positions, times = _simulated(1200, density, scale, order=order, stated=0.01)
    fit = fit_noise(_tracks(positions), times, order=order, freedom=5.0)
    np.testing.assert_allclose(fit.scale.numpy(), scale, rtol=0.2)
    np.testing.assert_allclose(fit.density.log10().mean(0).numpy(), np.log10(density), atol=0.4)
    assert 0.9 < fit.weights.mean() < 1.2


def test_fit__follows_a_joint_that_becomes_restless():
    calm, times = _simulated(600, np.array([0.01]), np.array([1.0]), order=2, stated=0.01)
    wild, _ = _simulated(600, np.array([100.0]), np.array([1.0]), order=2, stated=0.01, seed=1)
    joined = torch.cat((calm[:300], wild[:300] - wild[0] + calm[300]))
    fit = fit_noise(_tracks(joined), times, order=2, freedom=5.0)
    level = fit.density[:, 0].log10()
    assert level[50:270].mean() < -1
    assert level[330:].mean() > 1
    assert 0.7 < fit.scale < 1.4


def test_fit__is_not_moved_by_outliers_and_gaps():
    positions, times = _simulated(900, np.array([10.0]), np.array([1.0]), order=2, stated=0.01)
    clean = fit_noise(_tracks(positions), times, order=2, freedom=5.0)
    rng = np.random.default_rng(2)
    spoiled, outlier = positions.clone(), torch.from_numpy(rng.random(900) < 0.02)
    spoiled[outlier] += 0.3
    present = torch.ones(900, 1, dtype=torch.bool)
    present[torch.from_numpy(rng.random(900) < 0.1)] = False
    fit = fit_noise(_tracks(spoiled, present), times, order=2, freedom=5.0)
    assert abs(float((fit.density.median() / clean.density.median()).log10())) < 0.6
    assert 0.7 < float(fit.scale) < 2.0
    assert fit.weights[outlier[:, None] & present].max() < 0.2
    assert (fit.weights[~present] == 0).all()


def test_fit__of_a_track_that_is_never_seen_is_finite():
    nothing = _tracks(torch.zeros(10, 3, 1).double(), torch.zeros(10, 1, dtype=torch.bool))
    fit = fit_noise(nothing, torch.arange(10).double(), order=2, freedom=5.0)
    assert fit.density.isfinite().all()
    assert fit.scale.isfinite().all()
    assert (fit.weights == 0).all()

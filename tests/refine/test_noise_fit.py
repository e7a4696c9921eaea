import numpy as np
import pytest
import torch

from marey.refine.kalman import white_noise_dynamics
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


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("frames", [600, 3000])
def test_fit__finds_what_made_the_tracks(order, frames):
    density = np.array([0.3, 10.0, 300.0] if order == 2 else [3.0, 300.0, 30000.0])
    scale = np.array([1.0, 4.0, 0.5])
    positions, times = _simulated(frames, density, scale, order=order, stated=0.01)
    covariance = (1e-4 * torch.eye(3).double())[..., None].expand(frames, 3, 3, 3)
    present = torch.ones(frames, 3, dtype=torch.bool)
    fit = fit_noise(positions, covariance, present, times, order=order, max_gap=0.25, freedom=5.0)
    np.testing.assert_allclose(fit.scale, scale, rtol=0.15)
    np.testing.assert_allclose(np.log10(fit.density), np.log10(density), atol=0.3)


def test_fit__is_not_moved_by_outliers_and_gaps():
    positions, times = _simulated(900, np.array([10.0]), np.array([1.0]), order=2, stated=0.01)
    covariance = (1e-4 * torch.eye(3).double())[..., None].expand(900, 3, 3, 1)
    present = torch.ones(900, 1, dtype=torch.bool)
    clean = fit_noise(positions, covariance, present, times, order=2, max_gap=0.25, freedom=5.0)
    rng = np.random.default_rng(2)
    spoiled = positions.clone()
    spoiled[torch.from_numpy(rng.random(900) < 0.03)] += 0.3
    present[100:160] = False
    present[torch.from_numpy(rng.random(900) < 0.1)] = False
    fit = fit_noise(spoiled, covariance, present, times, order=2, max_gap=0.25, freedom=5.0)
    assert abs(float((fit.density / clean.density).log10())) < 0.5
    assert 0.7 < float(fit.scale) < 2.0


def test_fit__of_a_track_that_is_never_seen_is_finite():
    nothing = torch.zeros(10, 3, 1).double()
    covariance = torch.eye(3).double()[..., None].expand(10, 3, 3, 1)
    present = torch.zeros(10, 1, dtype=torch.bool)
    fit = fit_noise(nothing, covariance, present, torch.arange(10).double(), order=2, max_gap=1.0, freedom=5.0)
    assert fit.density.isfinite().all()
    assert fit.scale.isfinite().all()

import pytest
import torch

from marey.body.continuity import told_by_others


def _dense(value, variance, stationary, correlation):
    """The same by the inverse of the whole covariance, frame by frame."""
    time = torch.arange(len(value), dtype=torch.float64)
    prior = torch.linalg.inv(stationary * correlation ** (time[:, None] - time).abs())
    mean, spread = [], []
    for frame in range(len(value)):
        information = torch.where(variance.isfinite(), 1 / variance, 0.0)
        information[frame] = 0
        posterior = torch.linalg.inv(prior + torch.diag(information))
        mean.append((posterior @ (information * value))[frame])
        spread.append(posterior[frame, frame])
    return torch.stack(mean), torch.stack(spread)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 37])
def test_told_by_others__equals_the_dense_posterior(frames):
    generator = torch.Generator().manual_seed(frames)
    value = torch.randn(frames, 2, generator=generator, dtype=torch.float64)
    variance = 0.1 + torch.rand(frames, 2, generator=generator, dtype=torch.float64)
    variance[frames // 3 : frames // 2] = torch.inf
    stationary = torch.tensor([2.0, 0.5], dtype=torch.float64)
    mean, spread = told_by_others(value, variance, stationary=stationary, correlation=0.9)
    for column in range(2):
        expected = _dense(value[:, column], variance[:, column], stationary[column], 0.9)
        torch.testing.assert_close((mean[:, column], spread[:, column]), expected, atol=1e-6, rtol=1e-6)


def test_told_by_others__far_from_anything_told_is_what_is_usual():
    value, variance = torch.ones(200, 1), torch.full((200, 1), torch.inf)
    variance[0] = 1e-6
    mean, spread = told_by_others(value, variance, stationary=torch.tensor([4.0]), correlation=0.8)
    torch.testing.assert_close(mean[1], torch.tensor([0.8]), atol=1e-5, rtol=0)
    torch.testing.assert_close(spread[1], torch.tensor([4 * (1 - 0.64)]), atol=1e-5, rtol=0)
    assert mean[-1].abs() < 1e-9
    torch.testing.assert_close(spread[-1], torch.tensor([4.0]))

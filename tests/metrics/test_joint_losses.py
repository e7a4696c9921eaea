"""Losses of joints with covariances."""

import pytest
import torch

from marey.metrics.joint_losses import bounded_likelihood, coverage_loss


def test_coverage_loss__least_where_nine_of_ten_are_within():
    generator = torch.Generator().manual_seed(3)
    heavy = torch.randn(400, 2, 3, generator=generator) / torch.rand(400, 2, 1, generator=generator)
    error = heavy * torch.tensor([0.02, 0.1])[:, None]
    spread = torch.zeros(2, requires_grad=True)
    known = torch.ones(400, 2, dtype=torch.bool)
    optimiser = torch.optim.Adam([spread], 0.03)
    for _ in range(400):
        covariance = (0.05**2 * torch.eye(3)) * (2 * spread.detach()).exp()[:, None, None].expand(400, -1, -1, -1)
        loss = coverage_loss(error, covariance, spread, known)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    radius = 6.251389**0.5 * 0.05 * spread.detach().exp()
    inside = (error.norm(dim=-1) <= radius).float().mean(0)
    assert ((inside > 0.87) & (inside < 0.93)).all(), inside


def test_coverage_loss__does_not_count_what_is_not_known():
    error = torch.tensor([[[0.1, 0.0, 0.0], [torch.nan, 0.0, 0.0]]])
    spread = torch.zeros(2, requires_grad=True)
    loss = coverage_loss(error, torch.eye(3).expand(1, 2, 3, 3), spread, torch.tensor([[True, False]]))
    loss.backward()
    assert loss.isfinite()
    assert spread.grad.tolist() == pytest.approx([0.1, 0.0])  # within: the ellipsoid may shrink


def test_bounded_likelihood__a_joint_that_is_lost_does_not_drown_the_others():
    truth = torch.zeros(1, 2, 3)
    joints = torch.tensor([[[0.01, 0.0, 0.0], [1e6, 0.0, 0.0]]])
    covariance = (0.01**2 * torch.eye(3)).expand(1, 2, 3, 3).clone()
    covariance[0, 1] = 1e9 * torch.eye(3)
    known = torch.ones(1, 2, dtype=torch.bool)
    both = bounded_likelihood(joints, covariance, truth, known)
    first = bounded_likelihood(joints[:, :1], covariance[:, :1], truth[:, :1], known[:, :1])
    torch.testing.assert_close(both, first)

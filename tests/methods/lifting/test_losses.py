"""Losses against torch's own distributions."""

import torch

from marey.methods.lifting.losses import distance, joint_weights, negative_log_likelihood, squared_deviation


def residuals(*batch):
    generator = torch.Generator().manual_seed(8)
    residual = torch.randn(*batch, 3, generator=generator, dtype=torch.float64)
    factor = torch.randn(*batch, 3, 3, generator=generator, dtype=torch.float64).tril()
    diagonal = factor.diagonal(dim1=-2, dim2=-1).abs() + 0.2
    return residual, torch.diagonal_scatter(factor, diagonal, dim1=-2, dim2=-1)


def test_likelihood__is_that_of_the_normal_distribution():
    residual, factor = residuals(7, 5)
    normal = torch.distributions.MultivariateNormal(torch.zeros(3).double(), scale_tril=factor)
    expected = -(normal.log_prob(residual) + 1.5 * torch.log(torch.tensor(2 * torch.pi)).double()).mean()
    torch.testing.assert_close(negative_log_likelihood(residual, factor, torch.ones(7, 5).double()), expected)


def test_squared_deviation__equals_a_triangular_solve():
    residual, factor = residuals(2, 1, 3)
    solved = torch.linalg.solve_triangular(factor, residual[..., None], upper=False)[..., 0]
    torch.testing.assert_close(squared_deviation(residual, factor), solved.square().sum(-1))


def test_likelihood__teaches_the_covariance_and_not_the_mean():
    residual, factor = (part.requires_grad_() for part in residuals(4, 2))
    negative_log_likelihood(residual, factor, torch.ones(4, 2).double()).backward()
    assert residual.grad is None
    assert factor.grad.abs().sum() > 0


def test_distance__weighs_joints():
    positions = torch.zeros(1, 2, 3)
    joints = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 1.0]]])
    torch.testing.assert_close(distance(positions, joints, torch.tensor([[2.0, 0.0]])), torch.tensor(5.0))
    torch.testing.assert_close(distance(positions, joints, torch.tensor([[0.0, 2.0]])), torch.tensor(1.0))


def test_weights__mean_one_of_every_person_and_less_without_the_joint():
    there = torch.tensor([[True, False], [True, True], [True, True]])
    weights = joint_weights(there, torch.tensor([True, True, False]))
    torch.testing.assert_close(weights, torch.tensor([[1 / 0.6, 0.2 / 0.6], [1.0, 1.0], [0.0, 0.0]]))
    torch.testing.assert_close(joint_weights(there[:1], torch.tensor([True])), weights[:1])

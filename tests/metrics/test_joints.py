"""Errors of joints and honesty of their covariance."""

import math

import pytest
import torch
from scipy import stats

from marey.core import InputError, ShapeError
from marey.metrics.joints import confidence_levels, coverage, joint_errors, known_share, mpjpe_mm

NAN = math.nan


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_joint_errors__are_distances(batch):
    truth = sample(*batch, 5, 3)
    errors = joint_errors(truth + torch.tensor([0.3, 0.0, -0.4]), truth)
    torch.testing.assert_close(errors, torch.full((*batch, 5), 0.5, dtype=torch.float64))


def test_joint_errors__unknown_is_nan():
    truth = torch.tensor([[0.0, 0.0, 0.0], [NAN, NAN, NAN], [0.0, 0.0, 0.0]])
    estimated = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 0.0], [NAN, NAN, NAN]])
    torch.testing.assert_close(joint_errors(estimated, truth), torch.tensor([0.1, NAN, NAN]), equal_nan=True)
    assert mpjpe_mm(estimated, truth) == pytest.approx(100.0)
    assert known_share(estimated, truth) == pytest.approx(0.5)  # of the two joints whose truth is known


def test_joint_errors__do_not_change_with_a_rigid_motion():
    estimated, truth = sample(4, 17, 3), sample(4, 17, 3, seed=1)
    rotation = torch.linalg.qr(sample(3, 3, seed=2)).Q
    torch.testing.assert_close(
        joint_errors(estimated @ rotation.T + 2.0, truth @ rotation.T + 2.0), joint_errors(estimated, truth)
    )


@pytest.mark.parametrize(("estimated", "truth"), [((2, 17, 3), (2, 16, 3)), ((17, 2), (17, 2)), ((3,), (3,))])
def test_joint_errors__shapes_must_fit(estimated, truth):
    with pytest.raises(ShapeError, match=r"expected joints \(\.\.\., J, 3\) of the same J"):
        joint_errors(torch.zeros(estimated), torch.zeros(truth))


def test_confidence_levels__agree_with_the_chi_squared_distribution():
    estimated, truth = sample(50, 3), sample(50, 3, seed=1)
    factor = sample(50, 3, 3, seed=2)
    covariance = factor @ factor.mT + 0.1 * torch.eye(3, dtype=torch.float64)
    difference = (estimated - truth)[..., None]
    distance = (difference.mT @ torch.linalg.solve(covariance, difference)).flatten()
    expected = torch.from_numpy(stats.chi2(3).cdf(distance.numpy()))
    torch.testing.assert_close(confidence_levels(estimated, covariance, truth), expected)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_coverage__is_the_level_for_a_right_covariance(level):
    factor = torch.linalg.cholesky(torch.tensor([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]]).double())
    drawn = sample(40_000, 1, 3) @ factor.T
    found = coverage(drawn, (factor @ factor.T).expand(40_000, 1, 3, 3), torch.zeros_like(drawn), level=level)
    assert float(found) == pytest.approx(level, abs=0.01)


def test_coverage__counts_known_joints_only():
    estimated = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [NAN, NAN, NAN]])
    covariance = torch.eye(3).expand(3, 3, 3)
    assert coverage(estimated, covariance, torch.zeros(3, 3)) == pytest.approx(0.5)
    assert coverage(torch.full((3, 3), NAN), covariance, torch.zeros(3, 3)).isnan()


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0])
def test_coverage__level_is_a_probability(level):
    with pytest.raises(InputError, match="level: expected a probability"):
        coverage(torch.zeros(1, 3), torch.eye(3)[None], torch.zeros(1, 3), level=level)

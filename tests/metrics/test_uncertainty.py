"""Honesty of covariances."""

import math

import pytest
import torch
from scipy import stats

from marey.core import InputError, ShapeError
from marey.metrics.accumulate import Total
from marey.metrics.samples import energy_scores
from marey.metrics.uncertainty import (
    confidence_levels,
    coverage,
    covered,
    gaussian_energy_scores,
    gaussian_nll,
    mean_gaussian_nll,
    reliability,
)

NAN = math.nan


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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
    with pytest.raises(InputError, match="coverage: expected a known value"):
        coverage(torch.full((3, 3), NAN), covariance, torch.zeros(3, 3))


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0])
def test_coverage__level_is_a_probability(level):
    with pytest.raises(InputError, match="level: expected a probability"):
        coverage(torch.zeros(1, 3), torch.eye(3)[None], torch.zeros(1, 3), level=level)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_gaussian_nll__equals_scipy(batch):
    estimated, truth = sample(*batch, 4, 3), sample(*batch, 4, 3, seed=1)
    factor = sample(*batch, 4, 3, 3, seed=2)
    covariance = factor @ factor.mT + 0.1 * torch.eye(3, dtype=torch.float64)
    found = gaussian_nll(estimated, covariance, truth)
    rows = zip(
        *(value.reshape(-1, *value.shape[len(batch) + 1 :]) for value in (estimated, covariance, truth)), strict=True
    )
    expected = [-stats.multivariate_normal(mean.numpy(), c.numpy()).logpdf(y.numpy()) for mean, c, y in rows]
    torch.testing.assert_close(found.flatten(), torch.tensor(expected, dtype=torch.float64))
    assert float(mean_gaussian_nll(estimated, covariance, truth)) == pytest.approx(sum(expected) / len(expected))


def test_gaussian_nll__leaves_out_what_is_missing_and_refuses_what_is_no_covariance():
    estimated, truth = sample(3, 3), sample(3, 3, seed=1)
    covariance = torch.eye(3).double().repeat(3, 1, 1)
    covariance[1] = NAN
    assert gaussian_nll(estimated, covariance, truth).isnan().tolist() == [False, True, False]
    indefinite = torch.diag(torch.tensor([-1.0, -1.0, 1.0]).double())
    covariance[2] = indefinite
    with pytest.raises(InputError, match=r"positive definite matrices, got 1 others, the first at \[2\]"):
        gaussian_nll(estimated, covariance, truth)
    with pytest.raises(ShapeError, match=r"covariance: expected \(\.\.\., 3, 3, 3\)"):
        gaussian_nll(estimated, covariance[:2], truth)
    with pytest.raises(InputError, match="mean_gaussian_nll: expected a known value"):
        mean_gaussian_nll(estimated * NAN, covariance[:1].expand(3, 3, 3), truth)


def test_gaussian_nll__is_lowest_for_the_right_covariance():
    drawn = 2.0 * sample(20_000, 1, 3)
    scores = [
        float(mean_gaussian_nll(drawn, factor * torch.eye(3).double().expand(20_000, 1, 3, 3), torch.zeros_like(drawn)))
        for factor in (2.0, 4.0, 8.0)
    ]
    assert scores[1] == min(scores)


def test_reliability__counts_what_lies_within_each_level():
    found = reliability(torch.tensor([0.05, 0.5, 0.55, NAN, 0.9]), levels=(0.1, 0.5, 0.8))
    torch.testing.assert_close(found.observed, torch.tensor([0.25, 0.5, 0.75]).double())
    assert found.count == 4
    assert float(found.expected_calibration_error) == pytest.approx((0.15 + 0 + 0.05) / 3)
    assert float(found.maximum_calibration_error) == pytest.approx(0.15)


def test_covered__accumulates_to_the_coverage():
    confidence = torch.tensor([0.05, 0.5, NAN, 0.9])
    hits = covered(confidence, level=0.5)
    torch.testing.assert_close(hits, torch.tensor([1.0, 1.0, NAN, 0.0]), equal_nan=True)
    total = Total.of(hits[:2]) + Total.of(hits[2:])
    assert total.mean() == reliability(confidence, levels=(0.5,)).observed[0]


def test_reliability__errors():
    with pytest.raises(InputError, match="without one"):
        reliability(torch.full((3,), NAN))
    for levels in ((), (0.5, 0.4), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(InputError, match="levels: expected ascending probabilities"):
            reliability(torch.tensor([0.5]), levels=levels)


def test_calibration_error__tells_a_covariance_that_is_too_small():
    drawn, eye = sample(20_000, 1, 3), torch.eye(3).double().expand(20_000, 1, 3, 3)
    right = reliability(confidence_levels(drawn, eye, torch.zeros_like(drawn)))
    small = reliability(confidence_levels(drawn, 0.25 * eye, torch.zeros_like(drawn)))
    assert right.expected_calibration_error < 0.01
    assert small.expected_calibration_error > 0.3
    assert (small.observed < small.levels).all()


@pytest.mark.parametrize("distance", [0.0, 0.5, 3.0])
def test_gaussian_energy__equals_that_of_many_samples(distance):
    factor = sample(3, 3, seed=5) * torch.tensor([1.0, 0.4, 0.2])
    offset = torch.tensor([[distance, 0.0, 0.0]]).double()
    drawn = sample(3000, 3, seed=6) @ factor.mT
    drawn = torch.cat((drawn, -drawn))  # so that their mean is exact
    expected = energy_scores(drawn + offset, torch.zeros(3).double())
    found = gaussian_energy_scores(offset, (factor @ factor.mT)[None], torch.zeros(1, 3).double())
    torch.testing.assert_close(found[0], expected, rtol=0.02, atol=0)


def test_gaussian_energy__round_covariance_at_the_truth__has_a_closed_form():
    """E|X| = sigma sqrt(8 / pi), and X - X' is sqrt(2) times as wide."""
    sigma = torch.tensor([0.01, 0.5, 7.0]).double()
    covariance = sigma.square()[:, None, None] * torch.eye(3).double()
    found = gaussian_energy_scores(torch.zeros(3, 3).double(), covariance, torch.zeros(3, 3).double())
    torch.testing.assert_close(found, sigma * math.sqrt(8 / math.pi) * (1 - math.sqrt(0.5)), rtol=1e-4, atol=0)


def test_gaussian_energy__without_spread__is_the_distance():
    found = gaussian_energy_scores(torch.tensor([[3.0, 0.0, 4.0]]), torch.zeros(1, 3, 3), torch.zeros(1, 3))
    torch.testing.assert_close(found, torch.tensor([5.0]))


def test_gaussian_energy__is_lowest_for_the_right_covariance():
    factor = torch.linalg.cholesky(torch.tensor([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]]).double())
    offset = sample(4_000, 3, seed=8) @ factor.T
    right = factor @ factor.T
    means = [
        gaussian_energy_scores(offset, scale * right.expand(4_000, 3, 3), torch.zeros_like(offset)).mean()
        for scale in (0.5, 1.0, 2.0)
    ]
    assert means[1] < means[0]
    assert means[1] < means[2]


def test_gaussian_energy__missing_stays_missing_and_shapes_are_kept(monkeypatch):
    monkeypatch.setattr("marey.metrics.uncertainty._BLOCK", 4)
    estimated, covariance = sample(2, 3, 4, 3), torch.eye(3).double().expand(2, 3, 4, 3, 3).clone()
    estimated[0, 1, 2, 0], covariance[1, 2, 3, 0, 1] = NAN, NAN
    found = gaussian_energy_scores(estimated, covariance, torch.zeros(4, 3).double())
    assert found.isnan().nonzero().tolist() == [[0, 1, 2], [1, 2, 3]]
    with pytest.raises(ShapeError, match=r"covariance: expected \(\.\.\., 4, 3, 3\)"):
        gaussian_energy_scores(estimated, covariance[..., :2, :, :], torch.zeros(4, 3).double())

"""Scores of samples."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.metrics.samples import best_of, diversity, energy_scores, sample_confidence_levels
from synthetic import some_points

NAN = math.nan


def test_best_of__takes_one_sample_of_each_pose():
    errors = torch.tensor([[[1.0, 9.0], [4.0, 4.0], [NAN, 5.0]], [[2.0, 2.0], [NAN, 1.0], [7.0, 0.0]]])
    torch.testing.assert_close(best_of(errors), torch.tensor([[4.0, 4.0], [NAN, 1.0]]), equal_nan=True)
    assert best_of(torch.full((3, 2), NAN)).isnan().all()


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_energy_scores__equal_the_slow_sum(batch):
    samples, truth = some_points(*batch, 6, seed=1), some_points(*batch, seed=2)
    found = energy_scores(samples, truth)
    among = (samples[..., :, None, :] - samples[..., None, :, :]).norm(dim=-1).sum((-1, -2)) / (6 * 5)
    torch.testing.assert_close(found, (samples - truth[..., None, :]).norm(dim=-1).mean(-1) - among / 2)
    assert found.shape == batch


def test_energy_scores__are_lowest_for_the_right_spread():
    truth = some_points(4000, seed=1)
    scores = [float(energy_scores(width * some_points(4000, 12, seed=2), truth).mean()) for width in (0.5, 1.0, 2.0)]
    assert scores[1] == min(scores)


def test_energy_scores__missing_and_errors():
    samples, truth = some_points(2, 5, seed=1), some_points(2, seed=2)
    samples[0, 3, 1] = NAN
    assert energy_scores(samples, truth).isnan().tolist() == [True, False]
    samples = samples.requires_grad_()
    energy_scores(samples, truth)[1].backward()
    assert samples.grad.isfinite().all()
    with pytest.raises(InputError, match="at least 2, got 1"):
        energy_scores(some_points(2, 1), truth)
    with pytest.raises(ShapeError, match=r"\(\.\.\., S, D\)"):
        energy_scores(some_points(2, 5), torch.zeros(2, 4))


def test_diversity__is_the_distance_from_the_mean():
    samples = torch.tensor([[[1.0, 0.0, 0.0]], [[-1.0, 0.0, 0.0]], [[0.0, 3.0, 0.0]], [[0.0, -3.0, 0.0]]])
    torch.testing.assert_close(diversity(samples), torch.tensor([2.0]))


def test_sample_confidence_levels__are_uniform_for_the_right_distribution():
    stretch = torch.tensor([3.0, 1.0, 0.2]).double()
    truth = some_points(3000, 1, seed=1) * stretch
    samples = (some_points(3000, 200, 1, seed=2)) * stretch
    levels = sample_confidence_levels(samples, truth).flatten()
    for level in (0.25, 0.5, 0.9):
        assert float((levels <= level).double().mean()) == pytest.approx(level, abs=0.03)
    narrow = sample_confidence_levels(0.3 * samples, truth)
    assert float((narrow <= 0.9).double().mean()) < 0.3


def test_sample_confidence_levels__flat_point_and_missing_samples():
    samples, truth = some_points(5, 20, 2, seed=1), some_points(5, 2, seed=2)
    samples[0, :, 0, 2] = 0.0  # in a plane, the truth off it by what does not count
    samples[1, :, 0] = truth[1, 0]
    samples[2, :, 0] = truth[2, 0] + 0.1
    samples[3, 4, 0] = NAN
    levels = sample_confidence_levels(samples, truth)
    assert 0 <= levels[0, 0] <= 1
    assert levels[1:4, 0].nan_to_num(-1).tolist() == [0, 1, -1]
    with pytest.raises(InputError, match="at least 8"):
        sample_confidence_levels(samples[:, :7], truth)


def test_best_of__errors():
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., S, J\)"):
        best_of(torch.zeros(3))
    with pytest.raises(InputError, match="at least one sample"):
        best_of(torch.zeros(2, 0, 3))

"""Shares of points within a distance."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.metrics.correct import auc_scores, cps_hits, cps_scores, linear_auc_scores, pck_hits, pckh_hits, percent

NAN = math.nan


def line(*distances):
    """Joints at distances from the truth, which lies in the origin."""
    estimated = torch.zeros(len(distances), 3, dtype=torch.float64)
    estimated[:, 0] = torch.tensor(distances)
    return estimated, torch.zeros_like(estimated)


def test_pck_hits__count_by_the_threshold():
    estimated, truth = line(0.0, 0.124, 0.125, 0.2, NAN)
    assert pck_hits(estimated, truth, threshold=0.125).tolist() == [1, 1, 0, 0, 0]
    assert pck_hits(estimated, truth, threshold=0.125, inclusive=True).tolist() == [1, 1, 1, 0, 0]
    assert percent(pck_hits(estimated, truth, threshold=0.125)) == pytest.approx(40.0)


def test_pck_hits__what_is_left_out_is_wrong_and_what_has_no_truth_is_unknown():
    estimated, truth = line(0.0, NAN, 0.0)
    truth[2] = NAN
    hits = pck_hits(estimated, truth, threshold=0.1)
    torch.testing.assert_close(hits, torch.tensor([1.0, 0.0, NAN]).double(), equal_nan=True)
    assert percent(hits) == pytest.approx(50.0)


def test_pck_hits__thresholds_of_points_and_pixels():
    truth = torch.zeros(2, 3, 2)
    estimated = truth + torch.tensor([3.0, 4.0])
    hits = pck_hits(estimated, truth, threshold=torch.tensor([[4.9], [5.1]]))
    assert hits.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert pck_hits(estimated, truth, threshold=torch.tensor([[NAN], [5.1]])).isnan().sum() == 3


def test_pckh_hits__measure_by_the_true_head():
    truth = torch.tensor([[0.0, 0.0], [0.0, 10.0], [5.0, 5.0]])
    estimated = truth + torch.tensor([[5.0, 0.0], [5.1, 0.0], [0.0, 0.0]])
    assert pckh_hits(estimated, truth, head=(0, 1)).tolist() == [1, 0, 1]
    assert pckh_hits(estimated, truth, head=(0, 1), inclusive=False).tolist() == [0, 0, 1]
    assert pckh_hits(estimated, truth, head=(0, 1), fraction=1.0).tolist() == [1, 1, 1]
    truth[1] = NAN
    assert pckh_hits(estimated, truth, head=(0, 1)).isnan().all()


@pytest.mark.parametrize("inclusive", [False, True])
@pytest.mark.parametrize("rule", ["mean", "trapezoid"])
def test_auc_scores__average_to_the_area_under_the_curve(rule, inclusive):
    estimated, truth = line(*(0.2 * torch.rand(500, generator=torch.Generator().manual_seed(0))).tolist(), 0.05, 0.0)
    thresholds = torch.linspace(0, 0.15, 31, dtype=torch.float64)
    curve = torch.stack([pck_hits(estimated, truth, threshold=step, inclusive=inclusive).mean() for step in thresholds])
    area = curve.mean() if rule == "mean" else torch.trapezoid(curve, thresholds) / 0.15
    found = auc_scores(estimated, truth, thresholds=thresholds, rule=rule, inclusive=inclusive).mean()
    torch.testing.assert_close(found, area)


def test_auc_scores__missing_is_zero_and_unknown_is_unknown():
    estimated, truth = line(0.0, NAN, 0.0)
    truth[2] = NAN
    for scores in (
        auc_scores(estimated, truth, thresholds=[0.1, 0.2]),
        linear_auc_scores(estimated, truth, limit=0.2),
    ):
        torch.testing.assert_close(scores, torch.tensor([1.0, 0.0, NAN]).double(), equal_nan=True)


def test_linear_auc_scores__are_the_limit_of_many_thresholds():
    estimated, truth = line(0.0, 0.03, 0.1, 0.2)
    torch.testing.assert_close(
        linear_auc_scores(estimated, truth, limit=0.1), torch.tensor([1.0, 0.7, 0.0, 0.0]).double()
    )


def test_cps_hits__need_every_joint():
    truth = torch.zeros(4, 3, 3)
    estimated = truth.clone()
    estimated[1, 2, 0], estimated[2, 1] = 0.2, NAN
    truth[3] = NAN
    hits = cps_hits(estimated, truth, threshold=0.18)
    torch.testing.assert_close(hits, torch.tensor([1.0, 0.0, 0.0, NAN]), equal_nan=True)
    truth[1, 2] = NAN  # the joint that was wrong
    assert cps_hits(estimated, truth, threshold=0.18)[1] == 1


def test_cps_scores__average_to_the_area_under_the_share_of_correct_poses():
    truth = torch.zeros(200, 5, 3, dtype=torch.float64)
    estimated = 0.1 * torch.randn(200, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    estimated[0, 2] = NAN
    shares = [cps_hits(estimated, truth, threshold=step / 1000).mean() for step in range(1, 301)]
    found = cps_scores(estimated, truth)
    torch.testing.assert_close(found.mean(), torch.stack(shares).mean())
    assert found[0] == 0
    truth[1] = NAN
    assert cps_scores(estimated, truth).isnan().nonzero().flatten().tolist() == [1]


def test_percent__by_joint_weighs_joints_alike():
    hits = torch.tensor([[1.0, 0.0, NAN], [1.0, NAN, NAN], [1.0, NAN, NAN]])
    assert percent(hits) == pytest.approx(75.0)
    assert percent(hits, by_joint=True) == pytest.approx(50.0)


def test_correct__errors():
    estimated, truth = line(0.1)
    with pytest.raises(InputError, match=r"threshold: expected distances, got -0\.1"):
        pck_hits(estimated, truth, threshold=-0.1)
    for thresholds in ([], [0.2, 0.1], [[0.1, 0.2]]):
        with pytest.raises(InputError, match="thresholds: expected ascending"):
            auc_scores(estimated, truth, thresholds=torch.tensor(thresholds))
    with pytest.raises(InputError, match="thresholds: expected ascending"):
        auc_scores(estimated, truth, thresholds=[0.1], rule="trapezoid")
    with pytest.raises(InputError, match="head: expected two indices of 1 joints"):
        pckh_hits(estimated, truth, head=(0, 1))
    with pytest.raises(InputError, match="percent: expected a known value"):
        percent(torch.full((3, 2), NAN))
    with pytest.raises(ShapeError, match="of the same J"):
        pck_hits(torch.zeros(3, 3), torch.zeros(4, 3), threshold=0.1)

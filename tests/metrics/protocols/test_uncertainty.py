"""The protocol `uncertainty`: literal numbers, what is missing, what is no covariance."""

import math

import numpy as np
import pytest

from marey.core import InputError
from marey.io.predictions import pose_rows
from marey.metrics.protocols import protocol
from marey.metrics.protocols.uncertainty import COVARIANCE, known_in_both


def rows(joints, covariance=None, *, names=("a", "b"), **values):
    joints = np.asarray(joints, dtype=np.float64)
    keys = {"joint_names": names, "sequence": ["s"] * len(joints), "frame": range(len(joints))}
    spread = {} if covariance is None else {COVARIANCE: np.asarray(covariance, dtype=np.float64)}
    return pose_rows(joints, **keys, **spread, **values)


TRUTH = np.zeros((3, 2, 3))
ROUND = np.broadcast_to(1e-4 * np.eye(3), (3, 2, 3, 3)).copy()
"""1 cm along each axis."""


def test_score__numbers_worked_out_by_hand():
    """Off by 0, 1, 2, 2.5, 3 and 0.5 deviations of 1 cm along x; the 90 % ellipsoid reaches sqrt(6.2514) = 2.5003."""
    off = np.array([[0.0, 1.0], [2.0, 2.5], [3.0, 0.5]])
    joints = np.zeros((3, 2, 3))
    joints[..., 0] = 0.01 * off
    values = protocol("uncertainty").score(rows(joints, ROUND), rows(TRUTH)).values
    assert values["mpjpe_absolute_mm"] == pytest.approx(10 * off.mean())
    # the ellipsoids of 50, 80, 90 and 95 % reach 1.538, 2.154, 2.500 and 2.795 deviations
    shares = {50: 3, 80: 4, 90: 5, 95: 5}
    assert {level: values[f"coverage_{level}_percent"] for level in shares} == pytest.approx(
        {level: 100 * hits / 6 for level, hits in shares.items()}
    )
    constant = 3 * math.log(0.01) + 1.5 * math.log(2 * math.pi)
    assert values["nll"] == pytest.approx((off**2).mean() / 2 + constant)
    assert values["known_percent"] == 100


def test_score__the_right_covariance_covers_what_it_says_and_scores_best():
    random = np.random.default_rng(0)
    factor = np.array([[0.02, 0, 0], [0.01, 0.01, 0], [0, 0.005, 0.03]])
    joints, truth = random.normal(size=(4000, 2, 3)) @ factor.T, np.zeros((4000, 2, 3))
    found = {}
    for scale in (0.5, 1.0, 2.0):
        spread = np.broadcast_to(scale * factor @ factor.T, (4000, 2, 3, 3))
        found[scale] = protocol("uncertainty").score(rows(joints, spread), rows(truth)).values
    for level in (50, 80, 90, 95):
        assert found[1.0][f"coverage_{level}_percent"] == pytest.approx(level, abs=2)
        assert found[0.5][f"coverage_{level}_percent"] < level < found[2.0][f"coverage_{level}_percent"]
    for name in ("nll", "energy_score_mm"):
        assert found[1.0][name] < min(found[0.5][name], found[2.0][name])


def test_score__missing_joints_are_left_out_and_told():
    joints, spread = TRUTH + 0.01, ROUND.copy()
    joints[1, 0] = np.nan
    spread[2, 1] = np.nan
    truth = TRUTH.copy()
    truth[0, 0] = np.nan
    scores = protocol("uncertainty").score(rows(joints, spread), rows(truth))
    assert scores.values["mpjpe_absolute_mm"] == pytest.approx(10 * math.sqrt(3))
    assert scores.values["known_percent"] == pytest.approx(100 * 3 / 5)
    assert scores.counts == {"rows": 3, "joints": 5, "missing": 2}
    assert scores.notes[0].startswith("2 joints are missing (NaN) or have no covariance, in rows 1, 2 (s frame 1")


def test_score__a_row_of_which_nothing_is_known__has_no_number():
    joints = TRUTH.copy()
    joints[1] = np.nan
    scores = protocol("uncertainty").score(rows(joints, ROUND), rows(TRUTH))
    assert np.isnan(scores.per_row["nll"]).tolist() == [False, True, False]


def test_score__joints_go_by_name():
    joints = TRUTH + np.array([0.0, 0.01])[None, :, None]
    turned = rows(joints[:, ::-1], ROUND, names=("b", "a"))
    labels = rows(TRUTH)
    there = protocol("uncertainty").score(rows(joints, ROUND), labels).per_row["mpjpe_absolute_mm"]
    assert protocol("uncertainty").score(turned, labels).per_row["mpjpe_absolute_mm"].tolist() == there.tolist()


def test_score__groups_by_what_the_labels_tell():
    joints = TRUTH + np.array([0.01, 0.02, 0.03])[:, None, None]
    labels = rows(TRUTH, action=["walk", "sit", "walk"], subject=["S1"] * 3)
    groups = protocol("uncertainty").score(rows(joints, ROUND), labels).groups
    expected = {"sit": 20 * math.sqrt(3), "walk": 20 * math.sqrt(3)}
    assert groups["mpjpe_absolute_mm/action"] == pytest.approx(expected)
    assert not any(name.endswith("/subject") for name in groups)  # there is one only


@pytest.mark.parametrize(
    "broken",
    [
        np.diag([1.0, 1.0, -1.0]),
        np.diag([1.0, 1.0, 0.0]),
        np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        -np.eye(3),
    ],
)
def test_score__what_is_no_covariance_is_named(broken):
    spread = ROUND.copy()
    spread[2, 1] = 1e-4 * broken
    with pytest.raises(
        InputError, match=r"'joints_covariance' is no covariance in 1 rows, rows 2 \(s frame 2 person 0\)"
    ):
        protocol("uncertainty").score(rows(TRUTH, spread), rows(TRUTH))


def test_score__nothing_known_anywhere_is_refused():
    with pytest.raises(InputError, match=r"never known where labels are, in rows 0 to 2"):
        protocol("uncertainty").score(rows(TRUTH, ROUND * np.nan), rows(TRUTH))


def test_known_in_both__what_one_lacks_the_other_lacks_too():
    first, second = rows(TRUTH + 0.01, ROUND), rows(TRUTH + 0.02, ROUND)
    first.values["joints"][0, 1] = np.nan
    second.values[COVARIANCE][2, 0] = np.nan
    ours, theirs = known_in_both(first, second)
    for side in (ours, theirs):
        assert np.argwhere(np.isnan(side.values["joints"]).any(-1)).tolist() == [[0, 1], [2, 0]]
    assert not np.isnan(second.values["joints"]).any()  # those given are left alone

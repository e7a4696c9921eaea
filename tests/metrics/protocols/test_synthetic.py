"""The benchmark's own ruler: literal poses, what is not predicted, where the person is."""

import numpy as np
import pytest

from marey.core import InputError, skeleton
from marey.io.predictions import PoseRows, pose_rows
from marey.metrics.protocols import protocol

NAMES = skeleton("coco_17").joints
LEFT_HIP, RIGHT_HIP, NOSE = NAMES.index("left_hip"), NAMES.index("right_hip"), NAMES.index("nose")


def _rows(joints: np.ndarray) -> PoseRows:
    count = len(joints)
    return pose_rows(joints, joint_names=NAMES, sequence=["cell"] * count, frame=range(count))


@pytest.fixture
def truth() -> np.ndarray:
    """Hips 0.2 m apart around the origin."""
    joints = np.random.default_rng(1).normal(scale=0.5, size=(3, 17, 3))
    joints[:, LEFT_HIP], joints[:, RIGHT_HIP] = (0.1, 0, 0), (-0.1, 0, 0)
    return joints


def test_score__of_a_pose_elsewhere_is_zero_but_for_the_root(truth):
    scores = protocol("synthetic").score(_rows(truth + np.array((0, 0, 0.25))), _rows(truth))
    assert scores.values["mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert scores.values["root_mm"] == pytest.approx(250)
    assert scores.values["predicted_percent"] == 100


def test_score__of_a_larger_pose(truth):
    scores = protocol("synthetic").score(_rows(1.5 * truth), _rows(truth))
    assert scores.values["mpjpe_mm"] == pytest.approx(500 * np.linalg.norm(truth, axis=-1).mean())
    assert scores.values["n_mpjpe_mm"] == pytest.approx(0, abs=1e-9)
    assert scores.values["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-4)


def test_score__of_one_joint_off_by_17_cm_is_10_mm(truth):
    moved = truth.copy()
    moved[:, NOSE, 1] += 0.17
    scores = protocol("synthetic").score(_rows(moved), _rows(truth))
    assert scores.per_row["mpjpe_mm"] == pytest.approx([10, 10, 10])


def test_joint_not_predicted__counts_as_lying_at_the_root(truth):
    found = truth.copy()
    found[:, NOSE] = np.nan
    scores = protocol("synthetic").score(_rows(found), _rows(truth))
    assert scores.per_row["mpjpe_mm"] == pytest.approx(1000 * np.linalg.norm(truth[:, NOSE], axis=-1) / 17)
    assert scores.values["predicted_percent"] == pytest.approx(100 * 16 / 17)


def test_hip_not_predicted__the_other_is_the_root(truth):
    found = truth.copy()
    found[:, LEFT_HIP] = np.nan
    scores = protocol("synthetic").score(_rows(found), _rows(truth))
    # all others are 0.1 m too far to the left, and the hip itself lies where the root is
    assert scores.values["mpjpe_mm"] == pytest.approx(100)
    assert "root_mm" not in scores.values


def test_pose_not_predicted__counts_as_a_point(truth):
    found = truth.copy()
    found[1] = np.nan
    scores = protocol("synthetic").score(_rows(found), _rows(truth))
    assert scores.per_row["mpjpe_mm"][1] == pytest.approx(1000 * np.linalg.norm(truth[1], axis=-1).mean())
    assert np.isfinite(scores.per_row["pa_mpjpe_mm"]).all()
    assert scores.counts == {"rows": 3, "poses": 2, "missing": 17}


def test_rows_missing__are_named(truth):
    with pytest.raises(InputError, match="cell frame 2 person 0"):
        protocol("synthetic").score(_rows(truth[:2]), _rows(truth))

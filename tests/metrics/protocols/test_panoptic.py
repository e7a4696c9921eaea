"""CMU Panoptic on people of which every number can be worked out by hand."""

import numpy as np
import pytest

from marey.core import InputError
from marey.io.predictions import pose_rows
from marey.metrics.protocols.panoptic import JOINTS, CmuPanoptic, PanopticAP

POSE = np.random.default_rng(0).normal(scale=0.3, size=(19, 3))


def people(*places, frames=None, **values):
    """The same person at places in metres along x."""
    joints = POSE + np.array(places)[:, None, None] * (1.0, 0.0, 0.0)
    frames = range(len(places)) if frames is None else frames
    return pose_rows(joints, joint_names=JOINTS, sequence=["pizza"] * len(places), frame=frames, **values)


def test_ap__of_three_detections_by_hand():
    labels = people(0.0, 5.0, 0.0, frames=[0, 0, 1])
    # 10 mm off with the highest score, the same person again 60 mm off, and one 120 mm off in the other frame
    found = people(0.010, 0.060, 0.120, frames=[0, 0, 1], score=[0.9, 0.8, 0.7])
    values = PanopticAP().score(found, labels).values
    third = 1 / (3 + 1e-5)
    first, last = 1 / (1 + 1e-5), 2 / (3 + 1e-5)  # precision after one of one, after two of three
    assert values["ap25"] == pytest.approx(100 * third * first, rel=1e-12)
    assert values["ap100"] == pytest.approx(100 * third * first, rel=1e-12)
    assert values["ap125"] == pytest.approx(100 * third * (first + last), rel=1e-12)
    assert values["recall100"] == pytest.approx(100 * third, rel=1e-12)
    assert values["recall150"] == pytest.approx(200 * third, rel=1e-12)
    assert values["ap"] == pytest.approx(np.mean([values[f"ap{t}"] for t in range(25, 155, 25)]))
    assert values["recall"] == pytest.approx(200 / 3)
    assert values["mpjpe_mm"] == pytest.approx((10 + 120) / 2)


def test_ap__a_worse_detection_with_a_higher_score_takes_the_person():
    labels = people(0.0)
    found = people(0.040, 0.010, frames=[0, 0], score=[0.9, 0.8])
    values = PanopticAP().score(found, labels).values
    assert values["mpjpe_mm"] == pytest.approx(40)
    assert values["ap25"] == pytest.approx(100 / (1 + 1e-5) * 1 / (2 + 1e-5), rel=1e-12)  # below 25 mm it is not
    assert values["ap50"] == pytest.approx(100 / (1 + 1e-5) ** 2, rel=1e-12)


def test_ap__joints_that_the_label_misses_do_not_count():
    labels = people(0.0)
    labels.values["joints"][0, 3:] = np.nan
    found = people(0.010, score=[1.0])
    found.values["joints"][0, 5] += 3
    assert PanopticAP().score(found, labels).values["mpjpe_mm"] == pytest.approx(10)


def test_ap__nobody_near_has_no_error_and_says_so():
    scores = PanopticAP().score(people(0.9, score=[1.0]), people(0.0))
    assert "mpjpe_mm" not in scores.values
    assert scores.values["recall"] == 0
    assert scores.notes == ("nobody was found within 500 mm, so there is no mean error",)


def test_ap__a_label_without_joints_is_named():
    labels = people(0.0, 1.0)
    labels.values["joints"][1] = np.nan
    with pytest.raises(InputError, match=r"no joint is known in rows 1 \(pizza frame 1 person 0\)"):
        PanopticAP().score(people(0.0, 1.0, score=[1, 1]), labels)


def test_cmu__absolute_and_relative_errors_by_hand():
    labels, found = people(0.0, 2.0), people(0.030, 2.010)
    found.values["joints"][0, 4, 2] += 0.040  # with 30 mm along x: 50 mm, relative to the neck 40 mm
    scores = CmuPanoptic().score(found, labels)
    assert scores.values["mpjpe_mm"] == pytest.approx(((30 * 18 + 50) / 19 + 10) / 2)
    assert scores.values["mpjpe_relative_mm"] == pytest.approx(40 / 19 / 2)


def test_cmu__joints_that_the_label_misses_are_left_out_and_a_neck_is_needed():
    labels, found = people(0.0), people(0.030)
    found.values["joints"][0, 4] += 7
    labels.values["joints"][0, 4] = np.nan
    scores = CmuPanoptic().score(found, labels)
    assert scores.values["mpjpe_mm"] == pytest.approx(30)
    assert scores.counts["joints"] == 18
    labels.values["joints"][0, 0] = np.nan
    with pytest.raises(InputError, match="the neck is missing in rows 0"):
        CmuPanoptic().score(found, labels)

"""Errors over shared joints, of poses whose every number can be worked out by hand."""

import math

import numpy as np
import pytest

from marey.core import InputError
from marey.io.predictions import pose_rows
from marey.metrics.protocols import protocol

NAMES = ("pelvis", "neck", "head")
POSE = np.array([[0.0, 0, 0], [0, 0, 0.5], [0, 0, 0.7]])


def rows(*poses, names=NAMES, sequence=("a", "a", "b"), **values):
    count = len(poses)
    return pose_rows(np.stack(poses), joint_names=names, sequence=sequence[:count], frame=range(count), **values)


def moved(pose, *offsets):
    """A pose, all joints moved alike or each by its own, metres."""
    return pose + np.array(offsets)


def test_score__absolute_and_relative_by_name():
    labels = rows(POSE, POSE, POSE)
    # 10 and 20 mm off as a whole; and the head alone 30 mm off
    found = rows(moved(POSE, 0.01, 0, 0), moved(POSE, 0, 0.02, 0), moved(POSE, *2 * [[0, 0, 0]], [0, 0.03, 0]))
    turned = rows(*found.values["joints"][:, [2, 0, 1]], names=("head", "pelvis", "neck"))
    for predictions in (found, turned):
        scores = protocol("common-joints").score(predictions, labels)
        assert scores.values == pytest.approx(
            {"mpjpe_mm": (10 + 20 + 30 / 3) / 3, "mpjpe_relative_mm": (0 + 0 + 30 / 3) / 3}
        )
        assert scores.groups["mpjpe_mm/sequence"] == pytest.approx({"a": 15, "b": 10})


def test_score__joints_that_only_one_side_names_are_told():
    labels = rows(POSE)
    predictions = rows(POSE[[0, 2]] + 0.001 * np.array([3, 4, 0]), names=("pelvis", "head"))
    scores = protocol("common-joints").score(predictions, labels)
    assert scores.values == pytest.approx({"mpjpe_mm": 5.0, "mpjpe_relative_mm": 0.0})
    assert scores.notes == ("scored on 2 joints; not predicted: neck",)


def test_score__without_a_pelvis_it_is_the_middle_of_the_hips():
    names = ("left_hip", "right_hip", "head")
    truth = np.array([[0.1, 0, 0], [-0.1, 0, 0], [0, 0, 0.7]])
    wide = moved(truth, [0.05, 0, 0], [-0.05, 0, 0], [0, 0, 0])
    scores = protocol("common-joints").score(rows(wide, names=names), rows(truth, names=names))
    assert scores.values["mpjpe_relative_mm"] == pytest.approx(100 / 3)


def test_score__without_any_root_there_are_no_relative_errors():
    scores = protocol("common-joints").score(rows(POSE[2:], names=("head",)), rows(POSE))
    assert set(scores.values) == {"mpjpe_mm"}


def test_score__what_is_missing_is_counted_and_left_out():
    blind = np.full((3, 3), np.nan)
    scores = protocol("common-joints").score(
        rows(moved(POSE, 0.01, 0, 0), blind, blind),
        rows(POSE, POSE, np.where([[True], [False], [False]], POSE, np.nan)),
    )
    assert scores.values["mpjpe_mm"] == pytest.approx(10)
    assert scores.counts == {"rows": 3, "joints": 3, "labelled": 7, "missing": 4}
    assert math.isnan(scores.groups["mpjpe_mm/sequence"]["b"])
    assert "4 joints are missing (NaN), in rows 1, 2" in scores.notes[0]


def test_score__nothing_in_common():
    with pytest.raises(InputError, match="every row lacks all joints of the labels, pelvis, neck, head"):
        protocol("common-joints").score(rows(POSE[:1], names=("nose",)), rows(POSE))
    with pytest.raises(InputError, match="never known where labels are"):
        protocol("common-joints").score(rows(np.full((3, 3), np.nan)), rows(POSE))

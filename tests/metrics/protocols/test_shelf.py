"""Shelf and Campus on stick figures of which every part can be checked by hand."""

import numpy as np
import pytest
import torch

from marey.core import ShapeError
from marey.io.predictions import pose_rows
from marey.metrics.protocols.shelf import JOINTS, PartsOfActors, joints_from_coco

# Parts along z: legs and arms of two parts of 0.4 m, head 0.3 m, torso 0.5 m.
HEIGHTS = np.array([0.0, 0.4, 0.8, 0.8, 0.4, 0.0, 0.5, 0.9, 1.3, 1.3, 0.9, 0.5, 1.3, 1.6])
FIGURE = np.stack([np.zeros(14), np.zeros(14), HEIGHTS], -1)


def rows(*joints, frame, person=None):
    return pose_rows(np.array(joints), joint_names=JOINTS, sequence=["shelf"] * len(joints), frame=frame, person=person)


def moved(*pairs):
    """The figure with joints moved along x."""
    found = FIGURE.copy()
    for joint, offset in pairs:
        found[joint, 0] += offset
    return found


def test_pcp__one_wrist_costs_one_forearm():
    # The forearm is 0.4 m: its ends may be off by 0.2 m on average. 0.41 m at the wrist is too much, 0.39 m is not.
    labels = rows(FIGURE, FIGURE, frame=[0, 1], person=[1, 1])
    found = rows(moved((6, 0.41)), moved((6, 0.39)), frame=[0, 1])
    scores = PartsOfActors().score(found, labels)
    assert scores.values["pcp"] == pytest.approx(100 * 19 / 20)
    assert scores.groups["pcp/actor/part"]["actor 1/lower arms"] == pytest.approx(75)
    assert scores.groups["pcp/actor/part"]["actor 1/upper arms"] == 100
    assert scores.per_row["pcp"].tolist() == [90, 100]


def test_pcp__an_end_at_exactly_half_the_length_counts():
    labels = rows(FIGURE, frame=[0])
    quarter = FIGURE.copy()
    quarter[13] += (0.25, 0, 0)  # head of 0.3 m: (0 + 0.25) / 2 is below 0.15
    assert PartsOfActors().score(rows(quarter, frame=[0]), labels).values["pcp"] == 100
    quarter[13] += (0.06, 0, 0)
    assert PartsOfActors().score(rows(quarter, frame=[0]), labels).values["pcp"] == 90


def test_pcp__torso_goes_from_the_middle_of_the_hips():
    # Hips 0.4 m to either side keep their middle: the thighs are wrong, the torso is right.
    found = moved((2, 0.41), (3, -0.41))
    parts = PartsOfActors().score(rows(found, frame=[0]), rows(FIGURE, frame=[0], person=[1])).groups["pcp/actor/part"]
    assert parts["actor 1/upper legs"] == 0
    assert parts["actor 1/torso"] == 100


def test_pcp__the_fourth_actor_is_left_out_of_the_mean():
    apart = [moved(*((joint, place) for joint in range(14))) for place in (0, 5, 10, 15)]
    labels = rows(*apart, frame=[0] * 4, person=[1, 2, 3, 4])
    scores = PartsOfActors().score(rows(*apart[:2], frame=[0, 0]), labels)
    assert scores.groups["pcp/actor"] == {"actor 1": 100, "actor 2": 100, "actor 3": 0, "actor 4": 0}
    assert scores.values["pcp"] == pytest.approx(200 / 3)
    assert scores.values["recall"] == pytest.approx(50)


def test_pcp__a_frame_without_detections_costs_all_its_parts():
    labels = rows(FIGURE, FIGURE, frame=[0, 1])
    scores = PartsOfActors().score(rows(FIGURE, frame=[0]), labels)
    assert scores.values == {"pcp": 50, "recall": 50}


def test_pcp__one_detection_may_serve_two_actors():
    beside = moved(*((joint, 0.05) for joint in range(14)))
    labels = rows(FIGURE, beside, frame=[0, 0], person=[1, 2])
    assert PartsOfActors().score(rows(FIGURE, frame=[0]), labels).values["pcp"] == 100


def coco():
    joints = torch.zeros(17, 3, dtype=torch.float64)
    joints[0] = torch.tensor([0.2, 0.0, 1.6])  # nose
    joints[3], joints[4] = torch.tensor([0.0, 0.1, 1.7]), torch.tensor([0.0, -0.1, 1.7])  # ears
    joints[5], joints[6] = torch.tensor([0.0, 0.2, 1.3]), torch.tensor([0.0, -0.2, 1.3])  # shoulders
    joints[16] = torch.tensor([9.0, 9.0, 9.0])  # right ankle
    return joints


def test_joints_from_coco__campus_by_hand():
    found = joints_from_coco(coco(), "campus")
    assert found[0].tolist() == [9, 9, 9]
    assert found[12].tolist() == pytest.approx([0, 0, 1.5])
    assert found[13].tolist() == pytest.approx([0, 0, 1.9])


def test_joints_from_coco__shelf_by_hand():
    found = joints_from_coco(coco()[None], "shelf")[0]
    # shoulders (0, 0, 1.3); nose from there (0.2, 0, 0.3)
    assert found[12].tolist() == pytest.approx([0.75 * 0.1, 0, 0.75 * 1.45 + 0.25 * 1.5])
    assert found[13].tolist() == pytest.approx([0.75 * 0.15, 0, 0.75 * 1.75 + 0.25 * 1.9])


def test_joints_from_coco__other_joints_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., 17, 3\)"):
        joints_from_coco(torch.zeros(14, 3))

import pytest
import torch

from marey.core import ShapeError
from marey.metrics.protocols.association import SMPL, track_agreement

LIMBS = SMPL.indices(
    ["left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_hip", "right_hip", "left_knee", "right_knee"]
)


def person(x):
    """Everything in one place but the left hip, 100 pixels below the right shoulder."""
    found = torch.zeros(24, 2) + torch.tensor([x, 0.0])
    found[SMPL.index("left_hip"), 1] = 100
    return found


def test_agreement__falls_with_the_distance_in_trunks():
    predicted = torch.stack([person(0.0), person(25.0), person(500.0)])
    found = track_agreement(person(0.0)[LIMBS][None], torch.ones(1, 8), predicted)
    assert found[0].tolist() == pytest.approx([1, 0.75, 0])


def test_agreement__with_few_keypoints_the_last_pose_counts():
    predicted = torch.stack([person(0.0), person(500.0)])
    scores = torch.tensor([[1.0, 1, 1, 1, 0.1, 0, 0, 0]])
    given = person(0.0)[LIMBS][None]
    assert track_agreement(given, scores, predicted)[0].tolist() == [0, 0]
    previous = torch.stack([person(500.0)])
    assert track_agreement(given, scores, predicted, previous=previous)[0].tolist() == [0, 1]


def test_agreement__other_joints_are_refused():
    with pytest.raises(ShapeError, match=r"expected keypoints \(T, 8, 2\)"):
        track_agreement(torch.zeros(1, 17, 2), torch.zeros(1, 17), torch.zeros(1, 24, 2))

"""Lengths of bones over time."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError, Skeleton
from marey.metrics.bones import bone_length_error_mm, bone_lengths, bone_statistics, side_difference_mm

ARMS = Skeleton("arms", ("neck", "left_elbow", "right_elbow"), ((0, 1), (0, 2)))


def arms(left, right):
    joints = torch.zeros(len(left), 3, 3, dtype=torch.float64)
    joints[:, 1, 0], joints[:, 2, 0] = torch.tensor(left).double(), -torch.tensor(right).double()
    return joints


def test_bone_statistics__count_the_frames_that_know_both_ends():
    joints = arms([0.30, 0.32, 0.34], [0.3, 0.3, math.nan])
    found = bone_statistics(joints, ARMS)
    torch.testing.assert_close(found.mean, torch.tensor([0.32, 0.3], dtype=torch.float64))
    torch.testing.assert_close(found.deviation, torch.tensor([math.sqrt(2 / 3) * 0.02, 0.0], dtype=torch.float64))
    torch.testing.assert_close(found.variation, found.deviation / found.mean)
    assert found.known.tolist() == [3, 2]
    batched = bone_statistics(joints.expand(2, 1, 3, 3, 3), ARMS)
    assert batched.mean.shape == (2, 1, 2)


def test_bone_length_error__does_not_see_a_rigid_motion():
    joints = arms([0.3, 0.4], [0.3, 0.5])
    assert bone_length_error_mm(joints + 3.0, joints, ARMS) == pytest.approx(0.0, abs=1e-9)
    assert bone_length_error_mm(1.1 * joints, joints, ARMS) == pytest.approx(1000 * 0.1 * (0.3 + 0.4 + 0.3 + 0.5) / 4)
    torch.testing.assert_close(bone_lengths(joints, ARMS)[1], torch.tensor([0.4, 0.5], dtype=torch.float64))


def test_side_difference__compares_mean_lengths():
    assert side_difference_mm(arms([0.30, 0.32], [0.30, 0.36]), ARMS) == pytest.approx(20.0)


def test_bones__errors():
    joints = arms([0.3], [0.3])
    with pytest.raises(ShapeError, match="the 3 joints of skeleton arms"):
        bone_lengths(torch.zeros(2, 4, 3), ARMS)
    with pytest.raises(InputError, match=r"expected frames \(\.\.\., T, J, 3\)"):
        bone_statistics(joints[:0], ARMS)
    with pytest.raises(InputError, match="bone_length_error_mm: expected a known value"):
        bone_length_error_mm(joints * math.nan, joints, ARMS)
    with pytest.raises(InputError, match="side_difference_mm: expected a known value"):
        side_difference_mm(arms([0.3], [math.nan]), ARMS)
    with pytest.raises(InputError, match="left and a right side"):
        side_difference_mm(torch.zeros(1, 2, 3), Skeleton("spine", ("neck", "pelvis"), ((0, 1),)))

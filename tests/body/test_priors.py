import math

import pytest
import torch

from marey.body.chain import moved
from marey.body.priors import LIMIT_DEVIATION, habits_of, surprise, turn_and_swing
from marey.body.trees import body_tree
from marey.core import skeleton
from marey.geometry.rotations import rotvec_to_quaternion

BODY = body_tree(skeleton("mediapipe_33"))
HABITS = habits_of(BODY)
NAMES = [BODY.tree.joints[place] for place in BODY.moving]


def _quaternions(*batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*batch, len(NAMES), 4, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(values, dim=-1)


def test_bases__are_right_handed():
    torch.testing.assert_close(torch.linalg.det(HABITS.basis), torch.ones(len(NAMES), dtype=torch.float64))


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_coordinates__have_any_batch_shape(batch):
    coordinates, slopes = turn_and_swing(_quaternions(*batch), HABITS.basis)
    assert coordinates.shape == (*batch, len(NAMES), 3)
    assert slopes.shape == (*batch, len(NAMES), 3, 3)


def test_coordinates__change_as_their_derivative_says():
    rows = _quaternions(5)
    _, slopes = turn_and_swing(rows, HABITS.basis)
    parameters = torch.cat((torch.zeros(5, 3, dtype=torch.float64), rows.flatten(1)), -1)

    def after(step):
        turned = moved(parameters, step)[:, 3:].reshape(rows.shape)
        return turn_and_swing(turned, HABITS.basis)[0]

    for axis in range(3):
        step = torch.zeros(5, 3 + 3 * len(NAMES), dtype=torch.float64)
        step[:, 3 + axis :: 3] = 1e-6
        numeric = (after(step) - after(-step)) / 2e-6
        torch.testing.assert_close(slopes[..., axis], numeric, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("joint", "axis"),
    [
        ("left_knee", (1, 0, 0)),
        ("right_knee", (1, 0, 0)),
        ("left_elbow", (0, -1, 0)),
        ("right_elbow", (0, 1, 0)),
    ],
)
def test_flexion__of_hinges_is_their_turn_on_either_side(joint, axis):
    row = NAMES.index(joint)
    turn = rotvec_to_quaternion(1.2 * torch.tensor(axis, dtype=torch.float64))
    coordinates, _ = turn_and_swing(turn.expand(len(NAMES), 4), HABITS.basis)
    torch.testing.assert_close(coordinates[row], torch.tensor([1.2, 0, 0], dtype=torch.float64), atol=1e-12, rtol=0)


def test_surprise__grows_steeply_beyond_the_limits():
    coordinates = HABITS.mean.clone()
    row = NAMES.index("left_knee")
    coordinates[row, 0] = HABITS.limits[row, 0] - math.radians(LIMIT_DEVIATION)
    values, slopes = surprise(coordinates, HABITS, HABITS.mean, HABITS.deviation)
    usual = (coordinates - HABITS.mean)[row, 0] / HABITS.deviation[row, 0]
    torch.testing.assert_close(values[row, 0], usual - 1)
    assert slopes[row, 0] > 10 / HABITS.deviation[row, 0]
    assert not values[[place for place in range(len(NAMES)) if place != row]].any()

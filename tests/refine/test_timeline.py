import pytest
import torch

from marey.refine.timeline import gap_limits, interpolated, measured, neighbours
from refine.recordings import joints_of, seconds, waving


def _mask(pattern):
    return torch.tensor([character == "x" for character in pattern])[:, None]


def test_neighbours__are_the_nearest_present_frames():
    before, after = neighbours(_mask("..x..x."))
    assert before[:, 0].tolist() == [-1, -1, 2, 2, 2, 5, 5]
    assert after[:, 0].tolist() == [2, 2, 2, 5, 5, 5, 7]


@pytest.mark.parametrize(
    ("max_gap", "inside", "restart"),
    [(2.0, "xxxxxx...x", "x........x"), (3.0, "xxxxxxxxxx", "x........."), (0.0, "xx..xx...x", "x...x....x")],
)
def test_gap_limits__count_seconds_between_measurements(max_gap, inside, restart):
    limits = gap_limits(_mask("xx..xx...x"), seconds(10, fps=1.0), max_gap)
    assert torch.equal(limits.inside, _mask(inside))
    assert torch.equal(limits.restart, _mask(restart))


def test_interpolated__is_linear_in_time_and_constant_at_the_ends():
    times = torch.tensor([0.0, 1.0, 2.0, 4.0, 5.0]).double()
    values = torch.tensor([9.0, 1.0, 9.0, 4.0, 9.0])[:, None]
    found = interpolated(values, _mask(".x.x."), times)
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 1.0, 2.0, 4.0, 4.0]))


def test_measured__needs_position_and_covariance_of_its_own():
    joints = joints_of(waving(4))
    joints.positions[0, 0, 1, 2] = torch.nan
    joints.covariance[1, 0, 1] = 0.0
    joints.covariance[2, 0, 1, 0, 1] = torch.inf
    joints.filled[3, 0, 1] = True
    assert measured(joints)[:, 0, 1].tolist() == [False] * 4
    assert measured(joints)[:, 0, 0].all()

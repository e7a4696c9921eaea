"""Recorded motions played forwards and backwards from a random frame, turned to look ahead."""

import math

import torch

from marey.data.synthetic.clips import Clips, slerp
from marey.data.synthetic.random import Draws
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_quaternion

FRAMES, FPS = 5, 10.0


def _clips() -> Clips:
    """One person turns about y by 0.1 radians a frame; another stands with a left knee bent by 1 radian."""
    angles = torch.zeros(2 * FRAMES, 24, 3, dtype=torch.float64)
    angles[:FRAMES, 0, 1] = 0.5 + 0.1 * torch.arange(FRAMES)
    angles[FRAMES:, 4, 0] = 1.0
    return Clips(
        names=("turn", "kneel"),
        quaternions=rotvec_to_quaternion(angles),
        starts=torch.tensor([0, FRAMES]),
        lengths=torch.tensor([FRAMES, FRAMES]),
        fps=torch.tensor([FPS, FPS], dtype=torch.float64),
    )


def _played(times: list[float], index: int) -> torch.Tensor:
    draws = Draws(seed=0, split="training", indices=torch.full((len(times),), index))
    return matrix_to_rotvec(_clips().rotations(draws, torch.tensor(times, dtype=torch.float64)))


def test_rotations__begin_looking_ahead_and_go_back_and_forth():
    times = [k / 40 for k in range(65)]
    turns = [_played(times, index)[:, 0, 1] for index in range(40)]
    turning = [turn for turn in turns if turn.abs().max() > 0.01]
    assert 8 < len(turning) < 32
    for turn in turning:
        assert abs(float(turn[0])) < 1e-9
        assert math.isclose(float(turn.max() - turn.min()), 0.4, abs_tol=1e-6)
        assert torch.allclose(turn[32:], turn[:33], atol=1e-6)  # 2 x 4 frames of 0.1 s there and back
        assert (turn.diff().abs() < 0.026).all()


def test_rotations__other_joints_are_as_recorded():
    knees = torch.stack([_played([0.0, 0.33], index)[:, 4, 0] for index in range(40)])
    kneeling = knees[:, 0] > 0.5
    assert torch.allclose(knees[kneeling], torch.ones_like(knees[kneeling]))
    assert not knees[~kneeling].abs().gt(1e-9).any()


def test_slerp__is_the_shortest_way_at_even_speed():
    ends = rotvec_to_quaternion(torch.tensor([[0.0, 0, 0], [0.0, 0, 1.2]], dtype=torch.float64))
    for other in (ends[1], -ends[1]):
        middle = slerp(ends[0], other, torch.tensor(0.25, dtype=torch.float64))
        expected = rotvec_to_quaternion(torch.tensor([0.0, 0, 0.3], dtype=torch.float64))
        assert torch.allclose(middle * middle.sign()[3], expected * expected.sign()[3], atol=1e-9)
    assert torch.equal(slerp(ends[1], ends[1], torch.tensor(0.5)), ends[1])

import math

import pytest
import torch

from marey.body.ground import clearances, support
from marey.body.joint_limits import joint_limits
from marey.body.motion_sampling import SmoothMotions
from marey.body.pose_prior import PriorPoses
from marey.body.pose_sampling import LimitPoses
from marey.body.smpl_tree import average_joints, joints_of
from marey.core import InputError, ShapeError
from marey.geometry.rotations import geodesic_angle

LIMITS = joint_limits()
MOTIONS = SmoothMotions(poses=PriorPoses(), frames=70)


def numbers_for(motions, *batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*batch, motions.numbers, generator=generator, dtype=torch.float64)


def places_of(body, rest=None):
    rest = average_joints() if rest is None else rest
    places = joints_of(torch.cat((body.orientation[..., None, :, :], body.pose), -3), rest)
    return places + (body.translation + rest[0])[..., None, :]


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_motions__any_batch(batch):
    body = MOTIONS(numbers_for(MOTIONS, *batch))
    assert body.batch_shape == (*batch, 70)
    assert body.pose.shape == (*batch, 70, 23, 3, 3)
    assert body.shape.shape == (*batch, 70, 0)


def test_motions__every_frame_is_within_the_limits():
    for poses in (PriorPoses(), LimitPoses()):
        motions = SmoothMotions(poses=poses, frames=70)
        assert LIMITS.inside(motions(numbers_for(motions, 4)).pose, tolerance=1e-6).all()


def test_motions__are_smooth_and_move():
    body = MOTIONS(numbers_for(MOTIONS, 8))
    steps = geodesic_angle(body.pose[:, 1:], body.pose[:, :-1])
    assert steps.max() < math.radians(15)  # a frame of 1/30 s
    assert geodesic_angle(body.pose[:, 0], body.pose[:, -1]).amax(-1).min() > 0.3
    jerk = places_of(body).diff(n=2, dim=1).norm(dim=-1)
    assert jerk.max() < 0.05


def test_motions__are_the_same_at_any_frame_rate():
    slow = SmoothMotions(poses=PriorPoses(), frames=36, fps=15.0)
    fast = SmoothMotions(poses=PriorPoses(), frames=71, fps=30.0)
    assert slow.numbers == fast.numbers
    numbers = numbers_for(fast, 2)
    torch.testing.assert_close(slow(numbers).pose, fast(numbers).pose[:, ::2], atol=1e-9, rtol=0)
    torch.testing.assert_close(slow(numbers).orientation, fast(numbers).orientation[:, ::2], atol=1e-9, rtol=0)


def test_motions__stand_on_the_ground_and_do_not_slide():
    body = MOTIONS(numbers_for(MOTIONS, 5))
    places = places_of(body)
    assert clearances(places).amin(-1).abs().max() < 0.02
    height, share = support(places)
    assert height.abs().max() < 1e-9
    bears = (share[:, 1:] + share[:, :-1]) / 2
    slide = (bears[..., None] * places.diff(dim=1)).sum(-2)[..., [0, 2]]
    assert slide.abs().max() < 1e-9
    torch.testing.assert_close(
        body.translation[:, 0, [0, 2]], torch.zeros(5, 2, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_motions__of_another_person():
    rest = 0.6 * average_joints() + torch.tensor([0.0, 0.1, 0.0], dtype=torch.float64)
    body = MOTIONS(numbers_for(MOTIONS, 2), joints=rest)
    assert support(places_of(body, rest))[0].abs().max() < 1e-9


def test_motions__same_numbers_same_motion_in_any_batch():
    numbers = numbers_for(MOTIONS, 5)
    whole = MOTIONS(numbers)
    for place in range(5):
        alone = MOTIONS(numbers[place : place + 1])
        for name in ("orientation", "pose", "translation"):
            assert torch.equal(getattr(alone, name)[0], getattr(whole, name)[place])


def test_motions__head_anywhere():
    body = MOTIONS(numbers_for(MOTIONS, 200))
    ahead = body.orientation[:, 0, :, 2]
    assert ahead.mean(0)[[0, 2]].norm() < 0.2
    assert body.orientation[..., 1, 1].min() > 1 - 1e-9


def test_motions__bad_settings():
    with pytest.raises(InputError, match="frames: expected more than 0"):
        SmoothMotions(poses=PriorPoses(), frames=0)
    with pytest.raises(InputError, match="turn: expected radians"):
        SmoothMotions(poses=PriorPoses(), frames=5, turn=-1)
    with pytest.raises(ShapeError, match="numbers: expected"):
        MOTIONS(torch.zeros(3))
    with pytest.raises(ShapeError, match=r"joints: expected \(24, 3\)"):
        MOTIONS(numbers_for(MOTIONS), joints=torch.zeros(22, 3))

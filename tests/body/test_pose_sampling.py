import math

import pytest
import torch

from marey.body.joint_limits import joint_limits
from marey.body.pose_sampling import LimitPoses, sample_poses
from marey.body.self_contact import depth_of_contact
from marey.body.smpl_tree import POSED_JOINTS, average_joints, joints_of
from marey.core import InputError, ShapeError
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix

LIMITS = joint_limits()


def error_of_the_mean_pose(poses, yaw, seed=0):
    """Millimetres: mean distance from the mean pose of all, the pelvis at one place."""
    generator = torch.Generator().manual_seed(seed)
    angle = yaw * (2 * torch.rand(len(poses), generator=generator, dtype=torch.float64) - 1)
    root = rotvec_to_matrix(torch.stack((0 * angle, angle, 0 * angle), -1))
    joints = joints_of(torch.cat((root[:, None], poses), 1), average_joints())
    return 1000 * (joints - joints.mean(0)).norm(dim=-1).mean().item()


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
def test_limit_poses__lie_within_the_limits(fraction):
    poses = sample_poses(LimitPoses(fraction=fraction), 300, seed=1)
    assert LIMITS.inside(poses).all()
    sampler = LimitPoses(fraction=fraction, tries=1)
    single = sampler(torch.rand(300, sampler.numbers, generator=torch.Generator().manual_seed(1)))
    assert single.dtype == torch.float32
    assert LIMITS.inside(single).all()


def test_limit_poses__of_no_range_stand():
    poses = sample_poses(LimitPoses(fraction=0.0), 3, seed=1)
    torch.testing.assert_close(poses, LIMITS.pose(LIMITS.standing).expand(3, -1, -1, -1), atol=1e-12, rtol=0)


def test_limit_poses__use_the_whole_range_of_every_coordinate():
    coordinates = LIMITS.coordinates(sample_poses(LimitPoses(tries=1), 3000, seed=2))
    reach = (coordinates.amax(0) - coordinates.amin(0)) / (LIMITS.high - LIMITS.low)
    assert reach.min() > 0.8
    assert reach.max() < 1 + 1e-9


def test_limit_poses__half_range_is_half_as_far_from_standing():
    numbers = torch.rand(
        50, LimitPoses(tries=1).numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    whole = LIMITS.coordinates(LimitPoses(tries=1)(numbers)) - LIMITS.standing
    half = LIMITS.coordinates(LimitPoses(tries=1, fraction=0.5)(numbers)) - LIMITS.standing
    torch.testing.assert_close(half, whole / 2, atol=1e-9, rtol=0)


def test_limit_poses__spine_bends_as_one():
    coordinates = LIMITS.coordinates(sample_poses(LimitPoses(), 2000, seed=3))
    bend = coordinates[:, [POSED_JOINTS.index(name) for name in ("spine1", "spine2", "spine3")], 2]
    assert torch.corrcoef(bend.T).min() > 0.7
    legs = coordinates[:, [POSED_JOINTS.index(name) for name in ("left_knee", "right_knee")], 0]
    assert torch.corrcoef(legs.T)[0, 1].abs() < 0.15


def test_limit_poses__same_numbers_same_pose_in_any_batch():
    sampler = LimitPoses()
    numbers = torch.rand(37, sampler.numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    whole = sampler(numbers)
    for split in (1, 5, 16):
        assert torch.equal(torch.cat([sampler(part) for part in numbers.split(split)]), whole)
    assert torch.equal(sampler(numbers.reshape(37, 1, -1))[:, 0], whole)


def test_sample_poses__a_function_of_the_seed():
    sampler = LimitPoses(tries=2)
    first = sample_poses(sampler, 8, seed=7)
    assert torch.equal(sample_poses(sampler, 5, seed=7), first[:5])
    assert geodesic_angle(sample_poses(sampler, 8, seed=8), first).max() > 0.5
    assert sample_poses(sampler, 0, seed=7).shape == (0, 23, 3, 3)


def test_limit_poses__limbs_stay_out_of_the_body():
    once, often = (sample_poses(LimitPoses(tries=tries), 800, seed=4) for tries in (1, 6))
    share = [(depth_of_contact(poses) > 0.0151).double().mean().item() for poses in (once, often)]
    assert share[0] > 0.2
    assert share[1] < 0.02


def test_mean_pose__is_no_answer():
    # the bars of the easy and the hard synthetic captures
    assert error_of_the_mean_pose(sample_poses(LimitPoses(fraction=0.5), 2000, seed=1), math.radians(60)) >= 200
    assert error_of_the_mean_pose(sample_poses(LimitPoses(), 2000, seed=1), math.pi) >= 300


def test_limit_poses__refuse_bad_settings_and_numbers():
    with pytest.raises(InputError, match=r"fraction: expected a share of the joint range in 0\.\.1, got 1\.5"):
        LimitPoses(fraction=1.5)
    with pytest.raises(InputError, match="tries: expected 1 or more"):
        LimitPoses(tries=0)
    with pytest.raises(ShapeError, match=r"numbers: expected \(..., 75\) floating"):
        LimitPoses(tries=1)(torch.zeros(3, 74))
    with pytest.raises(InputError, match="count: expected 0 or more"):
        sample_poses(LimitPoses(), -1, seed=0)

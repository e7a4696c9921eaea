"""Samples are a function of seed, split and index, and hold what is true."""

import pytest
import torch

from marey.data.synthetic.random import Draws
from marey.geometry.rotations import rotvec_to_matrix
from marey.methods.lifting.motions import MixedPoses, SampledMotions
from marey.methods.lifting.samples import SampleMaker, Scene
from marey.nn.lifter import HIPS, JOINTS

MAKE = SampleMaker(MixedPoses())


def draws(*indices, split="lifting/train", seed=0):
    return Draws(seed=seed, split=split, indices=torch.tensor(indices))


def test_samples__the_same_again_and_in_any_company():
    every = MAKE(draws(*range(40)))
    some = MAKE(draws(3, 17))
    for name, part, whole in zip(some._fields[1:], some[1:], every[1:], strict=True):
        torch.testing.assert_close(part, whole[[3, 17]], rtol=0, atol=1e-5, msg=name)
    for name, part, whole in zip(some.view._fields, some.view, every.view, strict=True):
        torch.testing.assert_close(part, whole[[3, 17]], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("other", [{"split": "lifting/benchmark"}, {"split": "lifting/validation"}, {"seed": 1}])
def test_samples__splits_and_seeds_share_nothing(other):
    first, second = MAKE(draws(*range(200))), MAKE(draws(*range(200), **other))
    apart = (first.joints[:, None] - second.joints).flatten(2).norm(dim=-1)
    within = (first.joints[:, None] - first.joints).flatten(2).norm(dim=-1).fill_diagonal_(torch.inf)
    assert apart.min() > 0.5 * within.min()  # no pose is met again
    assert not (first.shape[:, None] == second.shape).all(-1).any()


def test_samples__the_origin_is_between_the_hips():
    joints = MAKE(draws(*range(50))).joints
    torch.testing.assert_close(joints[:, list(HIPS)].mean(1), torch.zeros(50, 3), rtol=0, atol=1e-6)


def test_samples__are_people():
    samples = MAKE(draws(*range(500)))
    joints = samples.joints
    knee, ankle = JOINTS.index("left_knee"), JOINTS.index("left_ankle")
    shank = (joints[:, knee] - joints[:, ankle]).norm(dim=-1)
    assert 0.25 < float(shank.min()) < float(shank.max()) < 0.55
    assert samples.view.known.double().mean() > 0.95
    head_up = joints[:, JOINTS.index("head_top"), 1] < 0  # y points down
    assert head_up.double().mean() > 0.85


def test_samples__seen_joints_are_where_the_truth_projects():
    quiet = Scene(skeletons={"coco_17": 1.0})
    samples = SampleMaker(MixedPoses(), quiet)(draws(*range(300)))
    view, joints = samples.view, samples.joints
    clear = (view.score > 0.8) & view.known[:, None]
    # from far away the image is the joints' x and y, up to a scale and a shift
    flat, seen = (centred(values, clear)[clear].flatten() for values in (joints[..., :2], view.points))
    assert torch.corrcoef(torch.stack((flat, seen)))[0, 1] > 0.9


def centred(values, counted):
    """Values (M, J, 2) from the mean of those that count."""
    share = counted / counted.sum(1, keepdim=True).clamp_min(1)
    return values - (share[..., None] * values).sum(1, keepdim=True)


def test_samples__the_heading_is_where_the_body_looks():
    level = Scene(steep=0.0, roll=0.0, aside=(0.0, 0.0), height=(0.94, 0.96))
    samples = SampleMaker(SampledMotions(), level)(draws(*range(100)))
    zero = torch.zeros_like(samples.heading)
    ahead = samples.joints @ rotvec_to_matrix(torch.stack((zero, samples.heading, zero), -1))
    across = ahead[:, HIPS[0], 0] - ahead[:, HIPS[1], 0]
    assert (across < -0.1).double().mean() > 0.98  # y points down: who looks along z has the left hip at -x


def test_samples__frames_of_a_clip_are_one_person_and_one_camera():
    samples = SampleMaker(SampledMotions())(draws(1, 2, 3), 6)
    assert samples.joints.shape == (18, 50, 3)
    clips = samples.shape.reshape(3, 6, -1)
    assert (clips == clips[:, :1]).all()
    moved = samples.joints.reshape(3, 6, 50, 3).diff(dim=1).norm(dim=-1)
    assert 0 < float(moved.mean()) < 0.2

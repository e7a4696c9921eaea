import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from marey.body.joint_limits import joint_limits
from marey.body.pose_prior import PosePrior, PriorPoses, mirrored_coordinates, pose_prior
from marey.body.pose_sampling import LimitPoses, sample_poses
from marey.body.self_contact import depth_of_contact
from marey.body.smpl_tree import mirrored_pose
from marey.core import FormatError, InputError, ShapeError
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix

LIMITS = joint_limits()


def test_mirrored_coordinates__are_those_of_the_mirrored_pose():
    poses = sample_poses(LimitPoses(tries=1), 40, seed=0)
    expected = LIMITS.coordinates(mirrored_pose(poses)).flatten(1)
    torch.testing.assert_close(mirrored_coordinates(LIMITS.coordinates(poses).flatten(1)), expected, atol=1e-9, rtol=0)


def test_log_density__is_that_of_the_mixture():
    prior = pose_prior()
    poses = sample_poses(PriorPoses(), 6, seed=1)
    values = LIMITS.coordinates(poses).flatten(1)
    total = np.zeros(len(poses))
    for weight, mean, factor in zip(prior.weights, prior.means, prior.factors, strict=True):
        gaussian = multivariate_normal(mean.numpy(), (factor @ factor.T).numpy())
        for seen in (values, mirrored_coordinates(values)):
            total += weight.item() / 2 * np.exp(gaussian.logpdf(seen.numpy()))
    np.testing.assert_allclose(prior.log_density(poses), np.log(total), rtol=1e-9)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_negative_log_likelihood__any_batch_and_mirror_image(batch):
    poses = sample_poses(LimitPoses(tries=1), math.prod(batch), seed=2).reshape(*batch, 23, 3, 3)
    found = pose_prior().negative_log_likelihood(poses)
    assert found.shape == batch
    torch.testing.assert_close(pose_prior().negative_log_likelihood(mirrored_pose(poses)), found, rtol=1e-9, atol=1e-9)


def test_negative_log_likelihood__tells_people_from_anything():
    likely = pose_prior().negative_log_likelihood(sample_poses(PriorPoses(), 200, seed=3))
    anything = pose_prior().negative_log_likelihood(sample_poses(LimitPoses(), 200, seed=3))
    assert likely.quantile(0.95) < anything.quantile(0.05)
    standing = LIMITS.pose(LIMITS.standing)
    backwards = matrix_to_rotvec(standing)
    backwards[3] = torch.tensor([-1.2, 0.0, 0.0])  # a knee bent the wrong way
    assert pose_prior().log_density(standing) > pose_prior().log_density(rotvec_to_matrix(backwards)) + 2


def test_negative_log_likelihood__gradient():
    vectors = matrix_to_rotvec(sample_poses(PriorPoses(), 2, seed=4)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v: pose_prior().negative_log_likelihood(rotvec_to_matrix(v)), (vectors,), atol=1e-4
    )


def test_prior_poses__lie_within_the_limits_without_self_contact():
    poses = sample_poses(PriorPoses(), 300, seed=5)
    assert LIMITS.inside(poses).all()
    assert (depth_of_contact(poses) > 0.0151).double().mean() < 0.02


def test_prior_poses__have_the_moments_of_the_mixture():
    prior = pose_prior()
    numbers = torch.rand(4000, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    values = PriorPoses(tries=1).coordinates(numbers).flatten(1)
    means = torch.cat((prior.means, mirrored_coordinates(prior.means)))
    mean = (prior.weights.repeat(2)[:, None] / 2 * means).sum(0)
    spread = values.std(0)
    assert ((values.mean(0) - mean).abs() < 0.25 * spread + 0.02).all()  # brought into the limits: not exactly
    knee = 3 * 3  # the turn of the left knee
    assert values[:, knee].mean() > 0.3


def test_prior_poses__no_spread_gives_means_and_their_mirror_images():
    numbers = torch.rand(64, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    values = PriorPoses(tries=1, spread=0).coordinates(numbers).flatten(1)
    prior = pose_prior()
    known = torch.cat((prior.means, mirrored_coordinates(prior.means)))
    assert torch.cdist(values, known).amin(1).max() < 1e-6


def test_prior_poses__same_numbers_same_pose_in_any_batch():
    sampler = PriorPoses()
    numbers = torch.rand(19, sampler.numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    whole = sampler(numbers)
    for split in (1, 4, 7):
        assert torch.equal(torch.cat([sampler(part) for part in numbers.split(split)]), whole)


def test_prior_poses__bad_settings_and_numbers():
    with pytest.raises(InputError, match="spread: expected 0 or more, got -1"):
        PriorPoses(spread=-1)
    with pytest.raises(InputError, match="tries: expected 1 or more"):
        PriorPoses(tries=0)
    with pytest.raises(ShapeError, match=r"numbers: expected \(..., 70\)"):
        PriorPoses(tries=1)(torch.zeros(69))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": torch.zeros(1, 68)}, "'means' is"),
        ({"factors": torch.full((1, 69, 69), torch.nan)}, "'factors' is .* all finite"),
        ({"weights": torch.zeros(1)}, "have to be above 0"),
    ],
)
def test_prior__refuses_damaged_arrays(change, message):
    arrays = {"weights": torch.ones(1), "means": torch.zeros(1, 69), "factors": torch.eye(69)[None]} | change
    with pytest.raises(FormatError, match=message):
        PosePrior(**arrays)

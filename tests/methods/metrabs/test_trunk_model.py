"""Metric volumes on the trunk, before anything is learned."""

import math

import pytest
import torch

from marey.core import ShapeError
from marey.methods.metrabs.trunk_model import MetricHead, MetricHeadConfig, TrunkMetrabs
from marey.nn.image_lifter import ImageJoints, ImageLifter
from marey.nn.lifter import LiftedJoints
from marey.nn.trunk import Trunk, TrunkConfig, TrunkMaps

SIDE, CELLS, KEYPOINTS = 128, 32, 26


def guess(count, *, deviation=0.12):
    """A lifter's joints, in the axes of the crop's camera."""
    generator = torch.Generator().manual_seed(2)
    positions = (torch.rand(count, KEYPOINTS, 3, generator=generator) - 0.5) * torch.tensor([0.8, 1.7, 0.6])
    factor = (deviation * torch.eye(3)).expand(count, KEYPOINTS, 3, 3)
    return ImageJoints(
        lifted=LiftedJoints(positions, factor),
        rotation=torch.eye(3).expand(count, 3, 3),
        known=torch.ones(count, dtype=torch.bool),
    )


def empty_maps(count):
    return TrunkMaps(
        features=torch.zeros(count, 64, CELLS, CELLS),
        heatmaps=torch.zeros(count, KEYPOINTS, CELLS, CELLS),
        factors=torch.zeros(count, 3 * KEYPOINTS, CELLS, CELLS),
        seen=torch.zeros(count, KEYPOINTS, CELLS, CELLS),
        parts=torch.zeros(count, 25, CELLS, CELLS),
        centers=torch.zeros(count, CELLS, CELLS),
        boxes=torch.zeros(count, 4, CELLS, CELLS),
    )


def test_metric_head__begins_as_the_guess():
    head, lifted = MetricHead().eval(), guess(3)
    even = torch.full((3, KEYPOINTS, CELLS, CELLS), 1 / CELLS**2)
    with torch.no_grad():
        joints, covariance, _ = head(empty_maps(3), even, lifted)
    rooted = joints - joints.mean(1, keepdim=True)
    expected = lifted.positions - lifted.positions.mean(1, keepdim=True)
    assert (rooted - expected).norm(dim=-1).max() < 0.05
    deviation = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    expected_deviation = math.hypot(0.12, head.config.blur)
    assert (deviation.median() - expected_deviation).abs() < 0.1 * expected_deviation


def test_metric_head__wider_ellipsoids_where_the_spread_says():
    head, lifted = MetricHead().eval(), guess(1)
    even = torch.full((1, KEYPOINTS, CELLS, CELLS), 1 / CELLS**2)
    with torch.no_grad():
        before = head(empty_maps(1), even, lifted)
        head.spread[4] = math.log(3.0)
        after = head(empty_maps(1), even, lifted)
    ratio = (after[1] / before[1]).diagonal(dim1=-2, dim2=-1)[0]
    torch.testing.assert_close(ratio[4], torch.full((3,), 9.0))
    torch.testing.assert_close(ratio[5], torch.ones(3))
    torch.testing.assert_close(after[0], before[0])


def test_metric_head__factors_grow_with_the_deviation():
    head = MetricHead().eval()
    even = torch.full((1, KEYPOINTS, CELLS, CELLS), 1 / CELLS**2)
    with torch.no_grad():
        head.growth[:] = 0.5
        narrow, wide = (head(empty_maps(1), even, guess(1, deviation=size)) for size in (0.1, 0.3))
        head.growth[:] = 0.0
        plain = [head(empty_maps(1), even, guess(1, deviation=size)) for size in (0.1, 0.3)]
    for told, before in ((narrow, plain[0]), (wide, plain[1])):
        size = before.covariance.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
        torch.testing.assert_close(told.spread, 0.5 * (size / 0.1).log())
        torch.testing.assert_close(told.covariance, before.covariance * (size / 0.1)[..., None, None])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    trunk = Trunk(TrunkConfig(widths=(16, 16, 16, 16), units=(1, 1, 1, 1)))
    return TrunkMetrabs(trunk, ImageLifter(), MetricHead(MetricHeadConfig(width=16, blocks=1))).eval()


def test_network__people_of_a_batch_do_not_know_of_each_other(network):
    images = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    intrinsics = torch.tensor([[140.0, 0.0, 63.5], [0.0, 140.0, 63.5], [0.0, 0.0, 1.0]]).repeat(3, 1, 1)
    with torch.no_grad():
        together, alone = network(images, intrinsics), network(images[1:2], intrinsics[1:2])
    assert together.joints.shape == (3, KEYPOINTS, 3)
    assert together.covariance.shape == (3, KEYPOINTS, 3, 3)
    torch.testing.assert_close(together.relative[1], alone.relative[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(together.joints[1], alone.joints[0], atol=1e-3, rtol=1e-3, equal_nan=True)


def test_network__no_people(network):
    found = network(torch.zeros(0, 3, SIDE, SIDE), torch.zeros(0, 3, 3))
    assert found.joints.shape == (0, KEYPOINTS, 3)
    assert found.keypoints.shape == (0, KEYPOINTS, 2)


def test_network__says_what_it_takes(network):
    with pytest.raises(ShapeError, match=r"\(N, 3, 128, 128\) and intrinsics \(N, 3, 3\), got \(1, 3, 64, 64\)"):
        network(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 3))

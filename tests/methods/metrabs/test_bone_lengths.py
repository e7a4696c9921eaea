"""Depth from bone lengths: exactness, scale, bones out of view, derivative and covariance."""

import pytest
import torch
from torch.autograd.functional import jacobian

from marey.core import InputError, ShapeError
from marey.methods.metrabs.bone_lengths import (
    depth_from_bone_lengths,
    joints_at_depth,
    joints_covariance,
    mean_bone_lengths,
)
from marey.methods.metrabs.heatmaps import Places
from marey.methods.metrabs.quirks import Quirks

BONES = [(0, 1), (1, 2), (2, 3), (1, 4), (4, 5), (0, 6), (6, 7)]
BODY = [
    [0.0, 0.0, 0.0],
    [0.0, -0.5, 0.1],
    [0.2, -0.5, 0.2],
    [0.4, -0.4, -0.1],
    [-0.2, -0.5, 0.0],
    [-0.4, -0.3, 0.2],
    [0.1, 0.4, -0.2],
    [0.1, 0.8, 0.1],
]


def people(distances, *, noise=0.0):
    """Points, depths from the root, bone lengths and distances of people a little beside the optical axis."""
    generator = torch.Generator().manual_seed(0)
    body = torch.tensor(BODY, dtype=torch.float64)
    distances = torch.tensor(distances, dtype=torch.float64)
    joints = body + torch.stack((0.3 + 0 * distances, 0.1 * distances, distances), -1)[:, None]
    points = joints[..., :2] / joints[..., 2:]
    points = points + noise * torch.randn(points.shape, generator=generator, dtype=torch.float64)
    first, second = torch.tensor(BONES).unbind(1)
    return points, body[:, 2].expand(len(distances), -1), (body[first] - body[second]).norm(dim=-1), distances


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_depth__is_exact(dtype):
    points, depths, lengths, distances = people([0.9, 2.0, 5.0, 30.0])
    found = depth_from_bone_lengths(points.to(dtype), depths.to(dtype), lengths.to(dtype), bones=BONES)
    torch.testing.assert_close(found, distances.to(dtype), rtol=1e-9 if dtype == torch.float64 else 1e-4, atol=0)


def test_depth__of_a_larger_body_is_larger():
    points, depths, lengths, _ = people([2.0, 5.0], noise=0.01)
    here = depth_from_bone_lengths(points, depths, lengths, bones=BONES)
    there = depth_from_bone_lengths(points, 3 * depths, 3 * lengths, bones=BONES)
    torch.testing.assert_close(there, 3 * here)


def test_depth__others_in_the_batch_do_not_matter():
    points, depths, lengths, _ = people([0.9, 2.0, 30.0], noise=0.01)
    together = depth_from_bone_lengths(points, depths, lengths, bones=BONES)
    for person in range(3):
        one = slice(person, person + 1)
        alone = depth_from_bone_lengths(points[one], depths[one], lengths, bones=BONES)
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-12)


def test_depth__no_other_fits_better():
    points, depths, lengths, _ = people([1.5, 4.0], noise=0.02)
    found = depth_from_bone_lengths(points, depths, lengths, bones=BONES)
    first, second = torch.tensor(BONES).unbind(1)

    def cost(depth):
        joints = joints_at_depth(points, depths, depth)
        return ((joints[:, first] - joints[:, second]).norm(dim=-1) - lengths).square().sum(1)

    for step in (-0.01, -1e-4, 1e-4, 0.01):
        assert (cost(found + step) > cost(found)).all()


def test_bones_out_of_view__do_not_count():
    points, depths, lengths, distances = people([2.0, 5.0])
    points = points.clone()
    points[:, 5:] = points[:, :1] + 0.02
    reliable = torch.arange(8).expand(2, -1) < 5
    found = depth_from_bone_lengths(points, depths, lengths, bones=BONES, reliable=reliable)
    torch.testing.assert_close(found, distances, rtol=2e-3, atol=0)
    published = depth_from_bone_lengths(
        points, depths, lengths, bones=BONES, reliable=reliable, quirks=Quirks(unseen_bones_count=True)
    )
    assert ((published - distances).abs() > 0.1 * distances).all()


def test_lengths_that_are_missing__do_not_count():
    points, depths, lengths, distances = people([2.0, 5.0])
    lengths = lengths.repeat(2, 1)
    lengths[0, 2] = torch.nan
    lengths[1, :] = torch.nan
    points.requires_grad_()
    found = depth_from_bone_lengths(points, depths, lengths, bones=BONES)
    torch.testing.assert_close(found[0], distances[0], rtol=1e-9, atol=0)
    assert found[1] == 2.0
    found.sum().backward()
    assert points.grad.isfinite().all()


def test_points_that_coincide__have_a_finite_depth_and_derivative():
    points, depths = torch.zeros(1, 8, 2, requires_grad=True), torch.zeros(1, 8, requires_grad=True)
    found = depth_from_bone_lengths(points, depths, torch.ones(len(BONES)), bones=BONES)
    assert found.isfinite().all()
    found.sum().backward()
    assert points.grad.isfinite().all()
    assert depths.grad.isfinite().all()


def test_derivative__is_that_of_the_solution():
    points, depths, lengths, _ = people([1.5, 4.0], noise=0.02)
    reliable = torch.arange(8).expand(2, -1) != 3

    def depth(points, depths, lengths):
        return depth_from_bone_lengths(points, depths, lengths, bones=BONES, reliable=reliable)

    parts = tuple(part.clone().requires_grad_() for part in (points, depths, lengths))
    assert torch.autograd.gradcheck(depth, parts, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("given", [False, True])
def test_covariance__is_what_the_derivatives_carry(given):
    points, depths, lengths, distances = people([2.0], noise=0.02)
    root = 0.03 * torch.randn(1, 8, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    places = Places(torch.cat((points, depths[..., None]), -1), root @ root.mT)

    def joints(at):
        depth = distances
        if not given:
            depth = depth_from_bone_lengths(at[None, :, :2], at[None, :, 2], lengths, bones=BONES)
        return joints_at_depth(at[None, :, :2], at[None, :, 2], depth)[0]

    by_place = jacobian(joints, places.positions[0])
    expected = torch.einsum("jakp,kpq,jbkq->jab", by_place, places.covariance[0], by_place)
    depth = distances if given else depth_from_bone_lengths(points, depths, lengths, bones=BONES)
    found = joints_covariance(places, depth, lengths=None if given else lengths, bones=BONES)
    torch.testing.assert_close(found[0], expected, rtol=1e-6, atol=1e-10)


def test_mean_bone_lengths__leaves_out_what_is_missing():
    joints = torch.tensor([[[0.0, 0, 0], [0, 3, 4]], [[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, torch.nan, 0]]])
    torch.testing.assert_close(mean_bone_lengths(joints, [(0, 1)]), torch.tensor([3.0]))


def test_depth__shapes_and_bones_that_do_not_fit():
    points, depths, lengths, _ = people([2.0])
    with pytest.raises(ShapeError, match="one for each of 7 bones"):
        depth_from_bone_lengths(points, depths, lengths[:3], bones=BONES)
    with pytest.raises(ShapeError, match=r"depths and reliable \(B, J\)"):
        depth_from_bone_lengths(points, depths[:, :3], lengths, bones=BONES)
    with pytest.raises(InputError, match=r"indices 0\.\.7"):
        depth_from_bone_lengths(points, depths, lengths[:1], bones=[(0, 8)])
    with pytest.raises(InputError, match="expected pairs"):
        depth_from_bone_lengths(points, depths, lengths[:0], bones=[])

"""Metric joints placed where their keypoints are: exactness, invariance, what is not reliable, covariance."""

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from marey.core import InputError, ShapeError
from marey.methods.metrabs.heatmaps import Places
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.reconstruction import (
    Placing,
    combined,
    normalised_keypoints,
    reconstruct_absolute,
    reconstruct_with_covariance,
)

JOINTS = 9


def people(distances, *, dtype=torch.float64):
    """Relative joints, place, keypoints and intrinsics of people so many metres away, filling crops of 256 pixels."""
    generator = torch.Generator().manual_seed(0)
    relative = torch.rand(len(distances), JOINTS, 3, generator=generator, dtype=torch.float64)
    relative = relative * torch.tensor([0.8, 1.7, 0.6]) + 0.3
    place = torch.tensor([[-0.7, -1.1, distance - 0.6] for distance in distances], dtype=torch.float64)
    intrinsics = torch.tensor([[[110.0 * d, 0, 128], [0, 115 * d, 120], [0, 0, 1]] for d in distances]).double()
    joints = relative + place[:, None]
    seen = joints @ intrinsics.mT
    return tuple(part.to(dtype) for part in (relative, joints, seen[..., :2] / seen[..., 2:], intrinsics))


def everything(keypoints):
    return torch.ones(keypoints.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_full_perspective__is_exact(mix):
    relative, joints, keypoints, intrinsics = people([1.5, 3.0, 12.0, 40.0])
    placing = Placing(mix=mix, regulariser=0)
    found = reconstruct_absolute(keypoints, relative, intrinsics, reliable=everything(keypoints), placing=placing)
    torch.testing.assert_close(found, joints, rtol=1e-9, atol=1e-9)


def test_regulariser__shortens_distances_by_less_than_a_thousandth():
    relative, joints, keypoints, intrinsics = people([1.5, 3.0, 12.0, 40.0])
    found = reconstruct_absolute(keypoints, relative, intrinsics, reliable=everything(keypoints))
    ratio = found[..., 2] / joints[..., 2]
    assert ((ratio > 0.9999) & (ratio <= 1)).all()


def test_weak_perspective__is_near_for_people_far_away():
    relative, joints, keypoints, intrinsics = people([2.0, 50.0])
    found = reconstruct_absolute(
        keypoints, relative, intrinsics, reliable=everything(keypoints), placing=Placing(perspective="weak")
    )
    error = (found - joints).norm(dim=-1).mean(-1) / joints.norm(dim=-1).mean(-1)
    assert error[1] < 0.005 < error[0] < 0.2


@pytest.mark.parametrize("perspective", ["full", "weak"])
def test_place__others_in_the_batch_do_not_matter(perspective):
    relative, _, keypoints, intrinsics = people([1.5, 3.0, 12.0])
    reliable = everything(keypoints)
    placing = Placing(perspective=perspective)
    together = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=placing)
    for person in range(3):
        one = slice(person, person + 1)
        alone = reconstruct_absolute(
            keypoints[one], relative[one], intrinsics[one], reliable=reliable[one], placing=placing
        )
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-12)


def test_place__others_in_the_batch_matter_by_quirk():
    relative, _, keypoints, intrinsics = people([1.5, 3.0, 12.0])
    reliable, placing = everything(keypoints), Placing(quirks=Quirks(batch_regulariser=1e-2))
    together = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=placing)
    alone = reconstruct_absolute(keypoints[:1], relative[:1], intrinsics[:1], reliable=reliable[:1], placing=placing)
    assert (together[:1] - alone).norm(dim=-1).max() > 1e-4


def test_place__origin_of_the_metric_joints_does_not_matter():
    relative, _, keypoints, intrinsics = people([1.5, 3.0])
    reliable = everything(keypoints)
    here = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=Placing(regulariser=0))
    there = reconstruct_absolute(
        keypoints, relative + torch.tensor([5.0, -3.0, 2.0]), intrinsics, reliable=reliable,
        placing=Placing(regulariser=0),
    )  # fmt: skip
    torch.testing.assert_close(here, there, rtol=0, atol=1e-9)


def test_place__resolution_of_the_crop_does_not_matter():
    relative, _, keypoints, intrinsics = people([1.5, 3.0])
    reliable, finer = everything(keypoints), torch.diag(torch.tensor([2.0, 2.0, 1.0])).double()
    coarse = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=Placing(regulariser=0.1))
    fine = reconstruct_absolute(
        2 * keypoints, relative, finer @ intrinsics, reliable=reliable, placing=Placing(regulariser=0.2)
    )
    torch.testing.assert_close(coarse, fine, rtol=0, atol=1e-9)


@pytest.mark.parametrize("distance", [1.5, 5.0, 20.0])
def test_place__in_single_precision(distance):
    relative, _, keypoints, intrinsics = people([distance])
    reliable = everything(keypoints)
    double = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable)
    single = reconstruct_absolute(keypoints.float(), relative.float(), intrinsics.float(), reliable=reliable)
    assert single.dtype == torch.float32
    assert (single - double).norm(dim=-1).max() < 2e-5 * distance


def test_unreliable_keypoints__do_not_move_the_place():
    relative, joints, keypoints, intrinsics = people([3.0])
    keypoints = keypoints.clone()
    keypoints[:, :4] = torch.tensor([240.0, 16.0])
    reliable = everything(keypoints)
    reliable[:, :4] = False
    found = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable)
    assert (found - joints).norm(dim=-1).max() < 0.005
    trusted = reconstruct_absolute(keypoints, relative, intrinsics, reliable=everything(keypoints))
    assert (trusted - joints).norm(dim=-1).max() > 0.2


@pytest.mark.parametrize("perspective", ["full", "weak"])
@pytest.mark.parametrize("count", [0, 1])
def test_one_reliable_keypoint_or_none__still_gives_a_place(count, perspective):
    relative, joints, keypoints, intrinsics = people([2.0, 4.0])
    reliable = torch.arange(JOINTS).expand(2, -1) < count
    parts = [part.clone().requires_grad_() for part in (keypoints, relative, intrinsics)]
    placing = Placing(perspective=perspective)
    found = reconstruct_absolute(parts[0], parts[1], parts[2], reliable=reliable, placing=placing)
    assert (found - joints).norm(dim=-1).max() < 0.6  # the keypoints are right, though not known to be
    found.square().sum().backward()
    assert all(part.grad.isfinite().all() for part in parts)


@pytest.mark.parametrize("perspective", ["full", "weak"])
def test_keypoints_that_coincide__have_a_finite_place_and_derivative(perspective):
    relative, _, keypoints, intrinsics = people([2.0])
    keypoints = torch.full_like(keypoints, 128).requires_grad_()
    relative.requires_grad_()
    found = reconstruct_absolute(
        keypoints, relative, intrinsics, reliable=everything(keypoints), placing=Placing(perspective=perspective)
    )
    assert found.isfinite().all()
    found.sum().backward()
    assert keypoints.grad.isfinite().all()
    assert relative.grad.isfinite().all()


def test_derivative():
    relative, _, keypoints, intrinsics = people([2.0, 5.0])
    reliable = torch.arange(JOINTS).expand(2, -1) % 3 > 0

    def place(points, joints, lens):
        return reconstruct_absolute(points, joints, lens, reliable=reliable)

    parts = tuple(part.clone().requires_grad_() for part in (keypoints + 1, relative, intrinsics))
    assert torch.autograd.gradcheck(place, parts, eps=1e-5, atol=1e-4)


def test_mix__of_each_person():
    relative, _, keypoints, intrinsics = people([2.0, 4.0])
    keypoints = keypoints + torch.randn(keypoints.shape, generator=torch.Generator().manual_seed(1))
    reliable = everything(keypoints)
    mixed = reconstruct_absolute(
        keypoints, relative, intrinsics, reliable=reliable, mix=torch.tensor([0.0, 1.0], dtype=torch.float64)
    )
    for person, mix in enumerate((0.0, 1.0)):
        alike = reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=Placing(mix=mix))
        torch.testing.assert_close(mixed[person], alike[person])
    seen = mixed[:1] @ intrinsics[:1].mT
    torch.testing.assert_close(seen[..., :2] / seen[..., 2:], keypoints[:1])


# Covariance


def spreads(*shape, scale, seed):
    root = torch.randn(*shape, shape[-1], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale**2 * (root @ root.mT + torch.eye(shape[-1]))


def uncertain(distances=(2.5,)):
    relative, _, keypoints, intrinsics = people(list(distances))
    noise = torch.randn(keypoints.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    shape = keypoints.shape[:2]
    flat = Places(keypoints + 2 * noise, spreads(*shape, 2, scale=2.0, seed=4))
    return flat, Places(relative, spreads(*shape, 3, scale=0.03, seed=5)), intrinsics


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("hidden", [0, 3])
def test_covariance__is_what_the_derivatives_carry(hidden, mixed):
    flat, solid, intrinsics = uncertain()
    reliable = torch.arange(JOINTS)[None] >= hidden
    combination = None
    if mixed:
        combination = torch.randn(JOINTS, 4, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        combination = combination / combination.sum(0)
    found = reconstruct_with_covariance(flat, solid, intrinsics, reliable=reliable, combination=combination)

    def place(keypoints, relative):
        joints = reconstruct_absolute(keypoints[None], relative[None], intrinsics, reliable=reliable)
        return combined(joints, combination)[0]

    by_point, by_joint = jacobian(place, (flat.positions[0], solid.positions[0]))
    noise = flat.covariance[0] / torch.where(reliable[0], 1.0, 1e-4)[:, None, None]
    expected = torch.einsum("jakp,kpq,jbkq->jab", by_point, noise, by_point)
    expected = expected + torch.einsum("jakp,kpq,jbkq->jab", by_joint, solid.covariance[0], by_joint)
    torch.testing.assert_close(found.positions[0], place(flat.positions[0], solid.positions[0]))
    torch.testing.assert_close(found.covariance[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_covariance__is_one(dtype):
    flat, solid, intrinsics = uncertain((1.5, 4.0, 15.0))
    flat, solid = (Places(*(part.to(dtype) for part in places)) for places in (flat, solid))
    reliable = torch.arange(JOINTS)[None] >= torch.tensor([[0], [8], [9]])
    found = reconstruct_with_covariance(flat, solid, intrinsics.to(dtype), reliable=reliable)
    assert found.covariance.dtype == dtype
    torch.testing.assert_close(found.covariance, found.covariance.mT)
    assert (torch.linalg.eigvalsh(found.covariance.double()) > 0).all()


def test_covariance__fewer_reliable_keypoints_say_less():
    flat, solid, intrinsics = uncertain()
    depth = [
        reconstruct_with_covariance(flat, solid, intrinsics, reliable=torch.arange(JOINTS)[None] >= hidden)
        .covariance[0, -1, 2, 2]
        .item()
        for hidden in (0, 4, 7, 9)
    ]
    assert depth == sorted(depth)
    assert math.sqrt(depth[0]) < 0.3
    assert math.sqrt(depth[-1]) > 0.5


def test_covariance__of_the_distance_lies_along_the_ray():
    flat, solid, intrinsics = uncertain()
    reliable = everything(flat.positions)
    sure = reconstruct_with_covariance(flat, solid, intrinsics, reliable=reliable)
    unsure = reconstruct_with_covariance(flat, solid, intrinsics, reliable=reliable, distance_deviation=0.1)
    expected = 0.01 * sure.positions[..., None] * sure.positions[..., None, :]
    torch.testing.assert_close(unsure.covariance - sure.covariance, expected)


# Input


def test_normalised_keypoints__with_skew():
    intrinsics = torch.tensor([[[500.0, 20.0, 100.0], [0.0, 400.0, 90.0], [0.0, 0.0, 1.0]]])
    points = torch.tensor([[[0.1, -0.2]]])
    pixels = torch.cat((points, torch.ones(1, 1, 1)), -1) @ intrinsics.mT
    torch.testing.assert_close(normalised_keypoints(pixels[..., :2], intrinsics), points)


def test_no_such_perspective():
    with pytest.raises(InputError, match="expected full or weak, got 'strong'"):
        Placing(perspective="strong")


@pytest.mark.parametrize("wrong", [0, 1, 2, 3])
def test_shapes_that_do_not_fit(wrong):
    relative, _, keypoints, intrinsics = people([2.0, 4.0])
    parts = [keypoints, relative, intrinsics, everything(keypoints)]
    parts[wrong] = parts[wrong][:1]
    with pytest.raises(ShapeError, match="expected"):
        reconstruct_absolute(parts[0], parts[1], parts[2], reliable=parts[3])

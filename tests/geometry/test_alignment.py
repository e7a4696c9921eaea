import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import InputError, ShapeError
from marey.geometry.alignment import align
from synthetic import some_points, some_rotations

TRANSFORMS = ["rigid", "similarity", "scale", "translation"]


def moved_points(*batch, count=17, seed=0, scale=1.0, noise=0.0):
    source = some_points(*batch, count, seed=seed, spread=0.3)
    rotation = some_rotations(*batch, seed=seed + 1, spread=2.0)
    translation = some_points(*batch, seed=seed + 2)
    target = scale * source @ rotation.mT + translation[..., None, :]
    return source, target + noise * some_points(*batch, count, seed=seed + 3), rotation, translation


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_align__recovers_the_map(batch, dtype):
    source, target, rotation, translation = (value.to(dtype) for value in moved_points(*batch, scale=1.7))
    found = align(source, target, transform="similarity")
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(found.rotation, rotation, **tolerance)
    torch.testing.assert_close(found.translation, translation, **tolerance)
    torch.testing.assert_close(found.scale, torch.full(batch, 1.7, dtype=dtype), **tolerance)
    torch.testing.assert_close(found.apply(source), target, **tolerance)
    torch.testing.assert_close(found.inverse().apply(target), source, **tolerance)
    assert not found.degenerate.any()


def test_align__equals_roma_on_noisy_weighted_points():
    source, target, *_ = moved_points(200, noise=0.2, scale=0.8)
    weights = torch.rand(200, 17).double()
    rotation, translation = roma.rigid_points_registration(source, target, weights=weights)
    ours = align(source, target, weights=weights)
    torch.testing.assert_close(ours.rotation, rotation)
    torch.testing.assert_close(ours.translation, translation)
    rotation, translation, scale = roma.rigid_points_registration(source, target, weights=weights, compute_scaling=True)
    ours = align(source, target, weights=weights, transform="similarity")
    torch.testing.assert_close(ours.scale, scale)
    torch.testing.assert_close(ours.translation, translation)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_align__is_the_least_squares_optimum(transform):
    source, target, *_ = moved_points(noise=0.3, scale=1.3)
    weights = torch.rand(17).double()
    found = align(source, target, transform=transform, weights=weights)

    def cost(turn, shift, factor):
        moved = factor * found.scale * source @ (turn @ found.rotation).mT + found.translation + shift
        return (weights * (moved - target).square().sum(-1)).sum()

    best = cost(torch.eye(3).double(), torch.zeros(3), 1.0)
    for seed in range(10):
        turn = some_rotations(seed=seed, spread=0.02)
        shift = 0.01 * some_points(seed=seed)
        centre = (weights[:, None] * target).sum(0) / weights.sum()
        if transform in ("rigid", "similarity"):
            turned = found.scale * source @ (turn @ found.rotation).mT
            recentred = turned + (centre - (weights[:, None] * turned).sum(0) / weights.sum())
            assert (weights * (recentred - target).square().sum(-1)).sum() > best
        if transform != "scale":
            assert cost(torch.eye(3).double(), shift, 1.0) > best
    if transform == "scale":
        assert (
            cost(torch.eye(3).double(), torch.zeros(3), 1.01) > best < cost(torch.eye(3).double(), torch.zeros(3), 0.99)
        )
        torch.testing.assert_close(found.apply(source), found.scale * source)
    if transform == "translation":
        torch.testing.assert_close(found.apply(source) - source, (found.translation).expand(17, 3))


def test_align__missing_points_count_for_nothing():
    source, target, *_ = moved_points(4, noise=0.1)
    keep = [0, 1, 4, 5, 6, 8, 9, 11]
    expected = align(source[:, keep], target[:, keep], transform="similarity")
    holes_source, holes_target = source.clone(), target.clone()
    holes_source[:, [2, 3, 7], 1] = torch.nan
    holes_target[:, [10, 12, 13, 14]] = torch.inf
    weights = torch.ones(4, 17).double()
    weights[:, [15, 16]] = 0
    holes_source.requires_grad_()
    found = align(holes_source, holes_target, transform="similarity", weights=weights)
    torch.testing.assert_close(found.rotation, expected.rotation)
    torch.testing.assert_close(found.scale, expected.scale)
    found.rotation.sum().backward()
    assert holes_source.grad.isfinite().all()


def test_align__never_reflects_unless_asked():
    source, _, rotation, _ = moved_points(50)
    target = source * torch.tensor([-1.0, 1, 1]) @ rotation.mT
    proper = align(source, target)
    torch.testing.assert_close(torch.linalg.det(proper.rotation), torch.ones(50).double())
    mirrored = align(source, target, reflection=True)
    torch.testing.assert_close(torch.linalg.det(mirrored.rotation), -torch.ones(50).double())
    torch.testing.assert_close(mirrored.apply(source), target)
    straight = align(source, source @ rotation.mT, reflection=True)
    torch.testing.assert_close(straight.rotation, rotation)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_align__degenerate_sets_are_flagged_and_finite(dtype):
    source, target, *_ = (value.to(dtype) for value in moved_points(5))
    line = source.clone()
    line[..., 1:] = 0
    cases = {"line": line, "point": torch.ones_like(source), "two": source.clone()}
    cases["two"][:, 2:] = torch.nan
    for name, points in cases.items():
        for transform in ("rigid", "similarity"):
            points = points.detach().clone().requires_grad_()
            found = align(points, target, transform=transform)
            assert found.degenerate.all(), name
            assert found.rotation.isfinite().all()
            assert found.translation.isfinite().all()
            found.rotation.sum().backward()
            assert points.grad.isfinite().all()
    flat = source.clone()
    flat[..., 2] = 0
    assert not align(flat, target).degenerate.any()
    nothing = align(torch.full_like(source, torch.nan), target)
    assert nothing.degenerate.all()
    assert nothing.rotation.isnan().all()
    for transform in ("scale", "translation"):
        assert align(torch.full_like(source, torch.nan), target, transform=transform).degenerate.all()
    assert align(torch.zeros_like(source), target, transform="scale").degenerate.all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_align__gradients_match_differences(transform):
    source, target, *_ = moved_points(2, count=5, noise=0.2)
    weights = torch.rand(2, 5).double() + 0.1
    inputs = [value.requires_grad_() for value in (source, target, weights)]

    def function(source, target, weights):
        found = align(source, target, weights=weights, transform=transform)
        return found.rotation, found.translation, found.scale

    assert torch.autograd.gradcheck(function, inputs)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_align__is_equivariant(seed, scale):
    source, target, *_ = moved_points(noise=0.1, seed=seed)
    turn, shift = some_rotations(seed=seed + 7, spread=2.0), some_points(seed=seed + 8)
    plain = align(source, target, transform="similarity")
    moved = align(source, scale * target @ turn.mT + shift, transform="similarity")
    torch.testing.assert_close(moved.apply(source), scale * plain.apply(source) @ turn.mT + shift)


def test_apply_to_covariance__is_that_of_moved_samples():
    source, target, *_ = moved_points(3, scale=2.0)
    found = align(source, target, transform="similarity")
    samples = some_points(3, 500, seed=9) * torch.tensor([0.1, 0.2, 0.5])

    def covariance(points):
        centred = points - points.mean(-2, keepdim=True)
        return centred.mT @ centred / 500

    expected = covariance(found.apply(samples))[:, None]
    torch.testing.assert_close(found.apply_to_covariance(covariance(samples)[:, None]), expected)


def test_align__batches_broadcast():
    source, target, *_ = moved_points(6, noise=0.1)
    torch.testing.assert_close(align(source[0], target).rotation[3], align(source[0], target[3]).rotation)


def test_align__large_batches_are_those_of_their_blocks():
    source, target, *_ = moved_points(3, 1500, count=4, noise=0.1)
    weights = torch.rand(1500, 4).double()
    found = align(source[:1], target, weights=weights, transform="similarity")
    assert found.rotation.shape == (3, 1500, 3, 3)
    one = align(source[0, 1400], target[2, 1400], weights=weights[1400], transform="similarity")
    for name in ("rotation", "translation", "scale", "degenerate"):
        torch.testing.assert_close(getattr(found, name)[2, 1400], getattr(one, name))


class Aligned(torch.nn.Module):
    def forward(self, source, target):
        return align(source, target, transform="similarity").apply(source)


def test_align__exports_as_a_graph():
    source, target, *_ = moved_points(7, noise=0.1)
    graph = torch.export.export(Aligned(), (source, target)).module()
    torch.testing.assert_close(graph(source, target), Aligned()(source, target))


def test_align__errors():
    with pytest.raises(ShapeError, match=r"got \(5, 3\) and \(6, 3\)"):
        align(torch.zeros(5, 3), torch.zeros(6, 3))
    with pytest.raises(ShapeError, match=r"weights: expected \(..., 5\)"):
        align(torch.zeros(5, 3), torch.zeros(5, 3), weights=torch.ones(4))
    with pytest.raises(InputError, match="affine"):
        align(torch.zeros(5, 3), torch.zeros(5, 3), transform="affine")

"""Distances that an alignment leaves, beside the decomposition in double precision, one set at a time."""

import pytest
import torch

from marey.geometry.aligned_distances import aligned_distances
from marey.geometry.alignment import BLOCK, align
from synthetic import some_points, some_rotations

COUNT = 64


def slow_rotation(matrix, reflection=False):
    left, _, right = torch.linalg.svd(matrix.double())
    signs = torch.ones(*matrix.shape[:-1]).double()
    if not reflection:
        signs[..., 2] = torch.linalg.det(left @ right)
    return left * signs[..., None, :] @ right


def slow_distances(source, target, transform="similarity", reflection=False):
    """By the singular value decomposition in double precision, one set at a time."""
    found = []
    for x, y in zip(source.double(), target.double(), strict=True):
        known = (x + y).isfinite().all(-1)
        a, b = x[known] - x[known].mean(0), y[known] - y[known].mean(0)
        rotation = slow_rotation(b.T @ a, reflection)
        extent = a.square().sum()
        scale = {"rigid": 1.0, "similarity": ((b.T @ a) * rotation).sum() / extent}
        scale["symmetric"] = (b.square().sum() / extent).sqrt()
        factor = scale[transform] if extent > 0 else 1.0
        distances = torch.full((len(x),), torch.nan).double()
        distances[known] = (factor * a @ rotation.T - b).norm(dim=-1)
        found.append(distances)
    return torch.stack(found)


def hard_cases():
    """Name -> source, target: what evaluations meet, 64 sets each."""
    source = some_points(COUNT, 17, seed=1, spread=0.3)
    turned = 1.3 * source @ some_rotations(COUNT, seed=2, spread=2.0).mT + some_points(COUNT, 1, seed=3)
    target = turned + 0.05 * some_points(COUNT, 17, seed=4)
    planar, line, mirror = (torch.tensor(value).double() for value in ([1.0, 1, 0], [1.0, 0, 0], [-1.0, 1, 1]))
    holes = target.clone()
    holes[::2, 3] = torch.nan
    holes[::3, 5:15] = torch.nan
    return {
        "usual": (source, target),
        "planar": (source * planar, target),
        "both planar": (source * planar, source * planar),
        "collinear": (source * line, target),
        "nearly collinear": (source * torch.tensor([1.0, 1e-3, 1e-3]).double(), target),
        "mirrored": (source * mirror, target),
        "unrelated": (source, some_points(COUNT, 17, seed=9)),
        "identical": (source, source),
        "one point": (torch.zeros_like(source), target),
        "equal axes": (torch.eye(3).double().repeat(COUNT, 1, 1), -torch.eye(3).double().repeat(COUNT, 1, 1)),
        "missing": (source, holes),
        "two known": (source[:, :2], target[:, :2]),
    }


@pytest.mark.parametrize("name", list(hard_cases()))
@pytest.mark.parametrize("transform", ["rigid", "similarity", "symmetric"])
@pytest.mark.parametrize("reflection", [False, True])
def test_aligned_distances__equal_the_decomposition_in_double_precision(name, transform, reflection):
    source, target = hard_cases()[name]
    expected = slow_distances(source, target, transform, reflection)
    found = aligned_distances(source, target, transform=transform, reflection=reflection)
    if name in ("collinear", "nearly collinear", "two known", "equal axes", "one point"):
        # single distances are not determined where a circle of rotations fits alike; their squares' sum is
        found, expected = found.square().nansum(-1), expected.square().nansum(-1)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_aligned_distances__in_single_precision_lose_only_what_rounding_the_points_loses(size, offset):
    source, target = (size * points + size * offset for points in hard_cases()["usual"])
    found = aligned_distances(source.float(), target.float())
    expected = slow_distances(source.float(), target.float())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-6 * size * (1 + offset / 3))


def test_aligned_distances__far_from_the_origin():
    source, target = hard_cases()["usual"]
    found = aligned_distances(source + 1e6, target - 1e6)
    torch.testing.assert_close(found, slow_distances(source, target), rtol=0, atol=1e-8)
    same = torch.full_like(source, 1e6)  # its extent is rounding only
    torch.testing.assert_close(aligned_distances(same, target), slow_distances(torch.zeros_like(source), target))


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3), (3, 40)])
def test_aligned_distances__any_batch(batch):
    source, target = some_points(*batch, 9, seed=1), some_points(*batch, 9, seed=2)
    expected = slow_distances(source.reshape(-1, 9, 3), target.reshape(-1, 9, 3)).reshape(*batch, 9)
    torch.testing.assert_close(aligned_distances(source, target), expected)
    torch.testing.assert_close(aligned_distances(source[..., :, :], target.expand(2, *target.shape))[1], expected)


def test_aligned_distances__blocks_are_those_of_the_whole():
    source, target = some_points(BLOCK + 50, 5, seed=1), some_points(BLOCK + 50, 5, seed=2)
    source[7, 2], source[BLOCK + 3] = torch.nan, torch.nan
    found = aligned_distances(source, target)
    for row in (0, 7, BLOCK - 1, BLOCK, BLOCK + 3):
        torch.testing.assert_close(found[row], aligned_distances(source[row], target[row]), equal_nan=True)
    assert found[BLOCK + 3].isnan().all()
    assert found[7].isnan().tolist() == [False, False, True, False, False]


def test_aligned_distances__agree_with_align_for_every_transform():
    source, target = (points[:20] for points in hard_cases()["usual"])
    for transform in ("rigid", "similarity", "symmetric", "scale", "translation"):
        left = align(source, target, transform=transform).apply(source) - target
        torch.testing.assert_close(aligned_distances(source, target, transform=transform), left.norm(dim=-1))


def test_aligned_distances__gradients_match_differences():
    source, target = (points[:18, :4].clone().requires_grad_() for points in hard_cases()["usual"])
    assert torch.autograd.gradcheck(aligned_distances, (source, target))
    same = hard_cases()["usual"][0].requires_grad_()
    aligned_distances(same, same.detach()).sum().backward()
    assert same.grad.isfinite().all()
    holes, target = (points.clone() for points in hard_cases()["usual"])
    holes[3, 2], holes[5] = torch.nan, torch.nan
    aligned_distances(holes.requires_grad_(), target).nansum().backward()
    assert holes.grad.isfinite().all()


@pytest.mark.parametrize("count", [1, 40])
def test_aligned_distances__an_infinite_point_is_infinitely_far_and_nothing_to_the_others(count):
    source, target = (points[:1].expand(count, -1, -1).clone() for points in hard_cases()["usual"])
    expected = aligned_distances(source[:, 1:], target[:, 1:])
    source[:, 0, 1] = torch.inf
    found = aligned_distances(source, target)
    assert found[:, 0].isposinf().all()
    torch.testing.assert_close(found[:, 1:], expected)


def test_symmetric_alignment__is_the_inverse_of_the_way_back():
    source, target = (points[0] for points in hard_cases()["usual"])
    there, back = align(source, target, transform="symmetric"), align(target, source, transform="symmetric")
    torch.testing.assert_close(there.inverse().apply(target), back.apply(target))
    torch.testing.assert_close(there.scale, (target - target.mean(0)).norm() / (source - source.mean(0)).norm())


@pytest.mark.parametrize("name", list(hard_cases()))
@pytest.mark.parametrize("transform", ["rigid", "similarity", "symmetric"])
def test_align__many_sets_are_aligned_as_each_alone(name, transform):
    source, target = hard_cases()[name]
    many = align(source, target, transform=transform)
    for row in range(0, COUNT, 9):
        alone = align(source[row], target[row], transform=transform)
        assert many.degenerate[row] == alone.degenerate
        torch.testing.assert_close(many.scale[row], alone.scale)
        found, expected = (
            (points.apply(source[row]) - target[row]).square().nansum() for points in (_at(many, row), alone)
        )
        torch.testing.assert_close(found, expected)  # where a circle of rotations fits alike, both are on it
        if not alone.degenerate:
            torch.testing.assert_close(many.rotation[row], alone.rotation)
            torch.testing.assert_close(many.translation[row], alone.translation)


def _at(alignment, row):
    return type(alignment)(**{name: value[row] for name, value in vars(alignment).items()})

"""Sample consensus against a loop over points and pairs of views."""

from itertools import combinations

import numpy as np
import pytest
import torch

from marey.core import InputError, ShapeError
from marey.methods.triangulation.ransac import ransac

VIEWS, BATCH, JOINTS = 5, 2, 20


def matrices(generator):
    """Projections (V, B, 3, 4) of cameras around the origin, others for each item."""
    angles = torch.arange(VIEWS)[:, None] * 1.1 + torch.rand(VIEWS, BATCH, generator=generator)
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rows = (-angles.sin(), angles.cos(), zero, zero, zero, -one, -angles.cos(), -angles.sin(), zero)
    rotation = torch.stack(rows, -1).view(VIEWS, BATCH, 3, 3)
    shift = torch.tensor([0.1, -0.2, 4.0]).expand(VIEWS, BATCH, 3)[..., None]
    lens = torch.tensor([[1100.0, 0.0, 500.0], [0.0, 1100.0, 500.0], [0.0, 0.0, 1.0]])
    return (lens @ torch.cat((rotation, shift), -1)).double()


def observed(generator):
    """Points (V, B, J, 2), each view of each wrong by far with a probability of 0.3, and projections."""
    projections = matrices(generator)
    truth = torch.rand(BATCH, JOINTS, 3, generator=generator, dtype=torch.float64) - 0.5
    homogeneous = torch.einsum("vbij,bnj->vbni", projections[..., :3], truth) + projections[..., None, :, 3]
    pixels = homogeneous[..., :2] / homogeneous[..., 2:]
    noise = torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
    wrong = torch.rand(VIEWS, BATCH, JOINTS, 1, generator=generator) < 0.3
    return pixels + torch.where(wrong, 60 * noise, 3 * noise), projections


def linear(points, projections):
    rows = points[:, :, None] * projections[:, 2:] - projections[:, :2]
    vector = np.linalg.svd(rows.reshape(-1, 4))[2][-1]
    return vector[:3] / vector[3]


def by_loop(points, projections, pairs, threshold=15.0):
    """What the paper says, for one point: its position and its views."""
    best: set[int] = set()
    for pair in pairs:
        position = linear(points[list(pair)], projections[list(pair)])
        homogeneous = projections @ np.append(position, 1.0)
        error = np.linalg.norm(points - homogeneous[:, :2] / homogeneous[:, 2:], axis=-1) / 2
        views = set(pair) | set(np.flatnonzero(error < threshold).tolist())
        if len(views) > len(best):
            best = views
    chosen = sorted(best)
    return linear(points[chosen], projections[chosen]), chosen


def assert_as_by_loop(found, points, projections, pairs):
    """`pairs` (B, J, K, 2)."""
    for item in range(BATCH):
        for joint in range(JOINTS):
            position, views = by_loop(
                points[:, item, joint].numpy(), projections[:, item].numpy(), pairs[item, joint].tolist()
            )
            assert found.inliers[:, item, joint].nonzero()[:, 0].tolist() == views
            np.testing.assert_allclose(found.positions[item, joint].numpy(), position, rtol=1e-7, atol=1e-8)


def test_ransac__every_pair():
    points, projections = observed(torch.Generator().manual_seed(0))
    found = ransac(points, projections, refine=False)
    pairs = torch.tensor(list(combinations(range(VIEWS), 2))).expand(BATCH, JOINTS, -1, 2)
    assert_as_by_loop(found, points, projections, pairs)
    assert 2 < found.inliers.sum(0).float().mean() < VIEWS


@pytest.mark.parametrize("trials", [1, 3, 10, 25])
def test_ransac__pairs_drawn_with_repetition_and_in_any_order(trials):
    generator = torch.Generator().manual_seed(trials)
    points, projections = observed(generator)
    pairs = torch.rand(BATCH, JOINTS, trials, VIEWS, generator=generator).topk(2, dim=-1).indices
    found = ransac(points, projections, pairs=pairs, refine=False)
    assert_as_by_loop(found, points, projections, pairs)


@pytest.mark.parametrize("trials", [None, 4])
def test_ransac__views_that_saw_nothing_are_left_out(trials):
    generator = torch.Generator().manual_seed(5)
    points, projections = observed(generator)
    blind = points.clone()
    blind[3] = torch.nan
    blind[:, 1, 7] = torch.nan
    blind[2, 1, 7] = 500.0  # seen by one view
    pairs = None if trials is None else torch.tensor([[0, 3], [1, 2], [0, 4], [1, 4]]).expand(BATCH, JOINTS, -1, 2)
    found = ransac(blind, projections, pairs=pairs)
    others = [0, 1, 2, 4]
    kept = None if trials is None else torch.tensor([[1, 2], [0, 3], [1, 3]]).expand(BATCH, JOINTS, -1, 2)
    expected = ransac(blind[others], projections[others], pairs=kept)
    assert not found.inliers[3].any()
    assert torch.equal(found.inliers[others], expected.inliers)
    torch.testing.assert_close(found.positions, expected.positions, equal_nan=True)
    assert found.positions[1, 7].isnan().all()
    assert found.positions.isfinite().all(-1).sum() == BATCH * JOINTS - 1


def test_ransac__single_precision_is_that_of_the_inputs():
    points, projections = observed(torch.Generator().manual_seed(2))
    found = ransac(points.float(), projections.float())
    expected = ransac(points, projections)
    assert found.positions.dtype == torch.float32
    assert torch.equal(found.inliers, expected.inliers)
    torch.testing.assert_close(found.positions.double(), expected.positions, rtol=0, atol=1e-4)


def test_ransac__refusals():
    points, projections = observed(torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="two or more views"):
        ransac(points[:1], projections[:1])
    with pytest.raises(ShapeError, match="points: expected"):
        ransac(points[0], projections)

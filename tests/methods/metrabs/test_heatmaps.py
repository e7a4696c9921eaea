"""Places in heatmaps: means, spreads, units."""

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.methods.metrabs.heatmaps import (
    HeatmapConfig,
    Places,
    decode_2d,
    decode_3d,
    is_reliable,
    to_metric,
    to_pixels,
)
from marey.methods.metrabs.quirks import Quirks

CELL = 1 / 12


def peak(shape, index):
    logits = torch.full(shape, -100.0)
    logits[index] = 0.0
    return logits


def test_decode_2d__of_one_cell():
    found = decode_2d(peak((1, 2, 5, 9), (0, slice(None), 1, 6)))
    torch.testing.assert_close(found.positions, torch.tensor([6 / 8, 1 / 4]).expand(1, 2, 2))
    torch.testing.assert_close(found.covariance[0, 0], torch.diag(torch.tensor([CELL / 64, CELL / 16])))


def test_decode_3d__channels_hold_all_joints_of_the_nearest_bin_first():
    joints, depth = 3, 4
    found = decode_3d(peak((1, joints * depth, 6, 6), (0, 2 * joints + 1, 5, 0)), depth)
    torch.testing.assert_close(found.positions[0, 1], torch.tensor([0.0, 1.0, 2 / 3]))
    torch.testing.assert_close(found.positions[0, 0], torch.tensor([0.5, 0.5, 0.5]))


def test_decode__spread_is_that_of_the_distribution():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 12, 3, 5, generator=generator, dtype=torch.float64)
    found = decode_3d(logits, 4)
    weights = logits.view(2, 4, 3, 15).permute(0, 2, 1, 3).flatten(2).softmax(-1)  # of bins, rows, columns
    z, y, x = torch.meshgrid(*(torch.linspace(0, 1, n, dtype=torch.float64) for n in (4, 3, 5)), indexing="ij")
    grid = torch.stack((x, y, z), -1).view(-1, 3)
    for person in range(2):
        for joint in range(3):
            spread = grid.T.cov(correction=0, aweights=weights[person, joint])
            expected = spread + torch.diag(torch.tensor([CELL / 16, CELL / 4, CELL / 9], dtype=torch.float64))
            torch.testing.assert_close(found.covariance[person, joint], expected)
            torch.testing.assert_close(found.positions[person, joint], weights[person, joint] @ grid)


def test_decode_3d__wrong_depth():
    with pytest.raises(ShapeError, match="multiple of 8 channels, got 12"):
        decode_3d(torch.zeros(1, 12, 4, 4), 8)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 1, 4)])
def test_decode_2d__of_a_single_row_or_cell(shape):
    found = decode_2d(torch.zeros(1, *shape, requires_grad=True))
    assert found.positions.isfinite().all()
    assert found.covariance.isfinite().all()


def test_units__a_cell_is_a_stride():
    config = HeatmapConfig(side=256, stride=16, depth=8, box_size=2.2)
    assert config.cells == 16
    places = decode_2d(peak((1, 1, 16, 16), (0, 0, 3, 5)))
    pixels = to_pixels(places, config, Quirks())
    torch.testing.assert_close(pixels.positions[0, 0], torch.tensor([5 * 16 + 8.0, 3 * 16 + 8.0]))
    torch.testing.assert_close(pixels.covariance[0, 0], torch.eye(2) * CELL * 256)
    metric = to_metric(decode_3d(peak((1, 8, 16, 16), (0, 7, 3, 5)), 8), config, Quirks())
    torch.testing.assert_close(metric.positions[0, 0], torch.tensor([88 * 2.2 / 256, 56 * 2.2 / 256, 2.2]))
    side = torch.tensor([16 * 2.2 / 256, 16 * 2.2 / 256, 2.2 / 7])
    torch.testing.assert_close(metric.covariance[0, 0], torch.diag(side.square() * CELL))


def test_units__where_cells_are_not_centered():
    config = HeatmapConfig(centered_stride=False)
    places = Places(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2, 2))
    assert torch.equal(to_pixels(places, config, Quirks()).positions, torch.zeros(1, 1, 2))
    shifted = to_pixels(places, config, Quirks(uncentered_shift=True))
    assert torch.equal(shifted.positions, torch.full((1, 1, 2), 16.0))


@pytest.mark.parametrize(("centered", "first"), [(True, 24.0), (False, 8.0)])
def test_is_reliable__bounds(centered, first):
    config, last = HeatmapConfig(centered_stride=centered), first + 208
    inside = torch.tensor([[first, first], [last, last], [128, first]])
    outside = torch.tensor([[first - 0.01, 128], [128, last + 0.01], [torch.nan, 128]])
    assert is_reliable(inside, config, 24).all()
    assert not is_reliable(outside, config, 24).any()


def test_is_reliable__border_leaves_nothing():
    with pytest.raises(InputError, match="less than 128 pixels, got 128"):
        is_reliable(torch.zeros(1, 1, 2), HeatmapConfig(), 128)

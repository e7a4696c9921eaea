"""Shapes, readings and errors of the trunk."""

import pytest
import torch

from marey.core import ShapeError
from marey.nn.trunk import Trunk, TrunkConfig, TrunkMaps, read_keypoints

TINY = TrunkConfig(widths=(8, 8, 8, 8), units=(1, 1, 1, 1), features=8, keypoints=3, parts=5)


def test_maps__are_a_quarter_of_the_image():
    maps = Trunk(TINY).eval()(torch.rand(2, 3, 64, 96))
    shapes = {name: tuple(value.shape[1:]) for name, value in maps._asdict().items()}
    assert shapes == {
        "features": (8, 16, 24),
        "heatmaps": (3, 16, 24),
        "factors": (9, 16, 24),
        "seen": (3, 16, 24),
        "parts": (6, 16, 24),
        "centers": (16, 24),
        "boxes": (4, 16, 24),
    }
    assert (maps.boxes > 0).all()
    assert maps.centers.mean() < -4  # nobody is expected before anything is learned


def test_keypoints__are_read_under_their_heatmap():
    heatmaps = torch.full((1, 1, 16, 24), -30.0)
    heatmaps[0, 0, 5, 7] = 30
    factors, seen = torch.zeros(1, 3, 16, 24), torch.full((1, 1, 16, 24), -9.0)
    factors[0, :, 5, 7] = torch.tensor([10.0, 20.0, 0.25])
    seen[0, 0, 5, 7] = 4
    empty = torch.zeros(0)
    found = read_keypoints(TrunkMaps(empty, heatmaps, factors, seen, empty, empty, empty))
    # the centre of the map's pixel (7, 5) in the image: 4 (p + 1/2) - 1/2
    torch.testing.assert_close(found.positions, torch.tensor([[[29.5, 21.5]]]))
    torch.testing.assert_close(found.seen, torch.tensor([[4.0]]))
    # softplus(10) = 10.0000454; 4 pixels of the image to one of the map
    torch.testing.assert_close(found.factor, torch.tensor([[[[40.2002, 0.0], [1.0, 80.2]]]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.covariance[0, 0], found.factor[0, 0] @ found.factor[0, 0].T)


def test_default__is_small_enough_to_ship():
    with torch.device("meta"):
        network = Trunk()
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 12e6


def test_errors__say_what_was_expected():
    with pytest.raises(ShapeError, match=r"expected \(N, 3, H, W\), sides multiples of 32"):
        Trunk(TINY)(torch.rand(1, 3, 60, 64))
    for wrong in (torch.uint8, torch.float64):
        with pytest.raises(ShapeError, match=r"expected torch.float32 in 0..1, got"):
            Trunk(TINY)(torch.zeros(1, 3, 64, 64, dtype=wrong))

"""Crops of tensors equal those of OpenCV, but for the rounding of a pixel."""

import numpy as np
import pytest
import torch

from marey.detect.area_crops import Pictures, area_crops, area_letterbox
from marey.detect.trunk_crops import crop_squares, letterbox, whole_squares

WIDTH, HEIGHT = 90, 60


def noise(width=WIDTH, height=HEIGHT, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pictures(*images):
    return Pictures.of(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    "square",
    [
        [10, 5, 70, 65],  # inside, smaller
        [20, 10, 44, 34],  # inside, larger
        [-30, -20, 60, 70],  # beyond two edges
        [60, 40, 84, 64],  # larger, beyond one edge
        [-80, -90, 190, 180],  # beyond all
        [0, 0, 32, 32],  # as it is
    ],
)
def test_area_crops__equal_those_of_opencv(square):
    image = noise()
    squares = torch.tensor(square, dtype=torch.float64)[None] - 0.5
    ours = area_crops(pictures(image), squares[None], 32)
    assert ours.shape == (1, 1, 3, 32, 32)
    theirs = crop_squares(image, squares, 32)[0].astype(float)
    difference = np.abs(ours[0, 0].permute(1, 2, 0).numpy() - theirs)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.85


def test_area_crops__each_picture_has_its_own():
    images = noise(seed=1), noise(seed=2)
    squares = whole_squares(torch.tensor([[5.0, 5, 50, 50], [30, 0, 80, 60]]), (WIDTH, HEIGHT))
    ours = area_crops(pictures(*images), squares.expand(2, 2, 4), 16)
    for image, found in zip(images, ours, strict=True):
        assert np.abs(found.permute(0, 2, 3, 1).numpy() - crop_squares(image, squares, 16)).max() <= 1


def test_area_crops__sums_of_a_large_picture_keep_every_digit():
    white = torch.full((1, 3, 1500, 2500), 255, dtype=torch.uint8)
    squares = torch.tensor([[[1000.0, 400, 1900, 1300]]]).double() - 0.5
    assert (area_crops(Pictures.of(white), squares, 8) == 255).all()


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("size", [(90, 60), (60, 90), (64, 64), (3, 100)])
def test_area_letterbox__equals_that_of_opencv(side, size):
    image = noise(*size)
    ours, scale = area_letterbox(pictures(image, image), side)
    theirs = letterbox(image, side, side)
    assert ours.shape == (2, 3, side, side)
    assert scale.tolist() == pytest.approx(theirs.scale)
    assert np.abs(ours[1].permute(1, 2, 0).numpy() - theirs.pixels).max() <= 1

import numpy as np
import pytest
import torch

from marey.detect.trunk_crops import crop_squares, letterbox, to_crop, to_image, whole_squares


def square(*corners):
    return torch.tensor([corners], dtype=torch.float64)


@pytest.mark.parametrize(
    ("given", "size", "expected"),
    [
        ((9.7, 19.6, 29.9, 39.8), (100, 100), (9.5, 19.5, 29.5, 39.5)),
        ((-10.5, -5.5, 9.5, 14.5), (100, 100), (-0.5, -0.5, 19.5, 19.5)),
        ((85.0, 95.0, 105.0, 115.0), (100, 110), (79.5, 89.5, 99.5, 109.5)),
        ((-10.5, 60.0, 39.5, 110.0), (30, 100), (-10.5, 49.5, 39.5, 99.5)),
        ((3.0, 3.0, 3.1, 3.1), (10, 10), (2.5, 2.5, 4.5, 4.5)),
    ],
    ids=["rounded", "moved right and down", "moved left and up", "larger than the image is wide", "hardly a pixel"],
)
def test_whole_squares__of_whole_pixels_within_the_image(given, size, expected):
    torch.testing.assert_close(whole_squares(square(*given), size), square(*expected))


def test_crop_squares__pixels_are_means_of_areas():
    image = np.repeat(np.arange(0, 120, 10, dtype=np.uint8)[None, :, None], 12, axis=0).repeat(3, axis=2)
    (crop,) = crop_squares(image, square(1.5, 3.5, 9.5, 11.5), 4)
    assert crop.shape == (4, 4, 3)
    np.testing.assert_array_equal(crop[..., 1], [[25, 45, 65, 85]] * 4)


def test_crop_squares__the_edge_of_the_image_goes_on_beyond_it():
    image = np.array([[[10], [20]], [[30], [40]]], np.uint8).repeat(3, axis=2)
    (crop,) = crop_squares(image, square(-1.5, -1.5, 2.5, 2.5), 4)
    np.testing.assert_array_equal(
        crop[..., 0], [[10, 10, 20, 20], [10, 10, 20, 20], [30, 30, 40, 40], [30, 30, 40, 40]]
    )


def test_crop_squares__of_nobody():
    assert crop_squares(np.zeros((5, 5, 3), np.uint8), torch.zeros(0, 4), 8).shape == (0, 8, 8, 3)


def test_to_image__the_middle_of_a_pixel_of_the_crop_is_the_middle_of_its_area():
    squares = square(9.5, 19.5, 29.5, 39.5)
    points = torch.tensor([[[0.0, 0.0], [4.5, 4.5], [9.5, -0.5]]])
    expected = torch.tensor([[[10.5, 20.5], [19.5, 29.5], [29.5, 19.5]]])
    torch.testing.assert_close(to_image(points, squares, 10), expected)
    torch.testing.assert_close(to_crop(expected, squares, 10), points)


def test_letterbox__fills_up_with_grey_and_gives_the_scale():
    small = letterbox(np.full((70, 100, 3), 200, np.uint8), 96, 32)
    assert small.pixels.shape == (96, 96, 3)
    assert small.scale == pytest.approx((100 / 96, 70 / 67))
    assert (small.pixels[:67] == 200).all()
    np.testing.assert_array_equal(small.pixels[67:].reshape(-1, 3).min(0), [124, 116, 104])
    np.testing.assert_array_equal(small.pixels[67:].reshape(-1, 3).max(0), [124, 116, 104])


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 4000, 3), (2000, 2, 3)])
def test_letterbox__of_any_image(shape):
    small = letterbox(np.zeros(shape, np.uint8), 128, 32).pixels
    assert max(small.shape) == 128
    assert small.shape[0] % 32 == 0
    assert small.shape[1] % 32 == 0

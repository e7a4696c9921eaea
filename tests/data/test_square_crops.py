"""Square crops, against the places that the definition gives and the crops of the original programs."""

import numpy as np
import pytest

from marey.core import InputError, ShapeError
from marey.data.square_crops import crop_image, crop_matrices, crop_points, outside_image, square_spans


def test_square_boxes__the_longer_side():
    found = square_spans(np.array([[10.0, 20, 40, 100], [0, 0, 8, 2]]), 1.2)
    np.testing.assert_allclose(found, [[-30, 10, 120, 120], [-0.8, -3.8, 9.6, 9.6]])


def test_crop_matrices__middle_to_the_middle():
    matrices = crop_matrices(np.array([[[10.0, 20, 40, 40]], [[0, 0, 80, 80]]]), 80)
    assert matrices.shape == (2, 1, 2, 3)
    assert matrices[0, 0].tolist() == [[2, 0, -20], [0, 2, -40]]
    assert matrices[1, 0].tolist() == [[1, 0, 0], [0, 1, 0]]
    points = np.array([[[[10.0, 20], [30, 40], [np.nan, 1]]], [[[1, 2], [3, 4], [5, 6]]]])
    found = crop_points(points, matrices)
    np.testing.assert_array_equal(found[0, 0], [[0, 0], [40, 40], [np.nan, np.nan]])
    np.testing.assert_array_equal(found[1, 0], points[1, 0])


@pytest.mark.parametrize("box", [[0, 0, 0, 1], [0, 0, np.nan, 1], [0, 0, 1, -1]])
def test_crop_matrices__no_box(box):
    with pytest.raises(InputError, match="an area"):
        crop_matrices(np.array(box, dtype=float), 8)


def test_crop_image__copies_pixels_and_is_black_outside():
    image = np.arange(1, 13, dtype=np.uint8).reshape(3, 4)
    crop = crop_image(image, crop_matrices(np.array([1.0, -1, 4, 4]), 4), 4, nearest=True)
    assert crop.tolist() == [[0, 0, 0, 0], [2, 3, 4, 0], [6, 7, 8, 0], [10, 11, 12, 0]]


def test_crop_image__linear_in_between():
    image = np.array([[0.0, 10, 20, 30]] * 4)
    crop = crop_image(image, crop_matrices(np.array([0.0, 0, 4, 4]), 8), 8)
    assert crop[3, :7].tolist() == [0, 5, 10, 15, 20, 25, 30]


def test_crop_image__errors():
    with pytest.raises(ShapeError, match="one at a time"):
        crop_image(np.zeros((2, 2)), np.zeros((5, 2, 3)), 4)


def test_outside_image__what_has_no_pixel():
    outside = outside_image(crop_matrices(np.array([-1.0, 0, 4, 4]), 4), (2, 3), 4)
    assert outside.astype(int).tolist() == [[1, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]

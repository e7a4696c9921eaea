"""Patches of textures, against pixels written down here."""

import numpy as np
import pytest

from marey.core import InputError, ShapeError
from marey.data.texture_patches import filled, occluded, random_corner, resized_texture, texture_patch


@pytest.mark.parametrize(
    ("shape", "expected"), [((90, 120), (320, 426)), ((640, 480), (426, 320)), ((300, 300), (320, 320))]
)
def test_resized_texture__short_side(shape, expected):
    found = resized_texture(np.full((*shape, 3), 7, dtype=np.uint8))
    assert found.shape == (*expected, 3)
    assert np.unique(found).tolist() == [7]


def test_resized_texture__averages_where_it_shrinks():
    stripes = np.tile(np.array([0, 200], dtype=np.uint8), (64, 32))[..., None].repeat(3, -1)
    found = resized_texture(stripes, 8)
    assert found.shape == (8, 8, 3)
    assert np.abs(found.astype(int) - 100).max() <= 8


def test_resized_texture__no_texture():
    with pytest.raises(ShapeError, match="8 bits"):
        resized_texture(np.zeros((4, 4, 3)))


def test_texture_patch__black_past_the_edge():
    texture = np.arange(1, 13, dtype=np.uint8).reshape(3, 4, 1)
    assert texture_patch(texture, (2, 1), (3, 2))[..., 0].tolist() == [[7, 8, 0], [11, 12, 0]]
    assert texture_patch(texture, (9, 9), (2, 2)).max() == 0
    with pytest.raises(InputError, match="corner"):
        texture_patch(texture, (-1, 0), (2, 2))


def test_random_corner__all_places():
    texture = np.zeros((3, 4, 3), dtype=np.uint8)
    source = np.random.default_rng(0)
    found = {random_corner(texture, (3, 2), source) for _ in range(100)}
    assert found == {(0, 0), (1, 0), (0, 1), (1, 1)}
    with pytest.raises(InputError, match="does not fit"):
        random_corner(texture, (5, 1), source)


def test_occluded__cut_off_at_the_edge():
    image = np.zeros((4, 4, 1), dtype=np.uint8)
    patch = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
    found = occluded(image, np.array([2, 1, 4, 4]), patch)
    assert found[..., 0].tolist() == [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 4, 5], [0, 0, 7, 8]]
    assert image.max() == 0
    with pytest.raises(ShapeError, match="at least 4 x 4"):
        occluded(image, np.array([0, 0, 4, 4]), patch)


def test_filled__only_outside():
    crop = np.full((2, 2, 3), 9, dtype=np.uint8)
    outside = np.array([[True, False], [False, False]])
    found = filled(crop, outside, np.full((2, 2, 3), 1, dtype=np.uint8))
    assert found[..., 0].tolist() == [[1, 9], [9, 9]]

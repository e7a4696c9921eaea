import numpy as np
import pytest

from marey.core import FormatError
from marey.io.coco_masks import mask_of_outline, mask_of_polygons, mask_of_runs, unpacked_runs


def test_mask_of_polygons__holds_pixels_covered_by_half_or_more():
    # pixel (x, y) spans x to x + 1: a rectangle from (1, 1) to (4, 3) is 3 x 2 pixels
    mask = mask_of_polygons([[1, 1, 4, 1, 4, 3, 1, 3]], height=5, width=6)
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [2, 2], [2, 3]]
    less = mask_of_polygons([[1.7, 1, 4.3, 1, 4.3, 3, 1.7, 3]], height=5, width=6)
    assert np.argwhere(less).tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]


def test_mask_of_polygons__several_parts_and_those_beyond_the_image():
    mask = mask_of_polygons(
        [[0, 0, 2, 0, 2, 1, 0, 1], [3, 3, 9, 3, 9, 9, 3, 9], [-9, 0, -4, 0, -4, 5]], height=5, width=5
    )
    assert np.argwhere(mask).tolist() == [[0, 0], [0, 1], [3, 3], [3, 4], [4, 3], [4, 4]]


def test_mask_of_polygons__area_of_a_disc():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    disc = np.stack([50.3 + 20 * np.cos(angle), 40.8 + 20 * np.sin(angle)], -1).reshape(-1).tolist()
    mask = mask_of_polygons([disc], height=90, width=100)
    assert abs(int(mask.sum()) - np.pi * 400) < 15
    rows, columns = np.nonzero(mask)
    np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], [50.3, 40.8], atol=0.1)


def test_mask_of_runs__goes_down_the_columns():
    mask = mask_of_runs([1, 2, 4, 1, 1], height=3, width=3)
    assert mask.astype(int).tolist() == [[0, 0, 0], [1, 0, 1], [1, 0, 0]]
    assert mask_of_runs([0, 4], height=2, width=2).all()


def test_unpacked_runs__small_large_and_negative_differences():
    # one character holds -16 to 15: '0' + value, negative in two's complement of five bits; 100 = 4 + 3 * 32 needs two
    assert unpacked_runs("123") == [1, 2, 3]
    assert unpacked_runs("1230") == [1, 2, 3, 2]  # from the fourth on, differences to the run two before
    assert unpacked_runs("123O") == [1, 2, 3, 1]  # 'O' is code 31: -1
    assert unpacked_runs("T3") == [100]
    assert unpacked_runs("") == []


def test_mask_of_outline__every_form():
    runs = {"counts": [1, 2, 4, 1, 1], "size": [3, 3]}
    expected = [[0, 0, 0], [1, 0, 1], [1, 0, 0]]
    assert mask_of_outline(runs, height=3, width=3).astype(int).tolist() == expected
    # 1 2 4 then 1 - 2 = -1 and 1 - 4 = -3
    packed = {"counts": "124OM", "size": [3, 3]}
    assert mask_of_outline(packed, height=3, width=3).astype(int).tolist() == expected
    assert not mask_of_outline(None, height=3, width=3).any()
    assert not mask_of_outline([], height=3, width=3).any()


@pytest.mark.parametrize(
    ("outline", "message"),
    [
        ({"counts": [9], "size": [3, 4]}, "runs of an image of 3 x 3"),
        ({"counts": [8], "size": [3, 3]}, "do not add up to the 9 pixels"),
        ({"counts": [-1, 10], "size": [3, 3]}, "do not add up"),
        ({"counts": [[1]], "size": [3, 3]}, "do not add up"),
        ({"counts": ["a"], "size": [3, 3]}, "no integers"),
        ({"counts": "T", "size": [3, 3]}, "cut off"),
        ({"counts": "\x01", "size": [3, 3]}, "compressed runs hold"),
        ({"counts": "o" * 40, "size": [3, 3]}, "compressed runs hold"),
        ([[1, 2, 3, 4]], "three corners or more"),
        ([[1, 2, 3, 4, 5, "x"]], "no number"),
        ([[1, 2, 3, 4, 5, 10**400]], "no number"),
        ([[1, 2, 3, 4, 5, float("nan")]], "three corners or more"),
        ("text", "expected polygons"),
    ],
)
def test_mask_of_outline__what_is_none_is_refused(outline, message):
    with pytest.raises(FormatError, match=message):
        mask_of_outline(outline, height=3, width=3)

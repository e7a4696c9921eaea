import struct

import numpy as np
import pytest

from marey.core import InputError
from marey.data import masks


def parts():
    """Two parts that touch at a corner only, 2 x 2 and 3 x 4."""
    mask = np.zeros((8, 9), bool)
    mask[1:3, 1:3] = True
    mask[3:6, 3:7] = True
    return mask


def test_component__is_the_part_that_fits_the_box():
    small = masks.component_of_box(parts(), np.array([0, 0, 3, 3]))
    assert (small.sum(), small[1, 1]) == (4, True)
    large = masks.component_of_box(parts(), np.array([2, 2, 9, 9]))
    assert (large.sum(), large[3, 3]) == (12, True)


def test_component__background_is_none_of_them():
    """A box of the whole image fits the background best."""
    assert masks.component_of_box(parts(), np.array([0, 0, 9, 8])).sum() == 12
    assert not masks.component_of_box(np.zeros((5, 5), bool), np.array([0, 0, 5, 5])).any()


def test_largest__has_most_pixels():
    assert masks.largest_component(parts()).sum() == 12
    assert not masks.largest_component(np.zeros((5, 5), bool)).any()


def test_box__counts_whole_pixels():
    assert masks.box_of_mask(parts()).tolist() == [1, 1, 6, 5]
    assert masks.box_of_mask(np.zeros((3, 3), bool)).tolist() == [0, 0, 0, 0]


def test_file__has_one_bit_a_pixel_and_comes_back(tmp_path):
    masks.write_mask(tmp_path / "a.png", parts())
    data = (tmp_path / "a.png").read_bytes()
    assert struct.unpack(">IIBB", data[16:26]) == (9, 8, 1, 0)  # width, height, one bit, grey
    np.testing.assert_array_equal(masks.read_mask(tmp_path / "a.png"), parts())


def test_file__refuses_what_is_no_mask(tmp_path):
    with pytest.raises(InputError, match=r"expected a \.png and a mask"):
        masks.write_mask(tmp_path / "a.jpg", parts())
    with pytest.raises(InputError, match="booleans"):
        masks.write_mask(tmp_path / "a.png", parts().astype(np.uint8))

"""Straight images: the two formulas at points worked out by hand, and what the maps do to pixels."""

import numpy as np
import pytest
import torch

from marey.core import Cameras, InputError
from marey.data.prepare.undistortion import source_pixels, undistort_image, undistortion_maps, without_lens


def camera(distortion, focal=(100.0, 100.0), centre=(0.0, 0.0)):
    matrix = torch.tensor([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        intrinsics=matrix,
        distortion=torch.tensor(distortion, dtype=torch.float64),
        image_size=torch.tensor([60.0, 40.0], dtype=torch.float64),
    )


LENS = [0.1, 0.2, 0.01, 0.02, 0.4]
"""k1, k2, p1, p2, k3."""


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        # x = 0.5, y = 0, r^2 = 0.25: radial 1 + 0.025 + 0.0125 + 0.00625 = 1.04375
        ("h36m", (53.1875, 0.25)),  # x: 0.5 (1.04375 + 0.02 0.5) + 0.02 0.25; y: 0.01 0.25
        ("opencv", (53.6875, 0.25)),  # x: 0.5 1.04375 + 0.02 (0.25 + 2 0.25)
    ],
)
def test_formula__of_a_pixel_beside_the_centre(formula, expected):
    found = source_pixels(camera(LENS), (60, 40), formula=formula)
    assert found.shape == (40, 60, 2)
    assert found[0, 50] == pytest.approx(expected, abs=1e-12)


def test_formula__human36m_mixes_x_and_y_once():
    # x = 0.2, y = 0.3, r^2 = 0.13, tangential only,
    # x: 0.01 0.06 + 0.02 (0.04 + 0.13), y: 0.02 0.06 + 0.01 (0.09 + 0.13)
    found = source_pixels(camera([0.0, 0.0, 0.01, 0.02, 0.0]), (60, 40), formula="h36m")
    assert found[30, 20] == pytest.approx((20.4, 30.34), abs=1e-12)


def test_image__without_a_lens_is_the_same():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    maps = undistortion_maps(camera([0.0] * 5, centre=(29.5, 19.5)), (60, 40), formula="h36m")
    assert (undistort_image(pixels, maps) == pixels).all()


def test_image__is_read_where_the_formula_says():
    # a picture whose red is its column and whose green is its row
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(60)[None] * 4, np.arange(40)[:, None] * 4
    straight = camera([-0.2, 0.0, 0.0, 0.0, 0.0], centre=(30.0, 20.0))
    found = undistort_image(pixels, undistortion_maps(straight, (60, 40), formula="h36m"))
    # column 50: x = 0.2, radial 1 - 0.2 0.04 = 0.992, so column 30 + 20 0.992 = 49.84, four times that is 199.4
    assert abs(int(found[20, 50, 0]) - 199) <= 1
    assert found[20, 50, 1] == 80


def test_image__beyond_the_source_is_black():
    maps = undistortion_maps(camera([2.0, 0.0, 0.0, 0.0, 0.0], centre=(30.0, 20.0)), (60, 40), formula="h36m")
    found = undistort_image(np.full((40, 60, 3), 200, dtype=np.uint8), maps)
    assert found[20, 59].tolist() == [0, 0, 0]
    assert found[20, 30].tolist() == [200, 200, 200]


def test_image__of_another_size_is_refused():
    maps = undistortion_maps(camera([0.0] * 5), (60, 40), formula="opencv")
    with pytest.raises(InputError, match="expected 60 x 40 pixels"):
        undistort_image(np.zeros((60, 40, 3), dtype=np.uint8), maps)


def test_formula__of_lenses_that_it_does_not_know():
    with pytest.raises(InputError, match="formula='opencv'"):
        source_pixels(camera([0.1] * 8), (60, 40), formula="h36m")
    with pytest.raises(InputError, match="expected one"):
        source_pixels(Cameras.stack([camera(LENS)]), (60, 40), formula="opencv")


def test_cameras__of_straight_images_have_no_lens():
    rig = without_lens(Cameras.stack([camera(LENS), camera(LENS)]))
    assert rig.is_pinhole
    assert rig.distortion.shape == (2, 0)

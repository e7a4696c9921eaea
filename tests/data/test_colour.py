import numpy as np
import pytest

from marey.data import colour


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (64, 100), (128, 160), (255, 255)])
def test_exponent__brightens_and_cuts_off(value, expected):
    # 255 (64 / 255)^0.67 = 100.99, 255 (128 / 255)^0.67 = 160.7...
    assert colour.change_exponent(np.full((1, 1, 3), value, np.uint8), 0.67)[0, 0, 0] == expected


def test_white_balance__takes_green_and_yellow_from_bright_pixels_only():
    dark = colour.balance_white(np.zeros((1, 1, 3), np.uint8))
    np.testing.assert_array_equal(dark, 0)
    greenish = np.full((1, 1, 3), (200, 220, 190), np.uint8)
    red, green, blue = colour.balance_white(greenish)[0, 0].astype(int)
    assert red > green
    assert blue > green


def test_white_balance__of_grey_cast_changes_nothing():
    image = np.arange(0, 240, 20, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_allclose(colour.balance_white(image, cast=(128, 128)), image, atol=3)


def test_linear__comes_back():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    light = colour.to_linear(image, 2.2)
    np.testing.assert_allclose(light[8, 0], (128 / 255) ** 2.2, rtol=1e-6)
    back = colour.from_linear(light + 1e-4, 1 / 2.2).astype(int)
    assert back[8, 0] in (128, 129)
    assert colour.from_linear(np.array([[-1.0, 2.0]]), 1 / 2.2).tolist() == [[0, 255]]

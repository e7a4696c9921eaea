"""Changes to training pictures: what they do, and that they leave their argument alone."""

import numpy as np
import pytest

from marey.core import InputError
from marey.data import augmentation
from marey.data.augmentation import AppearanceOptions


def draws(seed=0):
    return np.random.RandomState(seed)


def picture(side=48):
    return np.random.default_rng(1).integers(0, 256, (side, side, 3)).astype(np.uint8)


def test_grey__stays_grey_whatever_hue_and_saturation():
    grey = np.full((8, 8, 3), 128, np.uint8)
    for seed in range(5):
        changed = augmentation.change_colours(grey, draws(seed)).astype(int)
        assert np.ptp(changed, axis=-1).max() <= 1
        assert changed.dtype == int


def test_hue__of_red_turns_within_its_range():
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 255
    found = {int(np.argmax(augmentation.change_colours(red, draws(seed)))) for seed in range(40)}
    assert found == {0, 1, 2}  # 72 degrees reach beyond yellow (60) and magenta (-60)


def test_paste__leaves_out_what_lies_outside():
    image = np.zeros((6, 6, 3), np.uint8)
    object_, opacity = np.full((4, 4, 3), 200, np.uint8), np.full((4, 4), 0.5, np.float32)
    augmentation.paste(image, object_, opacity, center=np.array([0.0, 5.0]))
    expected = np.zeros((6, 6), int)
    expected[3:6, 0:2] = 100
    np.testing.assert_array_equal(image[..., 0], expected)
    augmentation.paste(image, object_, opacity, center=np.array([-40.0, 5.0]))
    np.testing.assert_array_equal(image[..., 0], expected)


def test_erase__changes_a_rectangle_of_at_most_a_third():
    image = np.full((60, 60, 3), 255, np.uint8)
    for seed in range(20):
        changed = (augmentation.erase(image, draws(seed), scale=1.0) != image).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert changed.sum() <= 60 * 60 / 3
        if len(rows):
            inside = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert inside.all()  # noise is below 255 everywhere


def test_background__behind_half_a_mask():
    image, behind = np.full((32, 32, 3), 10, np.uint8), np.full((8, 8, 3), 210, np.uint8)
    mask = np.zeros((32, 32), np.float32)
    mask[:, :16], mask[:, 16] = 1, 0.5
    found = augmentation.other_background(image, mask, behind, draws())
    assert (found[:, :16] == 10).all()
    assert (found[:, 16] == 110).all()
    assert (found[:, 17:] == 210).all()


def test_parts__are_squares_within_the_box_of_more_than_half_its_side():
    box = np.array([5.0, 7.0, 40.0, 40.0])
    for seed in range(50):
        left, top, width, height = augmentation.part_of_box(box, draws(seed))
        assert width == height
        assert 20 < width < 40
        assert left >= 5
        assert top >= 7
        assert left + width <= 45
        assert top + height <= 47


@pytest.mark.parametrize(
    "options", [AppearanceOptions(), AppearanceOptions(occlusion=1.0), AppearanceOptions(colours=False)]
)
def test_appearance__repeats_itself_and_keeps_its_argument(options):
    image = picture()
    before = image.copy()
    cutouts = [(picture(20), np.ones((20, 20), np.float32))]
    for seed in range(6):
        first, second = (augmentation.change_appearance(image, draws(seed), options, objects=cutouts) for _ in range(2))
        np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(image, before)


def test_appearance__colours_without_occlusion_are_ours_only():
    ours = AppearanceOptions(occlusion=0.0)
    published = AppearanceOptions(occlusion=0.0, colours_need_occlusion=True)
    image = picture()
    assert (augmentation.change_appearance(image, draws(), ours, objects=None) != image).any()
    assert augmentation.change_appearance(image, draws(), published, objects=None) is image


@pytest.mark.parametrize("changes", [{"occlusion": 1.2}, {"occlusion_scale": 0.0}])
def test_options__refuse(changes):
    with pytest.raises(InputError, match="occlusion: expected"):
        AppearanceOptions(**changes)

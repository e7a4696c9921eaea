import numpy as np
import pytest

from marey.core import InputError, Skeleton
from marey.viz.label_sheet import PersonMarks, labelled_picture, tiled
from marey.viz.style import person_color

STICK = Skeleton("stick", ("pelvis", "head"), ((0, 1),))
NO_BOX = np.full(4, np.nan)


def marks(keypoints, *, visible=(True, True), box=NO_BOX, color=0):
    return PersonMarks(
        keypoints=np.array(keypoints, dtype=float), visible=np.array(visible), box=np.array(box), color=color
    )


def test_labelled_picture__joints_bones_and_boxes_at_their_pixels():
    image = np.zeros((40, 60, 3), np.uint8)
    person = marks([[15, 20], [15, 10]], box=(30, 5, 20, 30), color=1)
    picture = labelled_picture(image, [person], STICK, size=(120, 80))
    color = np.array(person_color(1))
    # a pixel's centre c lies at 2 c + 0.5 in the picture that is twice as large
    for x, y in ((30, 40), (30, 20), (30, 30), (60, 40), (100, 40), (80, 10)):
        near = picture[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).astype(int)
        assert np.abs(near - color).sum(-1).min() < 90, (x, y)
    assert picture[60, 10].tolist() == [0, 0, 0]


def test_labelled_picture__what_is_missing_or_far_is_not_drawn():
    image = np.zeros((40, 60, 3), np.uint8)
    people = [marks([[np.nan, np.nan], [1e9, 5]]), marks([[np.nan] * 2] * 2, box=(np.nan, 0, 1, 1))]
    assert not labelled_picture(image, people, STICK, size=(60, 40)).any()


def test_labelled_picture__hidden_joints_are_rings():
    image = np.zeros((40, 40, 3), np.uint8)
    joints = [[10, 20], [30, 20]]
    plain = Skeleton("points", ("a", "b"), ())
    picture = labelled_picture(image, [marks(joints, visible=(True, False))], plain, size=(160, 160))
    assert picture[82, 42].any()
    assert not picture[82, 122].any()
    assert picture[78:87, 118:127].any()


def test_labelled_picture__keeps_the_aspect():
    picture = labelled_picture(np.full((10, 40, 3), 255, np.uint8), [], STICK, size=(80, 80))
    assert picture.shape == (80, 80, 3)
    assert picture[19, 79].tolist() == [255] * 3
    assert picture[20, 0].tolist() == [24] * 3


def test_tiled__rows_and_columns():
    pictures = [np.full((2, 3, 3), value, np.uint8) for value in (1, 2, 3)]
    sheet = tiled(pictures, columns=2)
    assert sheet[..., 0].tolist() == [[1] * 3 + [2] * 3] * 2 + [[3] * 3 + [24] * 3] * 2
    assert tiled(pictures, columns=9).shape == (2, 9, 3)
    with pytest.raises(InputError, match="one or more pictures and columns"):
        tiled([], columns=2)

"""Figures of one person in all views: which rows there are, and what is drawn where."""

import numpy as np
import pytest

from marey.core import InputError, Skeleton
from marey.viz.views_figure import CUBOID_EDGES, ViewDrawing, views_figure

STICK = Skeleton("stick", ("pelvis", "head"), ((0, 1),))
SIZE, HEAD, GAP = 64, 30, 4


def view(name="left", **changes):
    given = {
        "name": name,
        "image": np.zeros((SIZE, SIZE, 3), np.uint8),
        "box": np.array([10.0, 30, 40, 30]),
        "predicted": np.array([[20.0, 50.0], [40.0, 50.0]]),
    }
    return ViewDrawing(**given | changes)


def tile(figure, row, column=0):
    top, left = HEAD + row * (SIZE + GAP), column * (SIZE + GAP)
    return figure[top : top + SIZE, left : left + SIZE]


def test_figure__a_row_for_each_kind_of_thing_that_some_view_has():
    cases = [
        ({}, 2),
        ({"labelled": np.zeros((2, 2))}, 3),
        ({"labelled": np.zeros((2, 2)), "keypoints": np.zeros((2, 2))}, 4),
        ({"cuboid": np.zeros((8, 2)), "weights": np.ones(2), "keypoints": np.zeros((2, 2))}, 5),
    ]
    for changes, rows in cases:
        figure = views_figure([view(), view("right", **changes)], STICK)
        assert figure.shape == (HEAD + rows * (SIZE + GAP), 2 * SIZE + GAP, 3)
        assert figure.dtype == np.uint8


def test_figure__box_and_estimate_lie_where_they_are_said_to():
    figure = views_figure([view()], STICK)
    box, estimate = tile(figure, 0), tile(figure, 1)
    assert box[45, 10].any()
    assert box[45, 50].any()
    assert not box[45, 12:48].any()
    assert estimate[50, 20:41].any(-1).all()  # the bone between the two joints
    assert not estimate[55:, :].any()


def test_figure__what_is_missing_is_left_out():
    nothing = {"predicted": np.full((2, 2), np.nan), "box": np.full(4, np.nan)}
    figure = views_figure([view(weights=np.array([np.nan, 1.0]), **nothing)], STICK)
    assert not tile(figure, 0)[28:].any()
    assert not tile(figure, 1)[28:].any()
    bars = tile(figure, 2)[:, 40:60].astype(int)
    full = (np.abs(bars - (86, 180, 233)) < 10).all(-1)
    assert full[SIZE - 6].all()
    assert not full[35:45].any()


def test_figure__a_cuboid_is_drawn_in_what_surrounds_it():
    square = np.array([[8, 40], [56, 40], [8, 60], [56, 60]], dtype=float)
    white = np.full((SIZE, SIZE, 3), 255, np.uint8)
    far = np.full((4, 2), 1e6)
    figure = views_figure([view(cuboid=np.concatenate((square, far)), surroundings=white)], STICK)
    drawn = (tile(figure, 2)[28:] != 255).any(-1)
    assert drawn[40 - 28, 10:54].all()
    assert drawn[60 - 28, 10:54].all()
    assert not drawn[50 - 28, 12:52].any()  # and no line towards the corners far away


def test_edges__each_corner_has_three():
    assert len(CUBOID_EDGES) == len(set(CUBOID_EDGES)) == 12
    assert np.bincount(np.array(CUBOID_EDGES).reshape(-1)).tolist() == [3] * 8
    assert all(bin(a ^ b).count("1") == 1 for a, b in CUBOID_EDGES)


def test_figure__views_must_be_there_and_of_one_size():
    with pytest.raises(InputError, match="expected one or more of one size, got \\[\\]"):
        views_figure([], STICK)
    with pytest.raises(InputError, match="of one size"):
        views_figure([view(), view(image=np.zeros((32, 32, 3), np.uint8))], STICK)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import ShapeError
from marey.data import boxes


def test_points__box_of_those_that_are_known():
    points = np.array([[[3.0, 8.0], [1.0, 2.0], [np.nan, 5.0]], [[np.nan, np.nan]] * 3])
    found = boxes.boxes_of_points(points)
    np.testing.assert_array_equal(found[0], [1, 2, 2, 6])
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("shape", [(), (1,), (2, 1, 3)])
def test_shapes__are_kept(shape):
    first, second = np.broadcast_to([0.0, 0, 4, 4], (*shape, 4)), np.broadcast_to([2.0, 2, 4, 4], (*shape, 4))
    np.testing.assert_array_equal(boxes.intersect_boxes(first, second), np.broadcast_to([2.0, 2, 2, 2], (*shape, 4)))
    np.testing.assert_array_equal(boxes.hull_of_boxes(first, second), np.broadcast_to([0.0, 0, 6, 6], (*shape, 4)))
    np.testing.assert_array_equal(boxes.expand_boxes(first, 1.5), np.broadcast_to([-1.0, -1, 6, 6], (*shape, 4)))
    assert boxes.box_iou(first, second).shape == shape
    np.testing.assert_allclose(boxes.box_iou(first, second), 4 / 28)


def test_iou__of_boxes_apart_or_without_area_is_0():
    apart = boxes.box_iou(np.array([0.0, 0, 2, 2]), np.array([5.0, 5, 2, 2]))
    nothing = boxes.box_iou(np.zeros(4), np.zeros(4))
    assert (apart, nothing) == (0, 0)


def test_cut__keeps_the_sides():
    found = boxes.cut_vertically(np.array([0.0, 0, 10, 10]), np.array([4.0, 3, 2, 4]))
    np.testing.assert_array_equal(found, [0, 3, 10, 4])
    below = boxes.cut_vertically(np.array([0.0, 0, 10, 10]), np.array([0.0, 20, 2, 4]))
    np.testing.assert_array_equal(below, [0, 20, 10, 0])


@given(
    st.lists(st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(1, 30)] * 2), min_size=1, max_size=5),
    st.lists(st.tuples(*[st.floats(0, 50)] * 2, *[st.floats(1, 30)] * 2), max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_match__has_the_largest_sum_of_all_assignments(first, second):
    """Against every assignment, one after another."""
    pytest.importorskip("scipy.optimize", reason="the optional scipy is not installed")
    one, other = np.array(first).reshape(-1, 4), np.array(second).reshape(-1, 4)
    table = boxes.box_iou(one[:, None], other)

    def best(row, taken):
        if row == len(one):
            return 0.0
        free = [table[row, c] + best(row + 1, taken | {c}) for c in range(len(other)) if c not in taken]
        return max([best(row + 1, taken), *free])

    partner = boxes.match_boxes(one, other, least_iou=0.0)
    paired = partner[partner >= 0]
    assert len(set(paired.tolist())) == len(paired)
    assert table[partner >= 0, paired].sum() == pytest.approx(best(0, frozenset()), abs=1e-9)


def test_match__undoes_pairs_that_hardly_overlap():
    first, second = np.array([[0.0, 0, 10, 10], [50.0, 0, 10, 10]]), np.array([[9.5, 0.0, 10, 10], [50.0, 0, 10, 9]])
    assert boxes.match_boxes(first, second, least_iou=0.1).tolist() == [-1, 1]
    with pytest.raises(ShapeError, match="drop the confidence"):
        boxes.match_boxes(first, np.zeros((2, 5)), least_iou=0.1)

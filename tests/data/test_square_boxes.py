"""Square boxes, by the words of the specification."""

import numpy as np
import pytest

from marey.data.square_boxes import (
    cut_out,
    edges_to_spans,
    scale_boxes,
    spans_to_edges,
    square_boxes,
    square_label_boxes,
)


def words(left, top, right, bottom):
    """The rule of the label file, one box at a time, with Python's own rounding."""
    width, height = right - left, bottom - top
    if height < width:
        top = round((top + bottom) * 0.5 - width * 0.5)
        return [left, top, right, top + width]
    left = round((left + right) * 0.5 - height * 0.5)
    return [left, top, left + height, bottom]


@pytest.mark.parametrize(
    ("box", "square"),
    [
        ((10, 20, 20, 50), (0, 20, 30, 50)),
        ((0, 10, 3, 12), (0, 10, 3, 13)),  # middle 11, half a side 1.5: 9.5 rounds to the even 10
        ((0, 9, 3, 11), (0, 8, 3, 11)),  # 8.5 rounds to the even 8
        ((10, 0, 12, 5), (8, 0, 13, 5)),  # 8.5 again, now across
        ((-7, -4, 1, 0), (-7, -6, 1, 2)),
        ((5, 5, 9, 9), (5, 5, 9, 9)),
    ],
)
def test_label_square__rounds_halves_to_even(box, square):
    assert square_label_boxes(np.array(box)).tolist() == list(square)


def test_label_square__equals_the_words_for_many_boxes():
    random = np.random.default_rng(3)
    low = random.integers(-50, 1000, (500, 2))
    boxes = np.concatenate((low, low + random.integers(1, 300, (500, 2))), axis=1)
    expected = [words(*box) for box in boxes.tolist()]
    assert square_label_boxes(boxes).tolist() == expected
    assert square_label_boxes(boxes.reshape(5, 100, 4)).reshape(-1, 4).tolist() == expected


def test_square__rounds_middle_and_half_side_down():
    assert square_boxes(np.array([100, 50, 301, 450])).tolist() == [0, 50, 400, 450]
    assert square_boxes(np.array([10, 20, 15, 22])).tolist() == [10, 19, 15, 24]


def test_scale__rounds_down():
    assert scale_boxes(np.array([10, 10, 21, 30]), 1.5).tolist() == [7, 5, 23, 35]
    assert scale_boxes(np.array([10, 10, 21, 31]), 1.0).tolist() == [10, 10, 21, 31]


def test_edges__to_spans_and_back():
    edges = np.array([[3, 5, 10, 25]])
    assert edges_to_spans(edges).tolist() == [[3, 5, 7, 20]]
    assert spans_to_edges(np.array([[3, 5, 7, 20]])).tolist() == edges.tolist()


def test_cut_out__is_black_beyond_the_image():
    image = np.arange(1, 13, dtype=np.uint8).reshape(2, 2, 3)
    found = cut_out(image, np.array([-1, 1, 1, 4]))
    assert found.shape == (3, 2, 3)
    assert found[0].tolist() == [[0, 0, 0], [7, 8, 9]]
    assert not found[1:].any()
    assert cut_out(image, np.array([0, 0, 2, 2])).tolist() == image.tolist()
    assert cut_out(image, np.array([1, 0, 2, 1])).tolist() == [[[4, 5, 6]]]
    for beyond in ([5, 5, 8, 9], [-9, -9, -5, -6], [-9, 0, -5, 2]):
        assert not cut_out(image, np.array(beyond)).any()
        assert cut_out(image, np.array(beyond)).shape[:2] == (beyond[3] - beyond[1], beyond[2] - beyond[0])

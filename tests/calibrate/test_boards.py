"""Boards: their words, their corners, and the orders in which a pattern lists them."""

import pytest
import torch

from marey.calibrate.boards import parse_board
from marey.core import InputError


def test_parse_board__charuco_with_everything():
    board = parse_board("charuco:4x5:0.054:DICT_4X4_1000:inverted:legacy:marker=0.6")
    assert (board.kind, board.columns, board.rows, board.square) == ("charuco", 4, 5, 0.054)
    assert (board.dictionary, board.inverted, board.legacy, board.marker) == ("DICT_4X4_1000", True, True, 0.6)


def test_parse_board__checkerboard_counts_inner_corners():
    board = parse_board("checkerboard:7x4:0.060")
    assert (board.kind, board.grid, board.dictionary) == ("checkerboard", (7, 4), None)


@pytest.mark.parametrize(
    "spec", ["charuco:4x5:0.054:DICT_4X4_1000:inverted", "checkerboard:7x4:0.06", "charuco:6x8:0.03:DICT_5X5_50:legacy"]
)
def test_spec__is_read_back_as_the_same_board(spec):
    board = parse_board(spec)
    assert board.spec == spec
    assert parse_board(board.spec) == board


def test_points__run_along_columns_first():
    points = parse_board("charuco:4x5:0.1:DICT_4X4_50").points
    assert points.shape == (12, 3)
    expected = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.2, 0, 0], [0, 0.1, 0]]).double()
    torch.testing.assert_close(points[:4], expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected charuco:COLUMNSxROWS"),
        ("chessboard:7x4:0.06", "expected charuco:COLUMNSxROWS"),
        ("checkerboard:7:0.06", "expected charuco:COLUMNSxROWS"),
        ("checkerboard:7x4", "expected charuco:COLUMNSxROWS"),
        ("checkerboard:7x4:six", "'six' is not a length in metres"),
        ("checkerboard:7x4:60", "give its side in metres"),
        ("checkerboard:7x4:nan", "give its side in metres"),
        ("checkerboard:1x4:0.06", "2 or more inner corners along both sides"),
        ("charuco:2x5:0.05:DICT_4X4_50", "3 or more squares along both sides"),
        ("charuco:4x5:0.05", "a ChArUco board has a dictionary"),
        ("checkerboard:7x4:0.06:DICT_4X4_50", "'DICT_4X4_50' is not understood"),
        ("charuco:4x5:0.05:DICT_4X4_50:upside", "'upside' is not understood"),
        ("charuco:4x5:0.05:DICT_4X4_50:marker=0.0", "a marker has to be smaller than its square"),
    ],
)
def test_parse_board__words_that_make_no_board_are_an_error(text, message):
    with pytest.raises(InputError, match=message):
        parse_board(text)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ("charuco:5x5:0.05:DICT_4X4_50", 1),
        ("checkerboard:7x4:0.06", 1),
        ("checkerboard:6x4:0.06", 2),
        ("checkerboard:5x5:0.06", 2),
        ("checkerboard:4x4:0.06", 4),
    ],
)
def test_orders__are_as_many_as_the_pattern_leaves_open(spec, count):
    board = parse_board(spec)
    assert board.orders.shape == (count, len(board.points))
    assert board.orders[0].tolist() == list(range(len(board.points)))


@pytest.mark.parametrize("spec", ["checkerboard:6x4:0.06", "checkerboard:5x5:0.06", "checkerboard:4x4:0.06"])
def test_orders__move_the_pattern_rigidly_and_keep_its_colours(spec):
    board = parse_board(spec)
    points = board.points[:, :2]
    columns = board.grid[0]
    for order in board.orders:
        turned = points[order]
        torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(points, points))
        edges = (turned[1] - turned[0], turned[columns] - turned[0])
        assert float(edges[0][0] * edges[1][1] - edges[0][1] * edges[1][0]) > 0, "not mirrored"
        first_square = (turned[0] + turned[1] + turned[columns] + turned[columns + 1]) / 4 / board.square
        assert int(first_square.floor().sum()) % 2 == 0, "the first square keeps its colour"

"""Boards to print are found by the detector that is to find them, and have their true size."""

import re
import zlib

import cv2
import numpy as np
import pytest

from marey.calibrate.board_print import draw_board, write_board
from marey.calibrate.boards import parse_board
from marey.core import InputError


@pytest.mark.parametrize("flags", ["", ":inverted", ":legacy"])
def test_draw_board__charuco_is_found_by_opencv(flags):
    board = parse_board(f"charuco:6x4:0.03:DICT_5X5_50{flags}")
    drawn = draw_board(board, pixels=40)
    assert drawn.shape == (6 * 40, 8 * 40)
    pattern = cv2.aruco.CharucoBoard((6, 4), 0.03, 0.0225, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_50))
    pattern.setLegacyPattern(board.legacy)
    corners, ids, _, _ = cv2.aruco.CharucoDetector(pattern).detectBoard(255 - drawn if board.inverted else drawn)
    assert len(ids) == len(board.points) == 15
    expected = 40 * (board.points[ids.reshape(-1).tolist(), :2].numpy() / 0.03 + 2) - 0.5
    assert np.abs(corners.reshape(-1, 2) - expected).max() < 0.6


def test_draw_board__checkerboard_counts_inner_corners():
    drawn = draw_board(parse_board("checkerboard:5x4:0.03"), pixels=30)
    assert drawn.shape == (7 * 30, 8 * 30)
    found, corners = cv2.findChessboardCornersSB(drawn, (5, 4))
    assert found
    assert len(corners) == 20


def test_write_board__pdf_has_the_true_size(tmp_path):
    width, height = write_board(tmp_path / "board.pdf", parse_board("charuco:7x5:0.04:DICT_4X4_50"))
    assert (width, height) == pytest.approx((0.36, 0.28))
    raw = (tmp_path / "board.pdf").read_bytes()
    assert raw.startswith(b"%PDF")
    streams = b"".join(
        zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)endstream", raw, re.DOTALL) if part
    )
    box = re.search(rb"/MediaBox \[\s*0 0 ([\d.]+) ([\d.]+)", raw + streams)
    assert [float(side) for side in box.groups()] == pytest.approx([360 / 25.4 * 72, 280 / 25.4 * 72], abs=0.1)


def test_write_board__png_and_no_other(tmp_path):
    board = parse_board("checkerboard:5x4:0.03")
    write_board(tmp_path / "board.png", board)
    assert cv2.imread(str(tmp_path / "board.png")).shape == (7 * 80, 8 * 80, 3)
    with pytest.raises(InputError, match=r"expected a \.pdf"):
        write_board(tmp_path / "board.svg", board)

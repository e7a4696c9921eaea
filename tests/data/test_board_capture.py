"""The board recording's truth is true: an independent detector finds the corners where the cameras project them."""

from itertools import islice

import cv2
import numpy as np
import pytest
import torch

from marey.core import InputError
from marey.data.board_capture import BoardCaptureConfig, board_capture, write_board_capture
from marey.data.board_texture import draw_charuco, draw_checkerboard
from marey.geometry.projection import project
from marey.io.video import VideoFrames


def test_board_capture__opencv_finds_the_corners_where_they_are():
    capture = board_capture(BoardCaptureConfig(frames=6, seed=4))
    board = cv2.aruco.CharucoBoard((7, 5), 0.08, 0.06, cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    detector = cv2.aruco.CharucoDetector(board)
    inner = board.getChessboardCorners().astype(np.float64) - [0.08, 0.08, 0]  # from the first inner corner
    errors = []
    for view in range(3):
        for frame, image in enumerate(capture.frames(view)):
            corners, ids, _, _ = detector.detectBoard(image)
            if ids is None or not len(ids):
                continue
            rotation, origin = capture.board_rotation[frame].numpy(), capture.board_translation[frame].numpy()
            world = torch.from_numpy(inner @ rotation.T + origin)
            expected = project(world, capture.cameras[view]).numpy()[ids.reshape(-1)]
            errors.append(corners.reshape(-1, 2) - expected)
    found = np.concatenate(errors)
    assert len(found) > 150
    assert np.median(np.linalg.norm(found, axis=-1)) < 0.25
    assert np.abs(found.mean(0)).max() < 0.05  # no shift of a texel or of half a pixel


def test_board_capture__is_a_pure_function_of_its_settings():
    first, again, other = (
        next(board_capture(BoardCaptureConfig(frames=2, views=1, seed=seed)).frames(0)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (600, 800, 3)
    assert first.dtype == np.uint8


def test_board_capture__names_its_board():
    assert board_capture(BoardCaptureConfig(frames=1)).board == "charuco:7x5:0.08:DICT_4X4_50"


def test_write_board_capture__one_video_a_camera(tmp_path):
    capture = board_capture(BoardCaptureConfig(frames=3, views=2, image_size=(320, 240), focal_length=290))
    folder = write_board_capture(capture, tmp_path / "board")
    assert sorted(file.name for file in folder.iterdir()) == ["cam_1.mp4", "cam_2.mp4"]
    video = VideoFrames(folder / "cam_2.mp4")
    assert (len(video), video.size, video.fps) == (3, (320, 240), 10.0)
    rendered = next(islice(capture.frames(1), 1, None)).astype(float)
    assert np.abs(list(video.frames())[1].astype(float) - rendered).mean() < 6


@pytest.mark.parametrize("bad", [{"frames": 0}, {"views": 0}, {"square": 0.0}])
def test_board_capture__impossible_settings(bad):
    with pytest.raises(InputError, match="expected"):
        BoardCaptureConfig(**bad)


def test_draw_checkerboard__begins_black():
    drawn = draw_checkerboard(3, 2, pixels=2)
    assert drawn.tolist() == [[0, 0, 255, 255, 0, 0]] * 2 + [[255, 255, 0, 0, 255, 255]] * 2
    assert np.array_equal(draw_checkerboard(3, 2, pixels=2, inverted=True), 255 - drawn)


def test_draw_charuco__dictionaries_are_checked():
    with pytest.raises(InputError, match="OpenCV has no 'DICT_9X9_50'"):
        draw_charuco(5, 4, dictionary="DICT_9X9_50", pixels=10)
    with pytest.raises(InputError, match="50 markers, a board of 12x12 squares needs 72"):
        draw_charuco(12, 12, dictionary="DICT_4X4_50", pixels=10)

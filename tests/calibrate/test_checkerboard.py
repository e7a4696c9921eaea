"""Checkerboards in one picture: corners, the order that the pattern defines, and grids that are no board."""

import cv2
import numpy as np
import pytest
import torch

from calibrate.board_pictures import a_camera, render_board, some_poses
from marey.calibrate.boards import parse_board
from marey.calibrate.checkerboard import CheckerboardFinder
from marey.geometry.projection import project_from_camera
from marey.geometry.rotations import rotvec_to_matrix

UNIQUE = "checkerboard:7x4:0.06"


def shown(spec, seed=0, turn=0.0, **options):
    """A grey picture of a board turned in its plane by `turn`, and where its corners are."""
    board, camera = parse_board(spec), a_camera()
    rotation, translation = some_poses(board, camera, 1, seed=seed, fill=0.4)
    middle = board.points.mean(0)
    rolled = rotation[0] @ rotvec_to_matrix(torch.tensor([0.0, 0.0, turn]).double())
    translation = translation[0] + (rotation[0] - rolled) @ middle
    image = render_board(board, camera, rolled, translation, **options)
    pixels = project_from_camera((board.points @ rolled.mT + translation)[None], camera)[0]
    return board, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), pixels.numpy()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("turn", [0.0, 1.6, 3.1, 4.7])
def test_finder__the_colours_give_each_corner_its_name_however_the_board_is_turned(seed, turn):
    board, grey, pixels = shown(UNIQUE, seed, turn)
    found = CheckerboardFinder(board)(grey)
    assert found.seen.all()
    assert np.linalg.norm(found.corners - pixels, axis=-1).max() < 0.15
    assert np.sqrt(np.square(found.corners - pixels).sum(-1).mean()) < 0.05


@pytest.mark.parametrize("spec", ["checkerboard:6x4:0.06", "checkerboard:5x5:0.06", "checkerboard:4x4:0.06"])
@pytest.mark.parametrize("turn", [0.0, 1.6])
def test_finder__what_the_colours_leave_open_is_one_of_the_board_s_orders(spec, turn):
    board, grey, pixels = shown(spec, 1, turn)
    corners = CheckerboardFinder(board)(grey).corners
    errors = [np.linalg.norm(corners[order.numpy()] - pixels, axis=-1).max() for order in board.orders]
    assert min(errors) < 0.15
    assert corners[0].sum() == min(corners[order[0]].sum() for order in board.orders), "nearest to the top left"


def test_finder__columns_and_rows_may_be_swapped():
    _, grey, pixels = shown(UNIQUE)
    swapped = parse_board("checkerboard:4x7:0.06")
    corners = CheckerboardFinder(swapped)(grey).corners
    distances = np.linalg.norm(corners[:, None] - pixels[None], axis=-1)
    assert distances.min(-1).max() < 0.15
    assert len(set(distances.argmin(-1).tolist())) == len(pixels)


def test_finder__white_on_black_is_found_if_said():
    board, grey, pixels = shown("checkerboard:7x4:0.06:inverted")
    corners = CheckerboardFinder(board)(grey).corners
    assert np.linalg.norm(corners - pixels, axis=-1).max() < 0.15


def test_finder__a_blurred_board_is_measured_less_exactly_but_found():
    board, grey, pixels = shown(UNIQUE, blur=2.5)
    corners = CheckerboardFinder(board)(grey).corners
    assert np.sqrt(np.square(corners - pixels).sum(-1).mean()) < 0.15


def test_finder__an_empty_picture_shows_nothing():
    found = CheckerboardFinder(parse_board(UNIQUE))(np.full((480, 640), 120, np.uint8))
    assert not found.seen.any()
    assert not found.why_not


def test_finder__a_grid_on_a_bent_sheet_is_no_board():
    board, grey, pixels = shown(UNIQUE)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]].astype(np.float32)
    left, right = pixels[:, 0].min(), pixels[:, 0].max()
    bent = y + 60 * np.sin(np.pi * np.clip((x - left) / (right - left), 0, 1)).astype(np.float32)
    found = CheckerboardFinder(board)(cv2.remap(grey, x, bent, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    assert not found.seen.any()
    assert "a false grid: its corners lie" in found.why_not

"""ChArUco boards in one picture: where the corners are, seen from the front, from behind, white on black."""

import cv2
import numpy as np
import pytest

from calibrate.board_pictures import a_camera, render_board, some_poses
from marey.calibrate.boards import parse_board
from marey.calibrate.charuco import CharucoFinder
from marey.core import InputError
from marey.geometry.projection import project_from_camera

SPECS = [
    "charuco:5x4:0.05:DICT_4X4_50",
    "charuco:4x6:0.05:DICT_5X5_100:inverted",
    "charuco:5x6:0.05:DICT_6X6_50:legacy",
]


def shown(spec, seed=1, **options):
    """A grey picture of a board, and where its corners are."""
    board, camera = parse_board(spec), a_camera()
    rotation, translation = some_poses(board, camera, 1, seed=seed, fill=0.6, aside=0.2)
    image = render_board(board, camera, rotation[0], translation[0], **options)
    pixels = project_from_camera((board.points @ rotation[0].mT + translation[0])[None], camera)[0]
    return board, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), pixels.numpy()


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("seed", [1, 2])
def test_finder__finds_every_corner_within_a_tenth_of_a_pixel(spec, seed):
    board, grey, pixels = shown(spec, seed)
    found = CharucoFinder(board)(grey)
    assert found.seen.all()
    assert not found.mirrored
    assert np.linalg.norm(found.corners - pixels, axis=-1).max() < 0.2
    assert np.sqrt(np.square(found.corners - pixels).sum(-1).mean()) < 0.1


@pytest.mark.parametrize("spec", SPECS)
def test_finder__a_mirrored_picture_gives_the_same_corners_and_says_so(spec):
    board, grey, pixels = shown(spec)
    found = CharucoFinder(board)(np.ascontiguousarray(grey[:, ::-1]))
    assert found.mirrored
    assert found.seen.all()
    mirrored = np.stack((grey.shape[1] - 1 - pixels[:, 0], pixels[:, 1]), -1)
    assert np.linalg.norm(found.corners - mirrored, axis=-1).max() < 0.2


def test_finder__a_covered_part_leaves_the_other_corners():
    board, grey, pixels = shown(SPECS[0])
    covered = grey.copy()
    middle = int(pixels[:, 0].mean())
    covered[:, middle:] = 90
    found = CharucoFinder(board)(covered)
    assert 0 < found.seen.sum() < len(pixels)
    assert (pixels[found.seen, 0] < middle + 2).all()
    assert np.linalg.norm((found.corners - pixels)[found.seen], axis=-1).max() < 0.3


def test_finder__an_empty_picture_shows_nothing():
    board = parse_board(SPECS[0])
    found = CharucoFinder(board)(np.full((480, 640), 120, np.uint8))
    assert not found.seen.any()
    assert not found.mirrored


def test_finder__an_unknown_dictionary_is_an_error_that_lists_those_there_are():
    with pytest.raises(InputError, match=r"no dictionary DICT_4X4_99; it has DICT_4X4_100"):
        CharucoFinder(parse_board("charuco:5x4:0.05:DICT_4X4_99"))


def test_finder__a_dictionary_with_too_few_markers_is_an_error():
    with pytest.raises(InputError, match="needs 60 markers, DICT_4X4_50 has 50"):
        CharucoFinder(parse_board("charuco:12x10:0.05:DICT_4X4_50"))

"""From pictures to observations: moments, rejections with reasons, and why a view shows no board."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from calibrate.board_pictures import a_camera, render_boards, some_poses, write_pictures
from marey.calibrate.board_detection import detect_boards
from marey.calibrate.board_rejection import DetectionConfig
from marey.calibrate.boards import parse_board
from marey.core import InputError
from marey.geometry.projection import project_from_camera
from marey.io.images import ImageFrames
from marey.io.recordings import open_recording
from marey.io.video import VideoFrames, write_video

CHARUCO = "charuco:5x4:0.05:DICT_4X4_50"
COUNT = 5


@pytest.fixture(scope="module")
def shown():
    """A board, its pictures, and where its corners are, (M, C, 2)."""
    board, camera = parse_board(CHARUCO), a_camera()
    rotation, translation = some_poses(board, camera, COUNT, seed=4, fill=0.6, aside=0.2)
    pixels = project_from_camera((board.points @ rotation.mT + translation[:, None])[None], camera)[0]
    return board, render_boards(board, camera, rotation, translation), pixels


def pictures(folder, images):
    return ImageFrames(write_pictures(folder, images))


def test_detect_boards__two_views_of_pictures(tmp_path, shown):
    board, images, pixels = shown
    write_pictures(tmp_path / "left", images)
    write_pictures(tmp_path / "right", images[:-1])
    found = detect_boards(open_recording([tmp_path]), board)
    assert found.names == ("left", "right")
    assert found.moments == tuple(range(COUNT))
    assert found.sizes.tolist() == [[640, 480]] * 2
    assert found.frame_indices.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 3, -1]]
    assert found.rejected == ()
    assert found.seen[0].all()
    assert not found.seen[1, -1].any()
    assert float((found.pixels[0] - pixels).norm(dim=-1).max()) < 0.25
    torch.testing.assert_close(found.pixels[0, :-1], found.pixels[1, :-1])


def test_detect_boards__a_video_and_threads_give_the_same_corners(tmp_path, shown, monkeypatch):
    board, images, pixels = shown
    write_video(tmp_path / "a.mp4", images, fps=10)
    source = VideoFrames(tmp_path / "a.mp4")
    single = detect_boards([source], board)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    several = detect_boards([source], board)
    assert torch.equal(single.pixels.nan_to_num(-1), several.pixels.nan_to_num(-1))
    assert single.names == ("a",)
    assert float((single.pixels[0] - pixels).norm(dim=-1).nanmedian()) < 0.3


def test_detect_boards__frames_of_one_sync_index_are_one_moment(tmp_path, shown):
    board, images, _ = shown
    write_video(tmp_path / "cam_0.mp4", images[:4], fps=10)
    write_video(tmp_path / "cam_1.mp4", images[1:4], fps=10)
    (tmp_path / "timestamps.csv").write_text(
        "sync_index,cam_id,frame_time\n70,0,1.0\n71,0,1.1\n71,1,1.1\n72,0,1.2\n72,1,1.2\n73,1,1.3\n74,0,1.4\n",
        encoding="utf-8",
    )
    found = detect_boards(open_recording([tmp_path / "cam_0.mp4", tmp_path / "cam_1.mp4"]), board)
    assert found.moments == (70, 71, 72, 73, 74)
    assert found.frame_indices.tolist() == [[0, 1, 2, -1, 3], [-1, 0, 1, 2, -1]]
    assert "one sync index in timestamps.csv" in found.notes[0]


def test_detect_boards__pictures_with_shared_numbers_are_matched_by_them(tmp_path, shown):
    board, images, _ = shown
    for view, kept in (("left", (0, 1, 2, 4)), ("right", (1, 2, 3, 4))):
        write_pictures(tmp_path / view, [images[place] for place in kept])
        for place, number in reversed(list(enumerate(kept))):
            (tmp_path / view / f"{place:02d}.png").rename(tmp_path / view / f"img_{number}.png")
    found = detect_boards(open_recording([tmp_path]), board)
    assert found.moments == (0, 1, 2, 3, 4)
    assert found.frame_indices.tolist() == [[0, 1, 2, -1, 3], [-1, 0, 1, 2, 3]]
    assert "same number" in found.notes[0]


def test_detect_boards__photographs_of_views_on_their_own(tmp_path, shown):
    board, images, _ = shown
    write_pictures(tmp_path / "left", images[:2])
    write_pictures(tmp_path / "right", images[2:])
    found = detect_boards(open_recording([tmp_path]), board, simultaneous=False)
    assert found.moments == (0, 1, 2)
    assert not found.simultaneous
    assert found.seen.any(-1).tolist() == [[True, True, False], [True, True, True]]


def test_detect_boards__every_second_moment(tmp_path, shown):
    board, images, _ = shown
    found = detect_boards([pictures(tmp_path / "a", images)], board, every=2)
    assert found.moments == (0, 2, 4)
    assert found.notes[0] == "Of 5 moments every 2nd was searched."
    with pytest.raises(InputError, match="every: expected 1"):
        detect_boards([pictures(tmp_path / "b", images)], board, every=0)


def test_detect_boards__long_recordings_are_thinned(tmp_path, shown):
    board, images, _ = shown
    found = detect_boards([pictures(tmp_path / "a", images)], board, config=DetectionConfig(most_moments=2))
    assert found.moments == (0, 3)


def test_detect_boards__the_same_picture_twice_is_named(tmp_path, shown):
    board, images, _ = shown
    found = detect_boards([pictures(tmp_path / "a", [*images[:3], images[0]])], board, simultaneous=False)
    assert [(item.moment, item.why) for item in found.rejected] == [(3, "03.png: the same picture as 00.png")]
    assert not found.seen[0, 3].any()


def test_detect_boards__a_blurred_picture_is_named(tmp_path, shown):
    board, images, _ = shown
    blurred = cv2.blur(images[1], (5, 5))
    source = pictures(tmp_path / "a", [images[0], blurred, *images[2:]])
    found = detect_boards([source], board, simultaneous=False, config=DetectionConfig(blur=1.5, blur_width=2.0))
    assert [item.moment for item in found.rejected] == [1]
    assert found.rejected[0].why.startswith("01.png: blurred: its edges are")


def test_detect_boards__moments_without_movement_are_thinned(tmp_path, shown):
    board, images, _ = shown
    noise = np.random.default_rng(0)
    again = [np.clip(images[0].astype(int) + noise.integers(-9, 10, images[0].shape), 0, 255).astype(np.uint8)] * 2
    again[1] = np.clip(again[0].astype(int) + noise.integers(-9, 10, images[0].shape), 0, 255).astype(np.uint8)
    found = detect_boards([pictures(tmp_path / "a", [images[0], *again, images[1]])], board)
    assert found.moments == (0, 3)
    assert any("2 moments in which the board had not moved" in note for note in found.notes)


def test_detect_boards__too_few_and_collinear_corners_are_named(tmp_path, shown):
    board, images, pixels = shown
    strip, corner = images[0].copy(), images[1].copy()
    row = pixels[0].reshape(3, 4, 2)
    cut = int(row[:2, :, 1].mean())
    strip[cut + 12 :] = 100
    x, y = pixels[1][0].int().tolist()
    far = np.hypot(*(np.indices(corner.shape[:2])[::-1] - np.array([x, y])[:, None, None])) > 62
    corner[far] = 100
    found = detect_boards([pictures(tmp_path / "a", [strip, corner, *images[2:]])], board, simultaneous=False)
    assert {item.moment for item in found.rejected} <= {0, 1}
    assert any("corners are seen" in item.why or "on one line" in item.why for item in found.rejected)


def test_detect_boards__a_board_too_small_in_the_picture_is_named(tmp_path):
    board, camera = parse_board("checkerboard:7x4:0.06"), a_camera()
    near, far = (some_poses(board, camera, 1, seed=2, fill=fill, tilt=0.2) for fill in (0.6, 0.11))
    poses = [torch.cat(pair) for pair in zip(near, far, strict=True)]
    images = render_boards(board, camera, *poses, blur=0.5)
    found = detect_boards([pictures(tmp_path / "a", images)], board, config=DetectionConfig(least_square=12.0))
    assert [item.moment for item in found.rejected] == [1]
    assert "01.png: too small:" in found.rejected[0].why


def test_detect_boards__a_mirrored_board_is_seen_from_behind_and_told(tmp_path, shown):
    board, images, pixels = shown
    found = detect_boards([pictures(tmp_path / "a", [image[:, ::-1].copy() for image in images])], board)
    assert "sees the board mirrored in 5 of the 5 pictures" in found.findings[0].text
    assert float((found.pixels[0, ..., 0] - (639 - pixels[..., 0])).abs().max()) < 0.25


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param(
            "charuco:5x4:0.05:DICT_5X5_100",
            r"markers are of DICT_4X4_50, black on white.*try --board charuco:5x4:0.05:DICT_4X4_50",
        ),
        pytest.param(
            "charuco:5x4:0.05:DICT_4X4_50:inverted",
            r"DICT_4X4_50, black on white.*try --board charuco:5x4:0.05:DICT_4X4_50",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "charuco:4x5:0.05:DICT_4X4_50",
            r"arranged otherwise; try --board charuco:5x4:0.05:DICT_4X4_50",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "charuco:3x4:0.05:DICT_4X4_50", r"but a board of 3x4 squares has only 0 to 5", marks=pytest.mark.slow
        ),
    ],
)
def test_detect_boards__another_charuco_board_is_named(tmp_path, shown, given, message):
    with pytest.raises(InputError, match=message):
        detect_boards([pictures(tmp_path / "a", shown[1][:1])], parse_board(given))


def test_detect_boards__squares_counted_instead_of_corners_are_told(tmp_path):
    board, camera = parse_board("checkerboard:7x4:0.06"), a_camera()
    images = render_boards(board, camera, *some_poses(board, camera, 1, seed=2, fill=0.6, aside=0.2))
    with pytest.raises(InputError, match=r"7x4 inner corners; try --board checkerboard:7x4:0.06 \(inner corners are"):
        detect_boards([pictures(tmp_path / "a", images)], replace(board, columns=8, rows=5))


def test_detect_boards__a_view_that_never_shows_the_board_is_named(tmp_path, shown):
    board, images, _ = shown
    grey = [np.full_like(images[0], 120) + place for place in range(2)]
    found = detect_boards([pictures(tmp_path / "left", images[:2]), pictures(tmp_path / "right", grey)], board)
    assert found.findings[0].text.startswith("right never shows the board: no marker")
    assert not found.seen[1].any()


def test_detect_boards__pictures_of_different_sizes_in_a_view_are_an_error_that_names_them(tmp_path, shown):
    board, images, _ = shown
    folder = write_pictures(tmp_path / "a", [*images[:1], images[1][:-2]])
    with pytest.raises(InputError, match=r"01\.png: \(640, 478\) pixels, but 00\.png has \(640, 480\)"):
        detect_boards(open_recording([folder]), board)


def test_detect_boards__keypoints_are_no_pictures():
    with pytest.raises(InputError, match="give videos or images of every view"):
        detect_boards([], parse_board(CHARUCO))


@pytest.mark.realdata
@pytest.mark.slow
def test_detect_boards__real_recording_agrees_with_what_caliscope_found(shared_data):
    folder = shared_data / "caliscope_charuco/4_cam_recording/calibration/extrinsic"
    board = parse_board("charuco:4x5:0.054:DICT_4X4_1000:inverted")
    found = detect_boards(open_recording([folder]), board)
    rows = np.genfromtxt(folder / "xy.csv", delimiter=",", names=True)
    views, moments = rows["cam_id"].astype(int), np.searchsorted(found.moments, rows["sync_index"])
    theirs = np.stack((rows["img_loc_x"], rows["img_loc_y"]), -1)
    ours = found.pixels.numpy()[views, moments, rows["keypoint_id"].astype(int)]
    distance = np.linalg.norm(ours - theirs, axis=-1)
    assert np.isfinite(distance).mean() > 0.97
    assert np.nanmedian(distance) < 0.6
    assert np.nanpercentile(distance, 99) < 5
    assert any("cam_1 sees the board mirrored" in finding.text for finding in found.findings)

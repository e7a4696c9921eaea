"""Boards, cameras and clocks that are not as they should be: what `marey calibrate` and its friends say of them."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from marey.cli.main import main
from marey.data.board_capture import BoardCapture, BoardCaptureConfig, board_capture
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.io.camera_toml import read_camera_toml, write_camera_toml
from marey.io.images import write_image

CONFIG = BoardCaptureConfig(frames=8, views=2, image_size=(640, 480), focal_length=576, arc=40)
FRAMES = 90
Pictures = Iterable[np.ndarray]


@pytest.fixture(scope="module")
def capture() -> BoardCapture:
    return board_capture(CONFIG)


@pytest.fixture(scope="module")
def seen(capture) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The pictures of both views."""
    return list(capture.frames(0)), list(capture.frames(1))


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    recording = make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, views=3, seed=21))
    return write_keypoint_capture(recording, tmp_path_factory.mktemp("people") / "recording")


def put(folder: Path, views: Mapping[str, Pictures | Mapping[str, np.ndarray]]) -> Path:
    """Write the pictures of each view into a folder of its own, named 0000.png, ... or as they are."""
    for view, pictures in views.items():
        (folder / view).mkdir(parents=True)
        named = pictures if isinstance(pictures, Mapping) else {f"{i:04d}.png": p for i, p in enumerate(pictures)}
        for name, picture in named.items():
            write_image(folder / view / name, np.ascontiguousarray(picture))
    return folder


def run(capsys, *words: object) -> tuple[int, str]:
    """Exit status, and everything that was said."""
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def calibrated(capsys, tmp_path, capture, views, *more: object, board: str = "") -> tuple[int, str, dict]:
    """Calibrate pictures with the true lenses: exit status, what was said, report.json if there is one."""
    lenses = tmp_path / "lenses.toml"
    write_camera_toml(lenses, replace(capture.cameras, rotation=None, translation=None))
    folder = put(tmp_path / "pictures", views)
    code, said = run(
        capsys, "calibrate", folder, "--board", board or capture.board, "--intrinsics", lenses, "--out",
        tmp_path / "out", *more,
    )  # fmt: skip
    report = tmp_path / "out" / "report.json"
    return code, said, json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}


def blank(count: int) -> list[np.ndarray]:
    return [np.full((480, 640, 3), 120, np.uint8)] * count


def test_calibrate__a_board_too_small_in_the_pictures(capsys, tmp_path, capture):
    far = board_capture(replace(CONFIG, distance=9.0, frames=2))
    views = {"cam_1": far.frames(0), "cam_2": far.frames(1)}
    code, said, _ = calibrated(capsys, tmp_path, capture, views)
    assert code == 2
    assert "cam_1, cam_2: no marker of any dictionary was recognised" in said
    assert "large enough (10 px a square or more)" in said


def test_calibrate__one_camera_that_mirrors_is_named(capsys, tmp_path, capture, seen):
    code, said, _ = calibrated(capsys, tmp_path, capture, {"cam_1": seen[0], "cam_2": [p[:, ::-1] for p in seen[1]]})
    assert code == 2
    assert "cam_2 sees the board mirrored in 8 of the 8 pictures" in said
    assert "flip the pictures" in said


def test_calibrate__a_world_in_the_mirror_is_told(capsys, tmp_path, capture, seen):
    views = {"cam_1": [p[:, ::-1] for p in seen[0]], "cam_2": [p[:, ::-1] for p in seen[1]]}
    code, said, report = calibrated(capsys, tmp_path, capture, views)
    assert code == 0
    assert "- cam_1 sees the board mirrored" in said
    assert report["verdict"]["text"].startswith("Usable, with reservations")


def test_calibrate__a_pair_that_never_sees_it_together(capsys, tmp_path, capture, seen):
    views = {"cam_1": seen[0][:4] + blank(4), "cam_2": blank(4) + seen[1][4:]}
    code, said, _ = calibrated(capsys, tmp_path, capture, views)
    assert code == 2
    assert "Show the board to cam_1 and cam_2 together" in said


def test_calibrate__a_view_that_never_sees_it(capsys, tmp_path, capture, seen):
    code, said, _ = calibrated(capsys, tmp_path, capture, {"cam_1": seen[0], "cam_2": blank(8)})
    assert code == 2
    assert "cam_2 never shows the board: no marker of any dictionary was recognised" in said
    assert "leave cam_2 out" in said


@pytest.fixture(scope="module")
def near() -> tuple[BoardCapture, list[np.ndarray], list[np.ndarray]]:
    """A board with markers so large that they are read where they are blurred, and the pictures of both views."""
    close = board_capture(replace(CONFIG, frames=12, distance=1.2, columns=4, rows=3, square=0.12))
    return close, list(close.frames(0)), list(close.frames(1))


def blurred(picture: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), 2.5)


def test_calibrate__blurred_and_repeated_pictures_are_left_out_and_named(capsys, tmp_path, near):
    close, one, two = near
    views = {
        "cam_1": [blurred(p) if i % 3 == 2 else p for i, p in enumerate(one)],
        "cam_2": [*two[:4], two[3], *two[5:]],
    }
    _, said, report = calibrated(capsys, tmp_path, close, views)
    told = [item["why"] for item in report["rejected"]]
    assert any("blurred: its edges are" in why for why in told), (said, told)
    assert "0004.png: the same picture as 0003.png" in told


def test_calibrate__what_blur_has_cost_is_told_with_the_error(capsys, tmp_path, near):
    close, one, two = near
    views = {"cam_1": [*one[:8], *map(blurred, one[8:])], "cam_2": [*blank(8), *two[8:]]}
    code, said, _ = calibrated(capsys, tmp_path, close, views)
    assert code == 2
    assert "pictures of the board were left out, such as" in said


def test_calibrate__the_dictionary_that_fits_is_named(capsys, tmp_path, capture, seen):
    views = {"cam_1": seen[0][:1], "cam_2": seen[1][:1]}
    code, said, _ = calibrated(capsys, tmp_path, capture, views, board="charuco:7x5:0.08:DICT_6X6_250")
    assert code == 2
    assert "its markers are of DICT_4X4_50, black on white" in said
    assert "try --board charuco:7x5:0.08:DICT_4X4_50" in said


def test_calibrate__a_camera_that_moved_far_is_named(capsys, tmp_path):
    true = board_capture(replace(CONFIG, frames=24))
    away = true.cameras.translation + torch.tensor([[0, 0, 0], [0.08, 0.03, 0]], dtype=torch.float64)
    later = replace(true, cameras=replace(true.cameras, translation=away))
    pictures = [*list(true.frames(1))[:12], *list(later.frames(1))[12:]]
    code, said, report = calibrated(capsys, tmp_path, true, {"cam_1": true.frames(0), "cam_2": pictures})
    assert code == 0
    assert "moved between moments 11 and 12: by 8" in said  # 85 mm
    assert "Fix cam_" in said
    assert report["verdict"]["text"].startswith("Not usable as it is")
    assert (tmp_path / "out" / "calibration.toml").is_file()


def test_calibrate__a_counter_that_began_anew_is_told(capsys, tmp_path, capture, seen):
    named = [{f"{(place + 252) % 256:03d}.png": p for place, p in enumerate(view)} for view in seen]
    code, said, _ = calibrated(capsys, tmp_path, capture, {"cam_1": named[0], "cam_2": named[1]})
    assert code == 0
    assert "cam_1: its pictures are numbered 0 to 3 and 252 to 255, as by a counter that began anew" in said
    assert "Number the pictures on" in said


def test_calibrate__pictures_of_two_sizes_in_a_view(capsys, tmp_path, capture, seen):
    views = {"cam_1": seen[0], "cam_2": [*seen[1][:4], *(cv2.resize(p, (320, 240)) for p in seen[1][4:])]}
    code, said, _ = calibrated(capsys, tmp_path, capture, views)
    assert code == 2
    assert "cam_2/0004.png: (320, 240) pixels, but 0000.png has (640, 480); one view has one size" in said


def test_calibrate__lenses_for_another_resolution(capsys, tmp_path, capture, seen):
    double = torch.diag(torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64))
    cameras = capture.cameras
    larger = replace(cameras, intrinsics=double @ cameras.intrinsics, image_size=2 * cameras.image_size)
    code, said, _ = calibrated(capsys, tmp_path, replace(capture, cameras=larger), {"cam_1": seen[0], "cam_2": seen[1]})
    assert code == 2
    assert "view 'cam_1': its images are 640x480 and its calibration is for 1280x960" in said


def folding(capture: BoardCapture) -> BoardCapture:
    """With a distortion of cam_2 that has no inverse in most of the image."""
    distortion = capture.cameras.distortion.clone()
    distortion[1] = torch.tensor([-1.5, 0, 0, 0, 0])
    return replace(capture, cameras=replace(capture.cameras, distortion=distortion))


def test_calibrate__a_lens_that_cannot_be_inverted_is_told_with_the_error(capsys, tmp_path, capture, seen):
    code, said, _ = calibrated(capsys, tmp_path, folding(capture), {"cam_1": seen[0], "cam_2": seen[1]})
    assert code == 2
    assert "cam_2: the distortion has no inverse in 7" in said
    assert "Calibrate with fewer coefficients" in said


def test_calibrate_check__a_lens_that_cannot_be_inverted(capsys, tmp_path, capture):
    write_camera_toml(tmp_path / "cameras.toml", folding(capture).cameras)
    code, said = run(capsys, "calibrate", "check", tmp_path / "cameras.toml")
    assert code == 0
    assert "Not usable as it is: cam_2: the distortion has no inverse in 7" in said


def test_calibrate__lenses_are_kept_where_the_ground_is_not(capsys, tmp_path, capture, seen):
    folder = put(tmp_path / "pictures", {"cam_1": seen[0], "cam_2": seen[1]})
    code, said = run(
        capsys, "calibrate", folder, "--board", capture.board, "--lens", "k1", "--ground", 99, "--out", tmp_path / "out"
    )
    assert code == 2
    assert "no board at 99" in said
    assert f"The lenses are kept in {tmp_path / 'out' / 'calibration.toml'}" in said
    assert not read_camera_toml(tmp_path / "out" / "calibration.toml").has_extrinsics


def renumbered(people: Path, folder: Path, number: int) -> Path:
    """The recording with the files of cam_2 numbered as a counter of 8 bits does, from a number on."""
    copy = Path(shutil.copytree(people, folder))
    files = sorted((copy / "cam_2").glob("*.json"))
    contents = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    for place, content in enumerate(contents):
        (copy / "cam_2" / f"{(number + place) % 256:06d}_keypoints.json").write_bytes(content)
    return copy


def test_estimate__a_counter_of_keypoint_files_that_began_anew_is_told(capsys, people, tmp_path):
    folder = renumbered(people, tmp_path / "recording", 200)
    code, said = run(
        capsys, "estimate", folder, "--calibration", folder / CALIBRATION_FILE, "--fps", 60, "--no-overlay", "--sync",
        "none", "--refine", "none", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert "cam_2: the frame numbers reach much farther than in other views" in said
    assert "rename the files" in said


def test_synchronize__clocks_that_never_overlap(capsys, people, tmp_path):
    """cam_2 shows another minute, with another motion."""
    other = make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, views=3, seed=77))
    elsewhere = write_keypoint_capture(other, tmp_path / "other")
    mixed = Path(shutil.copytree(people, tmp_path / "mixed"))
    shutil.rmtree(mixed / "cam_2")
    shutil.copytree(elsewhere / "cam_2", mixed / "cam_2")
    code, said = run(
        capsys, "synchronize", mixed, "--calibration", mixed / CALIBRATION_FILE, "--fps", 60, "--out", tmp_path / "out"
    )
    assert code == 0
    assert "- cam_2: " in said
    assert "Give its offset" in said or "give the offset" in said
    assert "Not every view is sure" in said
    written = json.loads((tmp_path / "out" / "synchronisation.json").read_text(encoding="utf-8"))
    assert written["views"]["cam_2"]["confidence"] < 0.9


def test_estimate__offsets_without_a_common_moment(capsys, people, tmp_path):
    code, said = run(
        capsys, "estimate", people, "--calibration", people / CALIBRATION_FILE, "--fps", 60, "--no-overlay", "--sync",
        "cam_2=100", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 2
    assert "the views cam_2 have no moment in common with any other at these offsets; check them" in said

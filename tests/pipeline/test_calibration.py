"""From films of a board to cameras and files, on a recording whose truth is known; checks; people; bad input."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from marey.calibrate.calibration import Calibration
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.data.board_capture import BoardCapture, BoardCaptureConfig, board_capture, write_board_capture
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.geometry.alignment import align
from marey.geometry.rotations import geodesic_angle
from marey.io.camera_toml import read_camera_toml, write_camera_toml
from marey.pipeline.calibration import CalibrateConfig, calibrate, check_calibration, refine_calibration

FAST = CalibrateConfig(lens="k1_k2")


@pytest.fixture(scope="module")
def capture() -> BoardCapture:
    return board_capture(BoardCaptureConfig(frames=16, image_size=(640, 480), focal_length=576, seed=1))


@pytest.fixture(scope="module")
def film(capture, tmp_path_factory) -> Path:
    return write_board_capture(capture, tmp_path_factory.mktemp("film") / "board")


@pytest.fixture(scope="module")
def truth(capture, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("truth") / "true.toml"
    write_camera_toml(file, capture.cameras)
    return file


@pytest.fixture(scope="module")
def whole(film, capture, tmp_path_factory) -> tuple[Calibration, Path]:
    out = tmp_path_factory.mktemp("whole")
    return calibrate(film, capture.board, out=out, config=FAST), out


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    recording = make_keypoint_capture(KeypointCaptureConfig(frames=90, people=1, seed=17))
    return write_keypoint_capture(recording, tmp_path_factory.mktemp("people") / "recording")


def placed_off(found: Cameras, true: Cameras) -> tuple[float, float]:
    """Millimetres and degrees between cameras after the best rigid motion: the board's size has to be right."""
    move = align(found.centers, true.centers)
    apart = (move.apply(found.centers) - true.centers).norm(dim=-1).amax()
    turn = geodesic_angle(found.extrinsics[0] @ move.rotation.mT, true.extrinsics[0]).amax()
    return 1000 * float(apart), float(turn.rad2deg())


def moved(file: Path, target: Path, view: int, metres: float) -> Path:
    """The same calibration with one camera somewhere else."""
    cameras = read_camera_toml(file, dtype=torch.float64)
    center = cameras.centers.clone()
    center[view, 0] += metres
    rotation, _ = cameras.extrinsics
    write_camera_toml(target, replace(cameras, translation=-(rotation @ center[..., None])[..., 0]))
    return target


def test_calibrate__recovers_the_cameras_of_a_film(whole, capture):
    calibration, _ = whole
    apart_mm, apart_degrees = placed_off(calibration.cameras, capture.cameras)
    assert apart_mm < 8
    assert apart_degrees < 0.6
    focal = calibration.cameras.intrinsics[:, 0, 0] / capture.cameras.intrinsics[:, 0, 0]
    assert float((focal - 1).abs().max()) < 0.01
    assert calibration.cameras.names == ("cam_1", "cam_2", "cam_3")
    assert calibration.deviation.shape == (3, len(calibration.parameter_names))
    assert float(calibration.residuals[calibration.used].norm(dim=-1).median()) < 0.4


def test_calibrate__its_files_hold_the_same_cameras(whole):
    calibration, out = whole
    read = read_camera_toml(out / "calibration.toml", dtype=torch.float64)
    assert torch.allclose(read.centers, calibration.cameras.centers, atol=1e-9)
    assert 'unit = "m"' in (out / "calibration.toml").read_text(encoding="utf-8")
    numbers = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert numbers["facts"]["Board"] == "charuco:7x5:0.08:DICT_4X4_50"
    assert numbers["views"][1]["parameters"]["x"]["value"] == float(calibration.cameras.centers[1, 0])
    assert numbers["views"][1]["parameters"]["x"]["deviation"] > 0
    assert 0 < numbers["rigid_board_rms_mm"] < 3
    html = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" in html
    assert sorted(file.name for file in out.iterdir()) == ["calibration.toml", "report.html", "report.json"]


def test_calibrate__given_lenses_are_held(film, truth, capture):
    found = calibrate(film, capture.board, intrinsics=truth)
    assert torch.equal(found.cameras.intrinsics, capture.cameras.intrinsics)
    assert torch.equal(found.cameras.distortion, capture.cameras.distortion)
    apart_mm, apart_degrees = placed_off(found.cameras, capture.cameras)
    assert apart_mm < 3
    assert apart_degrees < 0.15
    assert torch.equal(found.deviation[0], torch.zeros_like(found.deviation[0]))  # the first camera is the world


def test_calibrate__lenses_alone_and_a_single_view(film, capture, tmp_path):
    found = calibrate(film / "cam_2.mp4", capture.board, out=tmp_path, config=FAST)
    assert not found.cameras.has_extrinsics
    assert found.parameter_names[:4] == ("fx", "fy", "cx", "cy")
    assert not read_camera_toml(tmp_path / "calibration.toml").has_extrinsics
    assert "the lenses describe the board" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_calibrate__lenses_are_kept_where_places_cannot_be_found(capture, tmp_path):
    """Two films of one camera each, in which the board is never seen by both at one moment."""
    long = board_capture(BoardCaptureConfig(frames=24, views=1, image_size=(640, 480), focal_length=576, seed=3))
    blank = [next(long.frames(0)) // 4] * 24
    from marey.io.video import write_video

    shown = list(long.frames(0))
    folder = tmp_path / "film"
    folder.mkdir()
    write_video(folder / "one.mp4", shown[:12] + blank[:12], fps=10)
    write_video(folder / "two.mp4", blank[:12] + shown[12:], fps=10)
    with pytest.raises(CalibrationError, match=r"one and two together.*The lenses are kept in .*calibration\.toml"):
        calibrate(folder, long.board, out=tmp_path / "out", config=FAST)
    assert read_camera_toml(tmp_path / "out" / "calibration.toml").names == ("one", "two")
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_calibrate__the_wrong_dictionary_is_named(film):
    with pytest.raises(InputError, match="DICT_4X4"):
        calibrate(film, "charuco:7x5:0.08:DICT_6X6_250")


@pytest.mark.parametrize(
    ("board", "message"),
    [("charuco:7x5", "expected charuco:COLUMNSxROWS"), ("charuco:7x5:0.08", "a ChArUco board has a dictionary")],
)
def test_calibrate__a_board_that_is_none(film, board, message):
    with pytest.raises(InputError, match=message):
        calibrate(film, board)


def test_calibrate__lenses_of_other_cameras(film, capture, tmp_path):
    file = tmp_path / "other.toml"
    write_camera_toml(file, replace(capture.cameras[:2], names=("left", "right")))
    with pytest.raises(CalibrationError, match="calibration is of other cameras"):
        calibrate(film, capture.board, intrinsics=file)


def test_calibrate__keypoints_show_no_board(people, capture):
    with pytest.raises(InputError, match="keypoints only; a board is found in videos or images"):
        calibrate(people, capture.board)


def test_calibrate__a_folder_that_cannot_be_written_is_told_first(film, capture, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write into"):
        calibrate(film, capture.board, out=tmp_path / "file")


def test_check_calibration__right_cameras_are_good(film, truth, capture, tmp_path):
    report = check_calibration(truth, film, board=capture.board, out=tmp_path)
    assert report.assessment.level == "good"
    assert report.assessment.error_px < 0.6
    assert report.rigid_mm < 2
    assert torch.allclose(report.calibration.cameras.centers, capture.cameras.centers, atol=1e-12)
    assert not (tmp_path / "calibration.toml").exists()  # nothing is changed
    assert (tmp_path / "report.html").is_file()


def test_check_calibration__a_camera_that_was_moved_is_named(film, truth, capture, tmp_path):
    file = moved(truth, tmp_path / "moved.toml", 1, 0.03)
    report = check_calibration(file, film, board=capture.board)
    assert report.assessment.level == "not usable"
    assert "The views do not agree where the board is: cam_2" in report.assessment.verdict


def test_check_calibration__a_lens_that_bends_the_other_way_is_named(film, capture, tmp_path):
    wrong = capture.cameras.distortion.clone()
    wrong[2, 0] = 1.0
    write_camera_toml(tmp_path / "lens.toml", replace(capture.cameras, distortion=wrong))
    report = check_calibration(tmp_path / "lens.toml", film, board=capture.board)
    assert any("cam_3: even a single picture" in finding.text for finding in report.assessment.findings)


def test_check_calibration__the_file_alone(truth, tmp_path):
    report = check_calibration(truth, out=tmp_path)
    assert report.assessment.evidence == "file"
    assert report.assessment.level == "good"
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["error_px"] is None


def test_check_calibration__by_people(people, tmp_path):
    good = check_calibration(people / CALIBRATION_FILE, people)
    assert good.assessment.level == "good"
    assert any("Heights above the ground" in note for note in good.calibration.notes)
    file = moved(people / CALIBRATION_FILE, tmp_path / "moved.toml", 2, 0.12)
    bad = check_calibration(file, people, out=tmp_path / "out")
    assert bad.assessment.level == "usable"
    assert bad.assessment.error_px > 1.5 * good.assessment.error_px
    assert any("Slightly other cameras agree better" in finding.text for finding in bad.assessment.findings)
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["evidence"] == "people"


def test_check_calibration__without_places_or_with_a_board_and_no_film(film, capture, truth, tmp_path):
    write_camera_toml(tmp_path / "lenses.toml", replace(capture.cameras, rotation=None, translation=None))
    with pytest.raises(CalibrationError, match="no camera positions in it"):
        check_calibration(tmp_path / "lenses.toml", film, board=capture.board)
    assert check_calibration(tmp_path / "lenses.toml").assessment.level == "usable"
    with pytest.raises(InputError, match="a board, but no recording of it"):
        check_calibration(truth, board=capture.board)


def test_check_calibration__no_camera_file(tmp_path):
    (tmp_path / "empty.toml").write_text("[metadata]\n", encoding="utf-8")
    with pytest.raises((CalibrationError, FormatError)):
        check_calibration(tmp_path / "empty.toml")


def test_refine_calibration__puts_a_moved_camera_back(people, tmp_path):
    true = read_camera_toml(people / CALIBRATION_FILE, dtype=torch.float64)
    file = moved(people / CALIBRATION_FILE, tmp_path / "moved.toml", 2, 0.06)
    report = refine_calibration(file, people, out=tmp_path / "out")
    found = read_camera_toml(tmp_path / "out" / "calibration.toml", dtype=torch.float64)
    before = placed_off(read_camera_toml(file, dtype=torch.float64), true)
    assert placed_off(found, true)[0] < 0.6 * before[0]
    assert report.calibration.deviation.shape == (4, 6)
    numbers = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert numbers["views"][0]["parameters"]["rx"]["deviation"] > 0
    assert "goes from" in numbers["findings"][0]["text"]


def test_refine_calibration__one_view_cannot_disagree(people, tmp_path):
    cameras = read_camera_toml(people / CALIBRATION_FILE)
    write_camera_toml(tmp_path / "one.toml", cameras[:1])
    shutil.copytree(people / "cam_1", tmp_path / "cam_1")
    with pytest.raises(InputError, match="one view cannot disagree with itself"):
        refine_calibration(tmp_path / "one.toml", tmp_path / "cam_1")


@pytest.mark.realdata
def test_refine_calibration__of_a_real_recording(shared_data):
    place = shared_data / "pose2sim_demo"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        report = refine_calibration(place / "calibration" / "Calib_qualisys.toml", place / "balancing" / "pose")
    assert report.assessment.error_px < 8.5
    assert float(report.calibration.deviation[:, :3].rad2deg().amax()) < 1.5


@pytest.mark.realdata
@pytest.mark.slow
def test_calibrate__the_pictures_of_a_real_scene_without_a_board(shared_data):
    place = shared_data / "pose2sim_demo" / "calibration"
    with pytest.raises(InputError, match="no view shows the board"):
        calibrate(place / "extrinsics", "checkerboard:7x4:0.060", intrinsics=place / "Calib_qualisys.toml")


@pytest.mark.realdata
@pytest.mark.slow
def test_calibrate__photographs_for_lenses_of_real_cameras(shared_data):
    place = shared_data / "pose2sim_demo" / "calibration" / "intrinsics"
    found = calibrate(place, "checkerboard:7x4:0.060", config=CalibrateConfig(only="intrinsics"))
    assert len(found.cameras.intrinsics) == 4
    squared = torch.where(found.used, found.residuals.square().sum(-1), torch.nan)
    assert float(squared.flatten(1).nanmean(-1).sqrt().amax()) < 0.2


@pytest.mark.realdata
@pytest.mark.slow
def test_calibrate__a_real_film_with_given_lenses(shared_data, tmp_path):
    place = shared_data / "caliscope_charuco" / "4_cam_recording"
    board = "charuco:4x5:0.054:DICT_4X4_1000:inverted"
    calibrate(place / "calibration" / "extrinsic", board, intrinsics=place / "camera_array.toml", out=tmp_path)
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers["rigid_board_rms_mm"] < 0.85
    assert len(numbers["views"]) == 4
    assert (tmp_path / "report.html").stat().st_size < 3_000_000

"""`marey calibrate`, its two further words, and what it says."""

from dataclasses import replace
from pathlib import Path

import pytest

from marey.cli.main import main
from marey.data.board_capture import BoardCapture, BoardCaptureConfig, board_capture, write_board_capture
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.io.camera_toml import read_camera_toml, write_camera_toml


@pytest.fixture(scope="module")
def capture() -> BoardCapture:
    return board_capture(BoardCaptureConfig(frames=8, views=2, image_size=(640, 480), focal_length=576, arc=40))


@pytest.fixture(scope="module")
def place(capture, tmp_path_factory) -> Path:
    """Folder with a film of a board, `film`, its true cameras, `true.toml`, and people, `people`."""
    folder = tmp_path_factory.mktemp("place")
    write_board_capture(capture, folder / "film")
    write_camera_toml(folder / "true.toml", capture.cameras)
    write_keypoint_capture(make_keypoint_capture(KeypointCaptureConfig(frames=60, seed=5)), folder / "people")
    return folder


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_calibrate__with_given_lenses(capsys, place, capture, tmp_path):
    code, said, _ = run(
        capsys, "calibrate", place / "film", "--board", capture.board, "--intrinsics", place / "true.toml",
        "--out", tmp_path,
    )  # fmt: skip
    assert code == 0
    assert f"wrote {tmp_path / 'calibration.toml'}" in said
    assert "the views agree about the board within" in said
    found = read_camera_toml(tmp_path / "calibration.toml")
    apart = (found.centers[0] - found.centers[1]).norm()
    true = (capture.cameras.centers[0] - capture.cameras.centers[1]).norm()
    assert float(apart) == pytest.approx(float(true), abs=0.005)


def test_calibrate_check__the_file_alone(capsys, place):
    code, said, _ = run(capsys, "calibrate", "check", place / "true.toml")
    assert code == 0
    assert "sees 5" in said
    assert said.endswith("Good, as far as the file alone can tell.\n")


def test_calibrate_check__by_a_board_and_by_people(capsys, place, capture, tmp_path):
    code, said, _ = run(
        capsys, "calibrate", "check", place / "true.toml", place / "film", "--board", capture.board, "--out", tmp_path
    )
    assert code == 0
    assert "Good: the views agree about the board" in said
    assert f"wrote {tmp_path / 'report.html'}" in said
    code, said, _ = run(capsys, "calibrate", "check", place / "people" / CALIBRATION_FILE, place / "people")
    assert code == 0
    assert "the views agree about people's joints within" in said


def test_calibrate__refines_with_people(capsys, place, tmp_path):
    true = read_camera_toml(place / "people" / CALIBRATION_FILE)
    translation = true.translation.clone()
    translation[1, 0] += 0.05
    write_camera_toml(tmp_path / "off.toml", replace(true, translation=translation))
    code, said, _ = run(
        capsys, "calibrate", "--calibration", tmp_path / "off.toml", "--refine-with-people", place / "people",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    assert f"wrote {tmp_path / 'out' / 'calibration.toml'}" in said


def test_calibrate_board__writes_a_sheet_and_says_its_size(capsys, tmp_path):
    code, said, _ = run(capsys, "calibrate", "board", "charuco:7x5:0.04:DICT_4X4_50", "--out", tmp_path / "b.pdf")
    assert code == 0
    assert "360 x 280 mm" in said
    assert (tmp_path / "b.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("film", "--out", "x"), "which board? say --board"),
        (("--out", "x"), "nothing to calibrate from"),
        (("--calibration", "true.toml", "--out", "x"), "nothing to calibrate from"),
        (("film", "--calibration", "true.toml", "--board", "b", "--out", "x"), "not both"),
        (("film", "--board", "charuco:7", "--out", "x"), "expected charuco:COLUMNSxROWS"),
        (("check", "absent.toml"), "cannot read absent.toml"),
        (("board", "hexagons:7x5:0.1"), "expected charuco:COLUMNSxROWS"),
    ],
)
def test_calibrate__bad_words_are_errors_with_advice(capsys, place, monkeypatch, words, message):
    monkeypatch.chdir(place)
    code, _, error = run(capsys, "calibrate", *words)
    assert code == 2
    assert message in error


def test_calibrate__a_folder_called_check_is_given_by_its_path(capsys, tmp_path, monkeypatch):
    (tmp_path / "check").mkdir()
    monkeypatch.chdir(tmp_path)
    code, _, error = run(capsys, "calibrate", "./check", "--board", "checkerboard:5x4:0.03", "--out", "out")
    assert code == 2
    assert "nothing in it that could be a view" in error

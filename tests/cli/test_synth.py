"""`marey synth`: from the command line to a folder that `marey estimate` takes."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest

from marey.cli.main import main
from marey.io.npz import read_estimate_npz

SMALL = ("--views", "3", "--frames", "12", "--size", "128x96")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder and the printed text of one run."""
    folder = tmp_path_factory.mktemp("synth") / "rec"
    with redirect_stdout(StringIO()) as printed:
        assert main(["synth", "--out", str(folder), *SMALL, "--keypoints", "--masks"]) == 0
    return folder, printed.getvalue()


def test_synth__says_what_it_wrote(shown):
    folder, text = shown
    lines = text.splitlines()
    assert lines[0] == f"recording: {folder} (3 cameras, 12 frames at 30 a second, 1 person)"
    assert f"wrote {folder / 'cam_3.mp4'}" in lines
    assert f"wrote {folder / 'truth.npz'}" in lines
    assert {line.removeprefix("wrote ").rstrip("/") for line in lines[1:]} == {str(path) for path in folder.iterdir()}


def test_estimate__takes_the_folder_as_it_is(shown, tmp_path):
    folder, _ = shown
    calibration = folder / "calibration.toml"
    code = main(["estimate", str(folder), "--calibration", str(calibration), "--out", str(tmp_path), "--sync", "none"])
    assert code == 0
    truth, found = (read_estimate_npz(path) for path in (folder / "truth.npz", tmp_path / "estimate.npz"))
    assert found.cameras.names == ("cam_1", "cam_2", "cam_3")
    distances = (found.joints.positions - truth.joints.positions).norm(dim=-1)
    assert distances.nanmean() < 0.03
    assert (tmp_path / "overlay.mp4").is_file()


def test_truth__is_in_the_format_of_estimates(shown):
    truth = read_estimate_npz(shown[0] / "truth.npz")
    assert truth.joints.positions.shape == (12, 1, 25, 3)
    assert truth.body.pose.shape == (12, 1, 23, 3, 3)
    assert np.isclose(truth.fps, 30)
    assert "without any error" in truth.notes[0]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--size", "640"], "expected WIDTHxHEIGHT such as 640x480, got '640'"),
        (["--people", "9"], "people: expected 1 to 4, got 9"),
        (["--frames", "0"], "frames: expected 1 to"),
        (["--views", "0"], "one or more views"),
    ],
)
def test_synth__names_what_is_wrong(words, text, tmp_path, capsys):
    assert main(["synth", "--out", str(tmp_path / "rec"), *words]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "rec").exists()

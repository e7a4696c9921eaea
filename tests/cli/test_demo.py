"""`marey demo`: the whole way, from the command line to the files."""

import re
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import torch

from marey.cli.demo import _nearest_people
from marey.cli.main import main
from marey.io.video import VideoFrames


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder and the printed text of one run."""
    folder = tmp_path_factory.mktemp("demo")
    with redirect_stdout(StringIO()) as printed:
        assert main(["demo", "--out", str(folder), "--frames", "30", "--size", "160x120"]) == 0
    return folder, printed.getvalue()


def test_demo__is_near_the_truth_and_honest(shown):
    _, text = shown
    assert float(re.search(r"error: +([\d.]+) mm", text).group(1)) < 15
    assert 75 <= float(re.search(r"honesty: +(\d+) %", text).group(1)) <= 100
    assert float(re.search(r"known: +([\d.]+) %", text).group(1)) > 95


def test_demo__leaves_the_recording_and_the_result(shown):
    folder, text = shown
    assert sorted(path.name for path in (folder / "recording").iterdir()) == [
        "calibration.toml",
        *(f"cam_{view}{end}" for view in range(1, 5) for end in ("", ".mp4")),
        "contact_sheet.jpg",
        "recording.json",
        "truth.npz",
    ]
    report = re.search(r"report: +(\S+)", text).group(1)
    assert (folder / "result" / "report.html").samefile(report)
    overlay = re.search(r"overlay: +(\S+)", text).group(1)
    width, height = VideoFrames(overlay).size
    assert width * height >= 4 * 160 * 120  # four views in one
    with np.load(folder / "result" / "estimate.npz", allow_pickle=False) as arrays:
        assert arrays["joints"].shape == (30, 1, 25, 3)


@pytest.mark.slow
def test_demo__with_a_detector_that_looks_at_the_pictures(tmp_path, capsys):
    pytest.importorskip("mediapipe")
    options = ["--frames", "8", "--size", "640x480", "--detector", "mediapipe"]
    assert main(["demo", "--out", str(tmp_path), *options]) == 0
    assert not (tmp_path / "recording" / "cam_1").exists()
    assert float(re.search(r"error: +([\d.]+) mm", capsys.readouterr().out).group(1)) < 60


def test_nearest_people__pairs_by_mean_distance():
    true = torch.zeros(5, 2, 3, 3)
    true[:, 1] = 2.0
    found = torch.stack((true[:, 1] + 0.1, torch.full((5, 3, 3), torch.nan), true[:, 0]), dim=1)
    assert _nearest_people(found, true).tolist() == [2, 0]

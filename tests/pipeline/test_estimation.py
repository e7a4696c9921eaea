"""The whole way, from files to files, on a recording whose truth is known, and what it does with bad input."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import marey
from marey.core import CalibrationError, Estimate, FormatError, InputError
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.metrics.joints import mpjpe_mm
from marey.metrics.uncertainty import coverage
from marey.pipeline.estimation import frame_range

FRAMES = 90
FAST = {"overlay": False, "formats": ("npz",)}


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, people=1, seed=17))


@pytest.fixture(scope="module")
def recording(capture, tmp_path_factory) -> Path:
    return write_keypoint_capture(capture, tmp_path_factory.mktemp("capture") / "recording")


@pytest.fixture
def copied(recording, tmp_path) -> Path:
    return Path(shutil.copytree(recording, tmp_path / "copy"))


@pytest.fixture(scope="module")
def result(recording, capture, tmp_path_factory) -> tuple[Estimate, Path]:
    out = tmp_path_factory.mktemp("out")
    config = marey.EstimateConfig(fps=capture.fps)
    return marey.estimate(recording, calibration=recording / CALIBRATION_FILE, out=out, config=config), out


def run(inputs, recording, **settings) -> Estimate:
    frames = settings.pop("frames", None)
    out = settings.pop("out", None)
    calibration = settings.pop("calibration", recording / CALIBRATION_FILE)
    config = marey.EstimateConfig(fps=60.0, **(FAST | settings))
    return marey.estimate(inputs, calibration=calibration, frames=frames, out=out, config=config)


def folders(recording: Path) -> list[Path]:
    return sorted(path for path in recording.iterdir() if path.is_dir())


def jsons(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def test_estimate__finds_the_truth_and_knows_how_well(result, capture):
    estimate, _ = result
    truth = capture.truth.positions
    assert estimate.joints.positions.shape == truth.shape
    assert mpjpe_mm(estimate.joints.positions, truth) < 8
    assert 0.8 < coverage(estimate.joints.positions, estimate.joints.covariance, truth, level=0.9) < 0.98
    assert estimate.frames == tuple(range(FRAMES))
    assert estimate.fps == capture.fps


def test_estimate__right_cameras_stay_as_given(result, capture):
    estimate, _ = result
    torch.testing.assert_close(estimate.cameras.rotation, capture.cameras.rotation.float(), atol=1e-6, rtol=0)


def test_estimate__writes_what_it_says(result):
    estimate, out = result
    names = {path.name for path in out.iterdir()}
    assert names == {"estimate.npz", "joints.csv", "person_0.trc", "overlay.mp4", "report.html"}
    with np.load(out / "estimate.npz", allow_pickle=False) as arrays:
        frames, people, joints = estimate.joints.score.shape
        assert arrays["joints"].shape == (frames, people, joints, 3)
        assert arrays["covariance"].shape == (frames, people, joints, 3, 3)
        assert arrays["score"].shape == arrays["filled"].shape == (frames, people, joints)
        assert arrays["weights"].shape == arrays["residuals"].shape == (4, frames, people, joints)
        assert tuple(arrays["joint_names"]) == estimate.joints.skeleton.joints
        assert json.loads(str(arrays["provenance"]))["method"] == "classical"


def test_estimate__trc_is_y_up(result):
    estimate, out = result
    rows = (out / "person_0.trc").read_text().splitlines()
    names = [name for name in rows[3].split("\t")[2:] if name]
    cells = next(row for row in rows if row.startswith("1\t")).split("\t")[2:]
    first = dict(zip(names, np.reshape([float(cell) for cell in cells], (-1, 3)), strict=True))
    assert first["neck"][1] - first["left_ankle"][1] > 1.0
    z_up = estimate.joints.positions[0, 0, estimate.joints.skeleton.index("neck")]
    np.testing.assert_allclose(first["neck"], z_up[[1, 2, 0]], atol=1e-4)


def test_estimate__a_result_loads_again(result):
    estimate, out = result
    again = marey.load(out / "estimate.npz")
    torch.testing.assert_close(again.joints.positions, estimate.joints.positions, equal_nan=True)
    assert again.notes == estimate.notes


def test_estimate__frames_and_methods(recording):
    estimate = run(recording, recording, frames=(10, 40), triangulation="weighted", refine="none")
    assert estimate.frames == tuple(range(10, 40))
    assert estimate.joints.batch_shape[0] == 30
    assert not estimate.joints.filled.any()


def test_estimate__bones_are_constant(recording):
    joints = run(recording, recording, refine="bones").joints
    hip, knee = joints.skeleton.indices(["left_hip", "left_knee"])
    length = (joints.positions[:, 0, hip] - joints.positions[:, 0, knee]).norm(dim=-1)
    assert length[length.isfinite()].std() < 0.001


def test_estimate__views_given_one_by_one_in_any_order(recording, result):
    estimate, _ = result
    again = run(list(reversed(folders(recording))), recording)
    torch.testing.assert_close(again.joints.positions, estimate.joints.positions, atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize("empty", [True, False])
def test_estimate__no_view(tmp_path, recording, empty):
    with pytest.raises(InputError):
        run([] if empty else tmp_path / "nothing", recording)


def test_estimate__one_view_of_keypoints_is_lifted(recording):
    estimate = run(folders(recording)[0], recording)
    assert estimate.joints.positions.isfinite().any()
    assert any("it is the lifter's" in note for note in estimate.notes)


def test_estimate__no_calibration_says_what_to_pass(recording):
    with pytest.raises(CalibrationError, match="--calibration"):
        marey.estimate(folders(recording), config=marey.EstimateConfig(fps=60.0))


def test_estimate__calibration_of_other_cameras(recording, tmp_path):
    text = (recording / CALIBRATION_FILE).read_text()
    other = tmp_path / "other.toml"
    other.write_text(text[: text.index("[cam_3]")])  # two cameras for four views
    with pytest.raises(CalibrationError):
        run(folders(recording), recording, calibration=other)


def test_estimate__corrupt_json_in_the_middle_is_a_gap(copied):
    for folder in folders(copied):
        jsons(folder)[30].write_text('{"people": [{"pose_keyp')
    with pytest.warns(UserWarning, match="30"):
        estimate = run(folders(copied), copied, refine="none")
    known = estimate.joints.positions.isfinite().all(-1).any(-1)[:, 0]
    assert not known[30]
    assert known[29]
    assert known[31]
    with pytest.warns(UserWarning, match="30"):
        filled = run(folders(copied), copied, refine="smooth").joints
    assert filled.filled[30].any()
    assert filled.positions[30].isfinite().any()


def test_estimate__a_view_that_stops_early_loses_nothing(copied):
    last = folders(copied)[-1]
    for file in jsons(last)[50:]:
        file.unlink()
    estimate = run(folders(copied), copied, refine="none")
    assert estimate.joints.batch_shape[0] == FRAMES
    assert (estimate.diagnostics.weights[-1, 50:] == 0).all()
    assert estimate.joints.positions[50:].isfinite().float().mean() > 0.9


def test_estimate__zero_scores_everywhere(copied):
    for folder in folders(copied):
        for file in jsons(folder):
            document = json.loads(file.read_text())
            for person in document["people"]:
                person["pose_keypoints_2d"] = [0.0] * len(person["pose_keypoints_2d"])
            file.write_text(json.dumps(document))
    with pytest.raises((InputError, FormatError)):
        run(folders(copied), copied)


def test_estimate__infinite_and_nan_coordinates_are_missing(copied):
    for file in jsons(folders(copied)[0])[:40]:
        document = json.loads(file.read_text())
        for person in document["people"]:
            person["pose_keypoints_2d"][0] = float("nan")
            person["pose_keypoints_2d"][3] = float("inf")
        file.write_text(json.dumps(document))
    estimate = run(folders(copied), copied, refine="none")
    assert (estimate.diagnostics.weights[0, :40, :, :2] == 0).all()
    assert estimate.joints.positions[:40].isfinite().float().mean() > 0.9


def test_estimate__unwritable_output_fails_before_the_work(recording, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="choose another output folder"):
        run(tmp_path / "not-even-looked-at", recording, out=blocked)


def test_estimate__unknown_rate_is_told(recording):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimate = marey.estimate(
            recording, calibration=recording / CALIBRATION_FILE, config=marey.EstimateConfig(**FAST)
        )
    assert any("frame rate" in str(warning.message) for warning in caught)
    assert any("frame rate" in note for note in estimate.notes)


@pytest.mark.parametrize("settings", [{"people": 0}, {"formats": ("c4d",)}])
def test_config__refuses_what_makes_no_sense(settings):
    with pytest.raises(InputError, match="expected"):
        marey.EstimateConfig(**settings)


def test_estimate__unknown_method_lists_those_there_are(recording):
    with pytest.raises(InputError, match="classical"):
        marey.estimate(recording, calibration=recording / CALIBRATION_FILE, method="magic")


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(None, range(0, 100)), ((None, 5), range(0, 5)), ((90, None), range(90, 100)), ((3, 4), range(3, 4))],
)
def test_frame_range__parts_of_the_recording(frames, expected):
    assert frame_range(frames, 100) == expected


@pytest.mark.parametrize("frames", [(5, 5), (-1, 5), (0, 101), (200, None)])
def test_frame_range__outside_the_recording(frames):
    with pytest.raises(InputError, match="expected a part of 0:100"):
        frame_range(frames, 100)

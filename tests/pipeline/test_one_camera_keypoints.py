"""`estimate` with one camera and keypoint files alone: the lifter makes the guess."""

from dataclasses import replace

import pytest
import torch

from marey.core import InputError
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.geometry.alignment import align
from marey.geometry.projection import world_to_camera
from marey.io.npz import read_estimate_npz
from marey.pipeline import EstimateConfig, estimate

FRAMES = 20
CONFIG = EstimateConfig(people=1, fps=30.0)


@pytest.fixture(scope="module")
def capture():
    return make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, people=1, seed=17))


@pytest.fixture(scope="module")
def folder(capture, tmp_path_factory):
    return write_keypoint_capture(capture, tmp_path_factory.mktemp("capture") / "recording")


@pytest.fixture(scope="module")
def result(folder):
    return estimate(folder / "cam_1", calibration=folder / CALIBRATION_FILE, config=CONFIG)


def test_estimate__is_lifted_and_says_so(result):
    assert result.provenance["method"] == "monocular"
    assert any("the lifter's" in note for note in result.notes)
    assert any("the distance is uncertain by 8 %" in note for note in result.notes)
    assert result.joints.batch_shape == (FRAMES, 1)
    assert result.joints.positions.isfinite().all()


def test_estimate__is_near_the_truth(result, capture):
    names = result.joints.skeleton
    assert names == capture.truth.skeleton
    found, truth = result.joints.positions[:, 0].double(), capture.truth.positions[:, 0].double()
    aligned = align(found, truth, transform="similarity").apply(found)
    assert (aligned - truth).norm(dim=-1).mean() < 0.12
    hips = names.indices(("left_hip", "right_hip"))
    camera = capture.cameras[:1].to(torch.float64)
    depth, true = (world_to_camera(points[None], camera)[0, :, hips, 2].mean(1) for points in (found, truth))
    assert (depth / true - 1).abs().max() < 0.2


def test_estimate__covariance_holds_the_error(result, capture):
    error = (result.joints.positions - capture.truth.positions)[..., None].double()
    covariance = result.joints.covariance.double()
    squared = (error.mT @ torch.linalg.inv(covariance) @ error)[..., 0, 0]
    assert (squared < 6.25).double().mean() > 0.7


def test_estimate__a_stated_stature_moves_the_person(folder, result):
    centre = result.cameras.centers[0]
    away = {None: (result.joints.positions - centre).norm(dim=-1).mean()}
    for stature in (1.5, 1.9):
        told = estimate(
            folder / "cam_1",
            calibration=folder / CALIBRATION_FILE,
            config=replace(CONFIG, stature=stature),
        )
        away[stature] = (told.joints.positions - centre).norm(dim=-1).mean()
    assert away[1.5] < away[None] < away[1.9]
    assert 1.15 < float(away[1.9] / away[1.5]) < 1.3


def test_estimate__legs_that_are_never_seen_are_guessed(capture, result, tmp_path):
    keypoints = capture.detections.keypoints.map(torch.clone)
    names = keypoints.skeleton
    legs = names.indices([f"{side}_{part}" for side in ("left", "right") for part in ("knee", "ankle")])
    keypoints.positions[..., legs, :] = torch.nan
    keypoints.score[..., legs] = 0
    cut = replace(capture, detections=replace(capture.detections, keypoints=keypoints))
    folder = write_keypoint_capture(cut, tmp_path / "recording")
    found = estimate(folder / "cam_1", calibration=folder / CALIBRATION_FILE, config=CONFIG)
    assert found.joints.positions[:, :, legs].isfinite().all()
    assert 0 < found.joints.score[:, :, legs].min() <= found.joints.score[:, :, legs].max() < 0.11
    volume = torch.linalg.det(found.joints.covariance[:, 0, legs].double())
    assert (volume > torch.linalg.det(result.joints.covariance[:, 0, legs].double())).double().mean() > 0.9
    assert any("Never seen of person 0, guessed" in note and "left_ankle" in note for note in found.notes)


def test_estimate__writes_what_it_always_writes(folder, tmp_path):
    estimate(
        folder / "cam_1",
        calibration=folder / CALIBRATION_FILE,
        frames=(0, 5),
        config=replace(CONFIG, overlay=False),
        out=tmp_path,
    )
    for name in ("estimate.npz", "joints.csv", "person_0.trc", "report.html"):
        assert (tmp_path / name).stat().st_size > 0
    assert read_estimate_npz(tmp_path / "estimate.npz").joints.batch_shape == (5, 1)
    assert "the lifter&#x27;s" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_estimate__two_people_in_one_view(tmp_path):
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=FRAMES, people=2, seed=3))
    folder = write_keypoint_capture(capture, tmp_path / "recording")
    found = estimate(folder / "cam_1", calibration=folder / CALIBRATION_FILE, config=replace(CONFIG, people=2))
    assert found.joints.batch_shape == (FRAMES, 2)
    assert found.joints.positions.isfinite().all(-1).double().mean() > 0.9


def test_estimate__without_a_camera_is_refused_with_advice(folder):
    with pytest.raises(InputError, match="--calibration"):
        estimate(folder / "cam_1", config=CONFIG)


@pytest.mark.realdata
def test_estimate__real_keypoint_files(shared_data):
    folder = shared_data / "pose2sim_demo"
    result = estimate(
        folder / "balancing" / "pose" / "cam04_json",
        calibration=folder / "calibration" / "Calib_qualisys.toml",
        frames=(0, 6),
        config=EstimateConfig(people=1, unit="m", overlay=False, fps=60.0),
    )
    joints = result.joints
    hips = joints.positions[:, 0, joints.skeleton.indices(("left_hip", "right_hip"))].mean(1)
    depth = world_to_camera(hips[None], result.cameras)[0, :, 2]
    # the triangulation of all four views says 3.0 m
    assert (depth / 3.03 - 1).abs().max() < 0.2
    assert joints.positions[:, 0].isfinite().all()
    assert joints.covariance[:, 0].isfinite().all()

import dataclasses

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.detect.noise import NoiseModel, default_noise, mahalanobis_squared, predict_from_others, with_noise
from marey.detect.prepare import prepare_keypoints
from marey.detect.swaps import apply_swaps
from marey.io.recordings import open_recording

MODEL = NoiseModel(spread=(0.03,) * 4, score_power=0.0)


def test_prepare_keypoints__exchange_bad_view_and_noise_in_one_go():
    cameras = ring(5)
    joints, table = walker(60)
    truth = seen_by(joints, cameras, table)
    seen = seen_by(joints, cameras, table, sigma=5.0)
    halves = torch.zeros(5, 60, 1, 2, dtype=torch.bool)
    halves[0, 10:30] = True
    seen = apply_swaps(seen, halves)
    positions = seen.positions.clone()
    positions[3, 20:50] += torch.tensor([-70.0, 130.0], dtype=positions.dtype)
    prepared = prepare_keypoints(dataclasses.replace(seen, positions=positions), cameras, MODEL)
    assert torch.equal(prepared.swapped, halves.any(-1))
    assert prepared.rejected[3, 22:48].all()
    assert len(prepared.notes) == 3
    distance = mahalanobis_squared(prepared.keypoints.positions - truth.positions, prepared.keypoints.covariance)
    inside = (distance < 4.6052) | distance.isnan()
    assert inside.double().mean().item() == pytest.approx(0.9, abs=0.03)


@pytest.mark.realdata
def test_prepare_keypoints__real_recording_has_no_exchange_no_bad_view_and_honest_ellipses(shared_data):
    folder = shared_data / "pose2sim_demo"
    recording = open_recording(
        [folder / "balancing" / "pose"], calibration=folder / "calibration" / "Calib_qualisys.toml", unit="m", fps=60
    )
    keypoints, cameras = recording.detections.keypoints[:, :, :1], recording.cameras.to(torch.float32)
    prepared = prepare_keypoints(keypoints, cameras, default_noise("openpose"))
    assert not prepared.swapped.any()
    assert not prepared.rejected.any()
    predicted, spread = predict_from_others(prepared.keypoints, cameras)
    distance = mahalanobis_squared(prepared.keypoints.positions - predicted, spread + prepared.keypoints.covariance)
    inside = (distance < 4.6052)[distance.isfinite()].double().mean().item()
    assert 0.87 < inside < 0.94
    mirrored = torch.zeros(4, 50, 1, 2, dtype=torch.bool)
    mirrored[1, 20:35] = True
    mirrored[3, :10, :, 1] = True
    again = prepare_keypoints(apply_swaps(keypoints, mirrored), cameras, default_noise("openpose"))
    assert torch.equal(again.swapped, mirrored.any(-1))
    moved = keypoints.positions.clone()
    moved[2, 10:40] += torch.tensor([120.0, 60.0])
    again = prepare_keypoints(dataclasses.replace(keypoints, positions=moved), cameras, default_noise("openpose"))
    assert again.rejected[2, 12:38].all()
    assert not again.rejected[[0, 1, 3]].any()


@pytest.mark.parametrize("cameras", [None, ring(1)])
def test_prepare_keypoints__nothing_to_compare_with(cameras):
    joints, table = walker(3)
    seen = seen_by(joints, ring(1), table)
    prepared = prepare_keypoints(seen, cameras, MODEL)
    assert torch.equal(prepared.keypoints.covariance, with_noise(seen, MODEL).covariance)
    assert prepared.noise == MODEL
    assert prepared.notes == ()

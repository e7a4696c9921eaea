from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Estimate, InputError
from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.simulated_detector import image_points, simulate_detections, simulated_faults

FLAWLESS = DetectorFaults(
    noise_px=0, outlier_fraction=0, swap_fraction=0, dropout_fraction=0, lost_fraction=0, hidden_missing=1
)


@pytest.fixture(scope="module")
def truth() -> Estimate:
    """Two people in 3 views; the first view sees nobody's nose."""
    capture = make_keypoint_capture(
        KeypointCaptureConfig(people=2, views=3, frames=200, fps=30, faults=FLAWLESS, shuffle=False)
    )
    keypoints = capture.detections.keypoints
    score = torch.ones_like(keypoints.score)
    score[0, :, :, 0] = 0
    return Estimate(joints=capture.truth, cameras=capture.cameras, keypoints=replace(keypoints, score=score), fps=30)


def gaps(truth, detections):
    """Distances (V, T, P, J) of detected keypoints to the person who is nearest."""
    true, _ = image_points(truth.joints.positions, truth.cameras)
    found = detections.keypoints.positions.numpy()
    apart = np.linalg.norm(found[:, :, :, None] - true[:, :, None], axis=-1)
    nearest = np.nanmedian(apart, axis=-1).argmin(-1)
    return np.take_along_axis(apart, nearest[..., None, None], 3)[:, :, :, 0]


def test_without_faults__keypoints_are_exact_and_hidden_ones_missing(truth):
    detections = simulate_detections(truth, faults=FLAWLESS)
    assert np.nanmax(gaps(truth, detections)) < 0.01
    score = detections.keypoints.score
    assert (score[0, ..., 0] == 0).all()
    assert (score[1:] > 0).float().mean() > 0.95
    assert detections.keypoints.covariance.isnan().all()


def test_noise__is_what_the_faults_say(truth):
    faults = replace(FLAWLESS, noise_px=3.0)
    distances = gaps(truth, simulate_detections(truth, faults=faults))
    mean = np.nanmean(distances)
    assert mean == pytest.approx(3 * np.sqrt(np.pi / 2), rel=0.06)  # of the Rayleigh distribution


def test_detections__are_a_function_of_the_seed(truth):
    first, again, other = (simulate_detections(truth, seed=seed).keypoints.positions for seed in (1, 1, 2))
    assert torch.equal(first.nan_to_num(), again.nan_to_num())
    assert not torch.equal(first.nan_to_num(), other.nan_to_num())


def test_faults__grow_with_the_picture():
    assert simulated_faults(1080).noise_px == pytest.approx(5.4)
    assert simulated_faults(360).noise_px == pytest.approx(1.8)


def test_truth__that_lacks_something_is_refused(truth):
    with pytest.raises(CalibrationError, match="expected its cameras"):
        simulate_detections(replace(truth, cameras=None))
    with pytest.raises(InputError, match="expected keypoints and fps"):
        simulate_detections(replace(truth, fps=None))

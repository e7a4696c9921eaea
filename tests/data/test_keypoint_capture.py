"""The synthetic recording is exact, reproducible, and errs as stated."""

from dataclasses import replace

import pytest
import torch

from marey.core import CalibrationError, InputError
from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import project

PERFECT = DetectorFaults(
    noise_px=0, outlier_fraction=0, swap_fraction=0, dropout_fraction=0, lost_fraction=0, occlusion=False
)
RIGID = (
    ("hip", "knee"),
    ("knee", "ankle"),
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("ankle", "heel"),
    ("ankle", "big_toe"),
)


def _projected(capture: KeypointCapture) -> torch.Tensor:
    """(V, T, S, J, 2) true pixels of the person in each slot."""
    truth = capture.truth.positions
    slot = capture.identity.clamp_min(0)[..., None, None].expand(*capture.identity.shape, *truth.shape[2:])
    points = truth.expand(len(capture.identity), *truth.shape).gather(2, slot)
    return project(points, capture.cameras)


def _errors(capture: KeypointCapture) -> torch.Tensor:
    """(V, T, S, J) pixels; NaN where the slot holds no person or the keypoint is missing."""
    error = (capture.detections.keypoints.positions - _projected(capture)).norm(dim=-1)
    return torch.where(capture.identity[..., None] >= 0, error, torch.nan)


def test_capture__is_a_pure_function_of_its_config():
    config = KeypointCaptureConfig(frames=20, people=2, bystanders_standing=1, seed=5)
    first, again, other = (make_keypoint_capture(c) for c in (config, config, replace(config, seed=6)))
    for left, right in zip(first.detections.tensors(), again.detections.tensors(), strict=True):
        assert torch.equal(left.nan_to_num(), right.nan_to_num())
    assert torch.equal(first.truth.positions, again.truth.positions)
    assert not torch.equal(first.truth.positions, other.truth.positions)


@pytest.mark.parametrize("distortion", [(), (-0.05, 0.01, 0.001, -0.001, 0.0)])
def test_detections__without_faults_are_the_projected_truth(distortion):
    config = KeypointCaptureConfig(frames=30, people=2, faults=PERFECT, distortion=distortion)
    error = _errors(make_keypoint_capture(config))
    assert error.nan_to_num().max() < 2e-3
    assert error.isfinite().float().mean() > 0.8


@pytest.mark.parametrize("name", ["body_25", "body_25b", "coco_17", "halpe_26", "mediapipe_33", "h36m_17"])
def test_bones__are_constant_and_the_same_on_both_sides(name):
    truth = make_keypoint_capture(KeypointCaptureConfig(frames=400, people=3, skeleton=name, fps=20)).truth
    lengths = {}
    for start, end in RIGID:
        for side in ("left", "right"):
            ends = [f"{side}_{joint}" for joint in (start, end)]
            if all(joint in truth.skeleton for joint in ends):
                a, b = truth.skeleton.indices(ends)
                length = (truth.positions[:, :, a] - truth.positions[:, :, b]).norm(dim=-1)
                assert length.std(0).max() < 1e-6
                lengths[side, start, end] = length.mean(0)
    for (side, *bone), length in lengths.items():
        if side == "left":
            torch.testing.assert_close(length, lengths["right", *bone], atol=1e-6, rtol=0)


def test_motion__is_smooth_keeps_apart_and_stands_on_the_ground():
    config = KeypointCaptureConfig(frames=1500, people=3, fps=25, seed=2)
    truth = make_keypoint_capture(config).truth
    positions = truth.positions.double()
    velocity = positions.diff(dim=0) * config.fps
    assert velocity.norm(dim=-1).max() < 8
    assert (velocity.diff(dim=0) * config.fps).norm(dim=-1).max() < 80
    assert positions[..., 2].min() > 0.02
    assert positions[..., 2].amin(-1).max() < 0.09
    hips = positions[:, :, truth.skeleton.indices(["left_hip", "right_hip"])].mean(2)
    apart = torch.stack([(hips[:, a] - hips[:, b]).norm(dim=-1) for a, b in ((0, 1), (0, 2), (1, 2))])
    assert apart.min() > 0.5
    assert hips[..., 2].amin(0).max() < 0.75 * hips[..., 2].amax(0).min(), "somebody never squats"


def test_noise__has_the_covariance_that_is_stated():
    faults = replace(PERFECT, noise_px=3.0)
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=500, people=2, faults=faults))
    sigma = capture.detections.keypoints.covariance[..., 0, 0].sqrt()
    ratio = (_errors(capture) / sigma)[_errors(capture).isfinite()]
    assert ratio.square().mean() == pytest.approx(2.0, rel=0.03)
    assert sigma[sigma.isfinite()].std() > 0.2, "noise follows the size in the image"


def test_faults__have_the_stated_frequency():
    faults = replace(PERFECT, outlier_fraction=0.05, swap_fraction=0.1, dropout_fraction=0.15, lost_fraction=0.05)
    config = KeypointCaptureConfig(frames=3000, faults=faults, shuffle=False, fps=30, focal_length=700)
    capture = make_keypoint_capture(config)
    seen = capture.detections.keypoints.positions.isfinite().all(-1)
    assert capture.swapped.float().mean() == pytest.approx(0.1 * 0.95, abs=0.02)
    assert seen.float().mean() == pytest.approx(0.95 * 0.85, abs=0.02)
    assert (capture.identity < 0).float().mean() == pytest.approx(0.05, abs=0.015)
    assert capture.outlier.sum() / seen.sum() == pytest.approx(0.05, abs=0.003)
    error = _errors(capture)[~capture.swapped]
    outlier = capture.outlier[~capture.swapped]
    assert error[outlier].min() > 0.5 * faults.outlier_px - 1
    assert error[~outlier].nan_to_num().max() < 1


def test_swapped__slots_hold_the_mirrored_truth():
    faults = replace(PERFECT, swap_fraction=0.2)
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=200, faults=faults))
    mirrored = _projected(capture)[..., list(capture.truth.skeleton.mirror), :]
    error = (capture.detections.keypoints.positions - mirrored).norm(dim=-1)
    assert capture.swapped.any()
    assert error[capture.swapped].nan_to_num().max() < 2e-3


def test_occlusion__hides_who_is_behind():
    base = KeypointCaptureConfig(frames=600, people=3, faults=PERFECT, shuffle=False)
    hiding = replace(base, faults=replace(PERFECT, occlusion=True, hidden_missing=1.0))
    free, hidden = (make_keypoint_capture(c).detections.keypoints.positions.isfinite() for c in (base, hiding))
    assert not (hidden & ~free).any()
    assert 0.02 < (free & ~hidden).float().mean() < 0.4
    alone = replace(hiding, people=1)
    assert torch.equal(
        make_keypoint_capture(alone).detections.keypoints.score,
        make_keypoint_capture(replace(alone, faults=PERFECT)).detections.keypoints.score,
    )


def test_bystanders__are_nobody_and_seen_by_few():
    config = KeypointCaptureConfig(
        frames=50, people=1, views=5, bystanders_in_one_view=1, bystanders_standing=1, faults=PERFECT, shuffle=False
    )
    capture = make_keypoint_capture(config)
    present = (capture.detections.keypoints.score > 0).any(-1)
    assert (capture.identity[..., 1:] == -1).all()
    views = present.any(1).sum(0)
    assert views[1] == 1
    assert views[2] >= 2


def test_slots__are_shuffled_and_the_empty_come_last():
    config = KeypointCaptureConfig(frames=300, people=3, faults=replace(DetectorFaults(), lost_fraction=0.2))
    capture = make_keypoint_capture(config)
    present = (capture.detections.keypoints.score > 0).any(-1)
    assert (present[..., 1:] <= present[..., :-1]).all()
    assert torch.equal(present, capture.identity >= 0)
    assert all((capture.identity[..., 0] == person).float().mean() > 0.2 for person in range(3))
    assert _errors(capture)[~capture.swapped][~capture.outlier[~capture.swapped]].nan_to_num().max() < 80


def test_covariance__can_be_left_out():
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=3, state_covariance=False))
    assert capture.detections.keypoints.covariance.isnan().all()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"frames": 0}, InputError, "frames: expected at least 1"),
        ({"ring_radius": 1.0}, InputError, "ring_radius > 1.5 area"),
        ({"skeleton": "smpl_24"}, InputError, "the figure has no joint"),
        ({"distortion": (0.1, 0.2)}, CalibrationError, "OpenCV order"),
    ],
)
def test_config__that_makes_no_sense_is_refused(change, error, text):
    with pytest.raises(error, match=text):
        make_keypoint_capture(replace(KeypointCaptureConfig(frames=2), **change))


def test_faults__that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="swap_fraction: expected a fraction"):
        DetectorFaults(swap_fraction=1.5)
    with pytest.raises(InputError, match="noise_px: expected a number >= 0"):
        DetectorFaults(noise_px=float("nan"))

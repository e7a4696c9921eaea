from dataclasses import replace

import pytest
import torch

from marey.core import InputError
from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.methods.classical.model import triangulate_keypoints
from marey.refine.refine import RefineConfig, refine
from refine.recordings import joints_of, seconds, waving


@pytest.fixture(scope="module")
def recording():
    """A capture and its joints as triangulated."""
    faults = DetectorFaults(noise_px=4.0, swap_fraction=0.0, outlier_fraction=0.02)
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=300, people=2, shuffle=False, faults=faults))
    joints, _ = triangulate_keypoints(capture.detections.keypoints, capture.cameras)
    return capture, joints


def _rms(joints, capture):
    return float((joints.positions - capture.truth.positions).square().sum(-1).nanmean().sqrt())


def test_modes__each_come_closer_to_the_truth(recording):
    capture, joints = recording
    errors = [_rms(refine(joints, fps=capture.fps, mode=mode)[0], capture) for mode in ("none", "smooth", "bones")]
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < errors[1]


def test_smooth__wrists_keep_their_speed(recording):
    capture, joints = recording
    wrists = joints.skeleton.indices(["left_wrist", "right_wrist"])
    found, truth = (
        positions[:, :, wrists].diff(dim=0).square().sum(-1).nanmean().sqrt() * capture.fps
        for positions in (refine(joints, fps=capture.fps)[0].positions, capture.truth.positions)
    )
    assert found == pytest.approx(float(truth), rel=0.02)


@pytest.mark.parametrize("name", ["butterworth", "one_euro"])
def test_filters__can_take_the_smoothers_place(recording, name):
    capture, joints = recording
    positions = joints.positions.clone()
    positions[50:55, 0, 3] = torch.nan
    holed = replace(joints, positions=positions)
    filtered, _ = refine(holed, fps=capture.fps, config=RefineConfig(filter=name))
    assert filtered.filled[50:55, 0, 3].all()
    assert (filtered.positions[50:55, 0, 3] - capture.truth.positions[50:55, 0, 3]).norm(dim=-1).max() < 0.1
    assert float((filtered.positions - joints.positions).abs().nanmean()) > 1e-3
    held, notes = refine(holed, fps=capture.fps, mode="bones", config=RefineConfig(filter=name))
    assert held.positions.shape == joints.positions.shape
    assert notes[-1].startswith("Held")


def test_notes__say_what_was_done(recording):
    capture, joints = recording
    positions = joints.positions.clone()
    positions[50:55, 0, 3], positions[:30, 0, 4], positions[:, 1, 24] = torch.nan, torch.nan, torch.nan
    _, notes = refine(replace(joints, positions=positions), fps=capture.fps, mode="bones")
    assert "were filled in" in notes[0]
    assert "(0.2%) stay unknown" in notes[1]
    assert notes[2] == f"Never seen of person 1: {joints.skeleton.joints[24]}."
    assert notes[3].startswith("Held 29 bones")


def test_notes__people_and_joints_never_seen_are_not_counted():
    positions = waving(40, 2)
    positions[:, 1], positions[:, 0, 1:5] = torch.nan, torch.nan
    _, notes = refine(joints_of(positions), fps=60.0)
    assert len(notes) == 2
    assert notes[0].startswith("Smoothed 520 joint positions; 0 in gaps")
    assert notes[1] == "Never seen: left_eye, right_eye, left_ear, right_ear."


def test_notes__count_one_as_one():
    positions = waving(40)
    positions[0, 0, 3], positions[20, 0, 5] = torch.nan, torch.nan
    _, notes = refine(joints_of(positions), fps=60.0)
    assert "; 1 in gaps of up to 0.25 s was filled in, 0 (0.0%) contradicted their neighbours" in notes[0]
    assert notes[1] == "1 joint position (0.1%) stays unknown: nothing close enough in time."


def test_notes__nothing_measured_is_said():
    _, notes = refine(joints_of(torch.full_like(waving(4), torch.nan)), fps=60.0, mode="bones")
    assert notes == (
        "No joint was measured; nothing was smoothed.",
        "No bone was seen at both ends; no length was held.",
    )


def test_notes__still_recording_claims_no_more_than_was_stated():
    joints = joints_of(waving(1).expand(12, -1, -1, -1).clone(), sigma=0.01)
    refined, notes = refine(joints, fps=60.0, mode="bones")
    claimed = float(notes[-1].split("known to ")[1].split(" mm")[0])
    assert 10 < claimed < 16
    ratio = refined.covariance.diagonal(dim1=-2, dim2=-1) / joints.covariance.diagonal(dim1=-2, dim2=-1)
    assert ratio.min() > 0.8


def test_none__changes_nothing():
    joints = joints_of(waving(4))
    assert refine(joints, fps=60.0, mode="none") == (joints, ())


def test_times__go_before_the_rate():
    joints = joints_of(waving(40))
    by_rate, by_times = refine(joints, fps=60.0)[0], refine(joints, fps=1.0, times=seconds(40))[0]
    torch.testing.assert_close(by_times.positions, by_rate.positions)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fps": 60.0, "mode": "much"}, "expected one of none, smooth, bones"),
        ({"fps": 60.0, "config": RefineConfig(filter="median")}, "expected one of kalman, butterworth, one_euro"),
        ({"fps": 0.0}, "fps: expected"),
        ({"fps": float("nan")}, "fps: expected"),
    ],
)
def test_refine__bad_arguments_are_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        refine(joints_of(waving(4)), **arguments)

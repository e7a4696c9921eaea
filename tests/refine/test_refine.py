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
    positions[50:55, 0, 3], positions[:, 1, 24] = torch.nan, torch.nan
    _, notes = refine(replace(joints, positions=positions), fps=capture.fps, mode="bones")
    assert "filled in" in notes[0]
    assert "stay unknown" in notes[1]
    assert notes[2].startswith("Held 29 bones")


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

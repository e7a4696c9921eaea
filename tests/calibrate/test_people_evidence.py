"""People as evidence about cameras: sorted, sides right, and no view left out because it contradicts the others."""

from dataclasses import replace

import pytest
import torch

from marey.calibrate.people_evidence import gather_people
from marey.core import InputError
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import reprojection_error


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=60, people=1, seed=8))


def test_gather_people__follows_the_person_with_both_sides_right(capture):
    found = gather_people(capture.detections, capture.cameras, detector="openpose", fps=60.0)
    assert found.keypoints.batch_shape == (4, 60, 1)
    true = capture.truth.positions[None, :, :1].double()
    error = reprojection_error(true, found.keypoints.positions.double(), capture.cameras.to(torch.float64))
    assert float(error.nanmedian()) < 6
    assert float((error > 60).double().mean()) < 0.03


def test_gather_people__a_camera_that_was_moved_keeps_its_keypoints(capture):
    translation = capture.cameras.translation.clone()
    translation[1, 0] += 0.12
    moved = replace(capture.cameras, translation=translation)
    found = gather_people(capture.detections, moved, detector="openpose", fps=60.0)
    seen = found.keypoints.positions.isfinite().all(-1).any(-1)[..., 0]
    assert float(seen[1].double().mean()) > 0.8


def test_gather_people__cameras_of_another_scene(capture):
    cameras = capture.cameras
    away = replace(cameras, translation=cameras.translation + torch.tensor([0.0, 0.0, -40.0]))
    with pytest.raises(InputError, match="these cameras are far off"):
        gather_people(capture.detections, away, detector="openpose", fps=60.0)

"""Cameras that are right stay as they are; cameras that are off by a little are put right by the people they see."""

from dataclasses import replace

import pytest
import torch

from marey.calibrate.adjust import AdjustmentConfig, adjust_cameras
from marey.core import Cameras, Keypoints2D
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import project
from marey.geometry.rotations import geodesic_angle, rotvec_to_matrix
from marey.geometry.triangulation import triangulate

NOISE = 2.0


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=240, people=1, seed=31))


def seen(capture: KeypointCapture) -> Keypoints2D:
    """What the true cameras see of the true people, with Gaussian noise."""
    cameras = capture.cameras.to(torch.float64)
    pixels = project(capture.truth.positions.double()[None], cameras)
    pixels = pixels + NOISE * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return Keypoints2D(
        positions=pixels,
        covariance=(NOISE**2 * torch.eye(2, dtype=torch.float64)).expand(*pixels.shape, 2).clone(),
        score=pixels.isfinite().all(-1).double(),
        skeleton=capture.truth.skeleton,
    )


def disturbed(cameras: Cameras, *, radians: float, metres: float) -> Cameras:
    random = torch.Generator().manual_seed(9)
    rotation, translation = cameras.extrinsics
    turn = rotvec_to_matrix(radians * torch.randn(translation.shape, generator=random, dtype=torch.float64))
    center = cameras.centers + metres * torch.randn(translation.shape, generator=random, dtype=torch.float64)
    rotation = turn @ rotation
    return replace(cameras, rotation=rotation, translation=-(rotation @ center[..., None])[..., 0])


def test_adjust_cameras__right_cameras_come_back_as_given(capture):
    cameras = capture.cameras.to(torch.float64)
    result = adjust_cameras(seen(capture), cameras, fps=60.0)
    assert result.cameras is cameras
    assert result.notes == ()


def test_adjust_cameras__small_errors_are_put_right(capture):
    true = capture.cameras.to(torch.float64)
    given, keypoints = disturbed(true, radians=0.005, metres=0.01), seen(capture)
    result = adjust_cameras(keypoints, given, fps=60.0)
    assert "lowers the median reprojection error" in result.notes[0]

    truth = capture.truth.positions.double()
    exact = project(truth[None], true)

    def shape_error(cameras: Cameras) -> float:
        """Of the distances of all joints from the first one: free of where the world is, and of noise."""
        found = triangulate(exact, cameras).positions
        lengths = [(joints - joints[..., :1, :]).norm(dim=-1) for joints in (found, truth)]
        return float((lengths[0] - lengths[1]).abs().nanmean())

    assert shape_error(result.cameras) < 0.5 * shape_error(given)


def test_adjust_cameras__people_stay_where_they_were(capture):
    true = capture.cameras.to(torch.float64)
    given, keypoints = disturbed(true, radians=0.005, metres=0.01), seen(capture)
    adjusted = adjust_cameras(keypoints, given, fps=60.0).cameras
    before, after = (
        triangulate(keypoints.positions, cameras, covariance=keypoints.covariance).positions.flatten(0, -2).nanmean(0)
        for cameras in (given, adjusted)
    )
    assert (before - after).norm() < 0.005
    assert geodesic_angle(given.extrinsics[0], adjusted.extrinsics[0]).max() < 0.05


@pytest.mark.parametrize("seed", range(6))
def test_adjust_cameras__right_cameras_stay_with_two_views_and_few_frames(capture, seed):
    cameras, keypoints = capture.cameras.to(torch.float64)[:2], seen(capture)[:2, seed * 10 : seed * 10 + 8]
    assert adjust_cameras(keypoints, cameras, fps=60.0).cameras is cameras


def test_adjust_cameras__too_little_evidence_changes_nothing(capture):
    given = disturbed(capture.cameras.to(torch.float64), radians=0.005, metres=0.01)
    assert adjust_cameras(seen(capture)[:, :1], given, fps=60.0).cameras is given
    blind = seen(capture)
    blind = replace(blind, positions=torch.full_like(blind.positions, torch.nan))
    assert adjust_cameras(blind, given, fps=60.0, config=AdjustmentConfig()).cameras is given

"""Cameras that cannot be right are named, with what to do; those of a real rig pass."""

from dataclasses import replace

import pytest
import torch

from calibrate.made import capture
from marey.calibrate.people_agreement import agree_about_people
from marey.calibrate.plausibility import camera_heights, check_cameras, check_people, check_stature
from marey.core import Cameras, Keypoints2D
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import project


@pytest.fixture
def cameras() -> Cameras:
    return capture().cameras


@pytest.fixture(scope="module")
def people() -> tuple[Keypoints2D, Cameras]:
    recording = make_keypoint_capture(KeypointCaptureConfig(frames=30, people=1, seed=2))
    cameras = recording.cameras.to(torch.float64)
    pixels = project(recording.truth.positions.double()[None], cameras)
    keypoints = Keypoints2D(
        positions=pixels,
        covariance=torch.eye(2, dtype=torch.float64).expand(*pixels.shape, 2).clone(),
        score=pixels.isfinite().all(-1).double(),
        skeleton=recording.truth.skeleton,
    )
    return keypoints, cameras


def texts(found) -> str:
    return " ".join(f"{finding.severity}: {finding.text} {finding.advice}" for finding in found)


def scaled(cameras: Cameras, factor: float) -> Cameras:
    """Of another unit."""
    return replace(cameras, translation=cameras.translation * factor)


def test_check_cameras__a_real_rig_is_plausible(cameras):
    found = check_cameras(cameras)
    assert [finding.severity for finding in found] == ["good"]
    assert "m apart" in found[0].text


def test_check_cameras__a_focal_length_in_millimetres(cameras):
    wrong = cameras.intrinsics.clone()
    wrong[1, 0, 0] = wrong[1, 1, 1] = 4.2
    assert "problem: cam_2: a focal length of 4.2 px for 800 x 600 pixels is a field of view of 179 degrees" in texts(
        check_cameras(replace(cameras, intrinsics=wrong))
    )


def test_check_cameras__pixels_that_are_not_square(cameras):
    wrong = cameras.intrinsics.clone()
    wrong[0, 1, 1] *= 1.1
    assert "cam_1: fx and fy differ by 9.1 %" in texts(check_cameras(replace(cameras, intrinsics=wrong)))


def test_check_cameras__a_principal_point_far_off(cameras):
    wrong = cameras.intrinsics.clone()
    wrong[2, 0, 2] += 300
    assert "cam_3: the principal point lies" in texts(check_cameras(replace(cameras, intrinsics=wrong)))


def test_check_cameras__a_distortion_that_folds(cameras):
    wrong = cameras.distortion.clone()
    wrong[0, 0] = -1.2
    found = texts(check_cameras(replace(cameras, distortion=wrong)))
    assert "problem: cam_1: the distortion has no inverse in" in found
    assert "fewer coefficients" in found


def test_check_cameras__one_camera_twice_and_one_that_looks_away(cameras):
    rotation, translation = (part.clone() for part in cameras.extrinsics)
    rotation[1], translation[1] = rotation[0], translation[0]
    assert "cam_1 and cam_2 stand at one place, 0 mm apart" in texts(
        check_cameras(replace(cameras, rotation=rotation, translation=translation))
    )
    turned, shift = (part.clone() for part in cameras.extrinsics)
    turned[2] = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64)) @ turned[2]
    shift[2] = -turned[2] @ cameras.centers[2]
    assert "cam_3 cannot see the point at which the cameras look together" in texts(
        check_cameras(replace(cameras, rotation=turned, translation=shift))
    )


def test_check_cameras__kilometres_apart(cameras):
    assert "The unit is probably another one" in texts(check_cameras(scaled(cameras, 1000)))


def test_check_cameras__without_places_or_sizes(cameras):
    bare = replace(cameras, rotation=None, translation=None, image_size=torch.full_like(cameras.image_size, torch.nan))
    found = texts(check_cameras(bare))
    assert "intrinsics only" in found
    assert "does not say the size of its images" in found


def test_check_people__right_cameras_are_good(people):
    keypoints, cameras = people
    found = check_people(agree_about_people(keypoints, cameras), cameras.names)
    assert [finding.severity for finding in found] == ["good"]


def test_check_people__a_camera_that_was_turned_is_named(people):
    keypoints, cameras = people
    rotation, translation = (part.clone() for part in cameras.extrinsics)
    angle = torch.tensor(0.03, dtype=torch.float64)
    turn = torch.eye(3, dtype=torch.float64)
    turn[0, 0] = turn[2, 2] = angle.cos()
    turn[0, 2], turn[2, 0] = angle.sin(), -angle.sin()
    rotation[1], translation[1] = turn @ rotation[1], turn @ translation[1]
    agreement = agree_about_people(keypoints, replace(cameras, rotation=rotation, translation=translation))
    found = texts(check_people(agreement, cameras.names, reachable_px=0.1))
    assert "cam_2 disagrees with the others" in found
    assert "Slightly other cameras agree better: 0.1 px" in found


def test_check_stature__another_unit_makes_giants(people):
    keypoints, cameras = people
    assert check_stature(keypoints, cameras) == ()
    assert "problem: People's thighs would be" in texts(check_stature(keypoints, scaled(cameras, 10)))


def test_camera_heights__above_the_ground_that_people_stand_on(people):
    keypoints, cameras = people
    points = agree_about_people(keypoints, cameras).points
    heights, ground = camera_heights(cameras.centers, points, torch.tensor([0.0, 0.0, 1.0]))
    assert ground == pytest.approx(0, abs=0.1)
    assert torch.allclose(heights, cameras.centers[:, 2] - ground)

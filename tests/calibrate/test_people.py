"""Cameras refined by people: small errors are put right, the stated uncertainty holds, right cameras stay."""

from dataclasses import replace

import pytest
import torch

from marey.calibrate.people import PeopleRefinementConfig, refine_with_people
from marey.calibrate.people_agreement import agree_about_people
from marey.core import Cameras, InputError, Keypoints2D
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.alignment import align
from marey.geometry.projection import project
from marey.geometry.rotations import rotvec_to_matrix

NOISE = 2.0


@pytest.fixture(scope="module")
def capture() -> KeypointCapture:
    return make_keypoint_capture(KeypointCaptureConfig(frames=240, people=1, seed=31))


def seen(capture: KeypointCapture, *, noise: float = NOISE) -> Keypoints2D:
    """What the true cameras see of the true people, with Gaussian noise."""
    pixels = project(capture.truth.positions.double()[None], capture.cameras.to(torch.float64))
    pixels = pixels + noise * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return Keypoints2D(
        positions=pixels,
        covariance=(noise**2 * torch.eye(2, dtype=torch.float64)).expand(*pixels.shape, 2).clone(),
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


def distance(found: Cameras, true: Cameras) -> torch.Tensor:
    """(V, 3) between the centres after the best similarity."""
    return align(found.centers, true.centers, transform="similarity").apply(found.centers) - true.centers


def test_refine_with_people__puts_cameras_right_and_says_how_well_they_are_known(capture):
    true = capture.cameras.to(torch.float64)
    given = disturbed(true, radians=0.02, metres=0.03)
    result = refine_with_people(seen(capture), given, fps=60.0)
    assert result.refined
    assert result.after.median_px < 2.2 < 10 < result.before.median_px
    error, deviation = distance(result.calibration.cameras, true), result.calibration.deviation
    assert deviation.shape == (4, 6)
    assert float(error.norm(dim=-1).max()) < 0.012 < 0.03 < float(distance(given, true).norm(dim=-1).max())
    assert 0.0005 < float(deviation[:, 3:].mean()) < 0.015
    assert float((error.abs() / deviation[:, 3:]).max()) < 4


def test_refine_with_people__deviations_see_errors_that_last(capture):
    """A detector that is wrong about a joint in the same way in every frame leaves the cameras less well known."""
    honest = seen(capture)
    joints = honest.positions.shape[-2]
    bias = 6 * torch.randn(4, 1, 1, joints, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    lasting = replace(honest, positions=honest.positions + bias)
    cameras = capture.cameras.to(torch.float64)
    one, other = (refine_with_people(points, cameras, fps=60.0).calibration.deviation for points in (honest, lasting))
    assert float((other / one).median()) > 2.5


def test_refine_with_people__right_cameras_stay_where_they_are(capture):
    cameras = capture.cameras.to(torch.float64)
    result = refine_with_people(seen(capture), cameras, fps=60.0)
    assert float(distance(result.calibration.cameras, cameras).norm(dim=-1).max()) < 0.01


def test_refine_with_people__the_focal_length_too(capture):
    true = capture.cameras.to(torch.float64)
    wrong = true.intrinsics.clone()
    wrong[1, :2, :2] *= 1.03
    result = refine_with_people(
        seen(capture), replace(true, intrinsics=wrong), fps=60.0, config=PeopleRefinementConfig(intrinsics=True)
    )
    found = result.calibration
    assert found.parameter_names[6:] == ("fx", "fy", "cx", "cy")
    assert found.deviation.shape == (4, 10)
    off = (found.cameras.intrinsics[1, 0, 0] - true.intrinsics[1, 0, 0]).abs()
    assert float(off) < 0.5 * float(wrong[1, 0, 0] - true.intrinsics[1, 0, 0])
    assert float(off / found.deviation[1, 6]) < 4


def test_refine_with_people__too_little_evidence_is_an_error(capture):
    with pytest.raises(InputError, match="people tell too little about these cameras"):
        refine_with_people(seen(capture)[:, :4], capture.cameras, fps=60.0)
    with pytest.raises(InputError, match="single frame"):
        refine_with_people(seen(capture)[:, :1], capture.cameras, fps=60.0)


def test_agree_about_people__names_the_camera_that_is_wrong(capture):
    true = capture.cameras.to(torch.float64)
    center = true.centers.clone()
    center[2, 2] += 0.15
    rotation, _ = true.extrinsics
    moved = replace(true, translation=-(rotation @ center[..., None])[..., 0])
    found = agree_about_people(seen(capture), moved)
    assert int(found.unseen_px.argmax()) == 2
    assert float(found.pair_px[2, 0]) > 3 * float(found.pair_px[0, 1])
    assert found.pair_px[0, 0].isnan()
    assert int(found.pair_joints[0, 0]) == found.pixels.shape[1]
    focal, depth = float(true.intrinsics[0, 0, 0]), 5.0
    assert float(found.error_mm[0]) == pytest.approx(1000 * float(found.error_px[0]) * depth / focal, rel=0.3)


def test_agree_about_people__joints_that_too_few_views_see_do_not_count(capture):
    keypoints = seen(capture)
    keypoints.positions[2:, :, :, :10] = torch.nan
    joints = keypoints.positions.shape[-2]
    assert agree_about_people(keypoints, capture.cameras, views=3).pixels.shape[1] == 240 * (joints - 10)
    assert agree_about_people(keypoints, capture.cameras).pixels.shape[1] == 240 * joints

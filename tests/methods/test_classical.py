"""The classical estimator: an observation in, joints with covariance and the views' residuals out."""

import math

import pytest
import torch

from marey.core import CalibrationError, Cameras, InputError, Keypoints2D, Observation, skeleton
from marey.geometry.projection import project
from marey.methods.classical import ClassicalEstimator, triangulate_keypoints
from synthetic import some_cameras

COCO = skeleton("coco_17")


def observation(views: int = 4, *, noise: float = 0.0) -> tuple[Observation, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    truth = 0.4 * torch.randn(6, 2, 17, 3, generator=random, dtype=torch.float64)
    cameras = some_cameras(views=views)
    pixels = project(truth[None], cameras)
    pixels = pixels + noise * torch.randn(pixels.shape, generator=random, dtype=torch.float64)
    keypoints = Keypoints2D(
        positions=pixels,
        covariance=torch.eye(2, dtype=torch.float64).expand(*pixels.shape, 2) * max(noise, 1.0) ** 2,
        score=torch.full(pixels.shape[:-1], 0.8, dtype=torch.float64),
        skeleton=COCO,
    )
    return Observation(keypoints=keypoints, cameras=cameras, start=100), truth


@pytest.mark.parametrize("triangulation", ["dlt", "weighted", "robust"])
def test_estimator__exact_keypoints(triangulation):
    given, truth = observation()
    estimate = ClassicalEstimator(triangulation=triangulation)(given)
    torch.testing.assert_close(estimate.joints.positions, truth, atol=1e-6, rtol=0)
    assert estimate.diagnostics.residuals.max() < 1e-3
    torch.testing.assert_close(estimate.joints.score, torch.full_like(estimate.joints.score, 0.8))
    assert estimate.frames == tuple(range(100, 106))


def test_estimator__a_gross_error_is_rejected_and_shown():
    given, truth = observation(noise=1.0)
    given.keypoints.positions[2, 3, 1, 5] += 200
    estimate = ClassicalEstimator()(given)
    assert (estimate.joints.positions[3, 1, 5] - truth[3, 1, 5]).norm() < 0.02
    assert estimate.diagnostics.weights[2, 3, 1, 5] < 0.01
    assert estimate.diagnostics.residuals[2, 3, 1, 5] > 150
    assert estimate.joints.score[3, 1, 5] < estimate.joints.score[3, 1, 6]


def test_triangulate_keypoints__a_joint_that_one_view_sees_is_unknown():
    given, _ = observation()
    given.keypoints.positions[1:, 2, 0, 7] = torch.nan
    joints, diagnostics = triangulate_keypoints(given.keypoints, given.cameras)
    assert joints.positions[2, 0, 7].isnan().all()
    assert joints.score[2, 0, 7] == 0
    assert (diagnostics.weights[:, 2, 0, 7] == 0).all()


def test_estimator__says_what_is_missing():
    given, _ = observation()
    with pytest.raises(InputError, match="needs keypoints"):
        ClassicalEstimator()(Observation(cameras=given.cameras))
    with pytest.raises(CalibrationError, match="calibration file"):
        ClassicalEstimator()(Observation(keypoints=given.keypoints))
    with pytest.raises(InputError, match="two or more views"):
        ClassicalEstimator()(Observation(keypoints=given.keypoints[:1], cameras=given.cameras[:1]))


def test_triangulate_keypoints__two_cameras_that_nearly_face_each_other_give_a_covariance():
    generator = torch.Generator().manual_seed(3)
    angle = torch.tensor(math.pi - 0.01)
    turn = torch.tensor([[angle.cos(), 0, -angle.sin()], [0, 1, 0], [angle.sin(), 0, angle.cos()]])
    cameras = Cameras(
        intrinsics=torch.tensor([[500.0, 0, 128], [0, 500, 128], [0, 0, 1]]).expand(2, 3, 3),
        distortion=torch.zeros(2, 0),
        image_size=torch.full((2, 2), 256.0),
        rotation=torch.stack((torch.eye(3), turn)),
        translation=torch.tensor([[0.0, 0, 5], [0, 0, 5]]),
    )
    points = torch.rand(300, 1, 17, 3, generator=generator) - 0.5
    keypoints = Keypoints2D(
        positions=project(points.expand(2, *points.shape), cameras),
        covariance=4 * torch.eye(2).expand(2, 300, 1, 17, 2, 2),
        score=torch.ones(2, 300, 1, 17),
        skeleton=COCO,
    )
    joints, _ = triangulate_keypoints(keypoints, cameras, method="dlt")
    spread = joints.covariance[joints.positions.isfinite().all(-1)].double()
    assert torch.equal(spread, spread.mT)
    assert (torch.linalg.eigvalsh(spread) > 0).all()

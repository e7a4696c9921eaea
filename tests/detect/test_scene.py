import dataclasses

import pytest
import torch

from detect.rig import ring, walker
from marey.core import CalibrationError, Detections2D, Keypoints2D
from marey.detect.scene import look, make_scene, sightings, update
from marey.geometry.projection import pixels_to_normalised, project


def scene_of(cameras, keypoints, slack=0.02):
    return make_scene(Detections2D(keypoints=keypoints), cameras, slack=slack, outlier=0.05, swap_penalty=2.0)


def keypoints_of(cameras, frames=3, people=1):
    joints, table = walker(frames, people)
    positions = project(joints.expand(*cameras.batch_shape, *joints.shape), cameras)
    covariance = 4 * torch.eye(2, dtype=torch.float64).expand(*positions.shape, 2)
    score = torch.ones(positions.shape[:-1], dtype=torch.float64)
    return Keypoints2D(positions=positions, covariance=covariance, score=score, skeleton=table), joints


def test_look__equals_projection_and_its_derivative():
    cameras = ring(3)
    keypoints, joints = keypoints_of(cameras)
    scene = scene_of(cameras, keypoints)
    points, jacobian, variance = look(scene, joints[0])
    torch.testing.assert_close(points, pixels_to_normalised(keypoints.positions[:, 0], cameras))
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    for axis in range(3):
        slope = (look(scene, joints[0] + step[axis])[0] - look(scene, joints[0] - step[axis])[0]) / 2e-6
        torch.testing.assert_close(jacobian[..., axis], slope, atol=1e-8, rtol=1e-6)
    assert variance.shape == points.shape[:-1]


def test_look__behind_the_camera_is_nowhere():
    cameras = ring(2)
    keypoints, _ = keypoints_of(cameras)
    scene = scene_of(cameras, keypoints)
    points, _, _ = look(scene, 3 * scene.center[0].expand(1, 1, 3))
    assert points[0].isnan().all()


@pytest.mark.parametrize("lens", [(), (-0.2, 0.05, 0.001, -0.001)])
def test_sightings__take_lens_and_intrinsics_out(lens):
    cameras = ring(3)
    cameras = dataclasses.replace(cameras, distortion=torch.tensor(lens, dtype=torch.float64).expand(3, -1))
    keypoints, joints = keypoints_of(cameras)
    scene = scene_of(cameras, keypoints)
    frames = list(sightings(Detections2D(keypoints=keypoints), cameras, scene.mirror, least_joints=4))
    assert len(frames) == 3
    expected, _, _ = look(scene, joints[1])
    torch.testing.assert_close(frames[1].points[:, 0], expected, atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(frames[1].points[:, 1], expected[..., scene.mirror, :], atol=1e-7, rtol=1e-7)
    torch.testing.assert_close(frames[1].spread[0, 0, 0, 0, 0, 0].item(), 4e-6, rtol=0.5, atol=0)


def test_sightings__missing_joints_and_nobody():
    cameras = ring(2)
    keypoints, _ = keypoints_of(cameras)
    keypoints.positions[0, 0, 0, 3:] = torch.nan
    keypoints.score[1, 0, 0, 2] = 0.0
    frames = sightings(Detections2D(keypoints=keypoints), cameras, torch.arange(17), least_joints=4)
    first = next(iter(frames))
    assert first.present[:, 0].tolist() == [False, True]
    assert first.points[1, 0, 0, 2].isnan().all()


def test_make_scene__no_extrinsics():
    cameras = ring(2)
    keypoints, _ = keypoints_of(cameras)
    with pytest.raises(CalibrationError, match="intrinsics only"):
        scene_of(dataclasses.replace(cameras, rotation=None, translation=None), keypoints)


def test_update__equals_the_normal_equations():
    """One step of the linear problem: prior and views added as information."""
    cameras = ring(3)
    keypoints, joints = keypoints_of(cameras)
    scene = scene_of(cameras, keypoints)
    truth = joints[0]
    mean = truth + 0.01
    prior = 0.02**2 * torch.eye(3, dtype=torch.float64).expand(*mean.shape, 3)
    points, _, _ = look(scene, truth)
    spread = 1e-6 * torch.eye(2, dtype=torch.float64).expand(*points.shape, 2)
    found, covariance, ratio = update(scene, mean, prior, points, spread, torch.ones(points.shape[:-1]))
    expected, jacobian, slack = look(scene, mean)
    noise = spread + slack[..., None, None] * torch.eye(2, dtype=torch.float64)
    information = torch.linalg.inv(prior) + (jacobian.mT @ torch.linalg.solve(noise, jacobian)).sum(0)
    force = (jacobian.mT @ torch.linalg.solve(noise, (points - expected)[..., None])).sum(0)
    torch.testing.assert_close(covariance, torch.linalg.inv(information))
    torch.testing.assert_close(found, mean + torch.linalg.solve(information, force)[..., 0])
    assert (ratio > 0).all()


def test_update__unseen_joint_stays_and_outlier_is_doubted():
    cameras = ring(4)
    keypoints, joints = keypoints_of(cameras)
    scene = scene_of(cameras, keypoints)
    truth = joints[0]
    prior = 0.05**2 * torch.eye(3, dtype=torch.float64).expand(*truth.shape, 3)
    points, _, _ = look(scene, truth)
    points[:, 0, 0] = torch.nan
    points[1, 0, 5] += 0.3
    spread = 1e-6 * torch.eye(2, dtype=torch.float64).expand(*points.shape, 2)
    found, covariance, ratio = update(scene, truth, prior, points, spread, torch.ones(points.shape[:-1]), steps=4)
    torch.testing.assert_close(found[0, 0], truth[0, 0])
    torch.testing.assert_close(covariance[0, 0], prior[0, 0])
    assert ratio[1, 0, 5] < 0
    assert (found[0, 5] - truth[0, 5]).norm() < 0.01

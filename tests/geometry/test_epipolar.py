import cv2
import numpy as np
import pytest
import torch

from marey.core import ShapeError
from marey.geometry.epipolar import (
    closest_points_of_rays,
    epipolar_lines,
    essential_from_points,
    essential_matrices,
    fundamental_matrices,
    pairwise_sampson_distance,
    pose_from_essential,
    relative_poses,
    sampson_distance,
)
from marey.geometry.projection import (
    pixels_to_rays,
    project,
    undistort_pixels,
    world_to_camera,
)
from marey.geometry.rotations import geodesic_angle, skew
from synthetic import some_cameras, some_points, some_rotations


def seen_by(cameras, points):
    return undistort_pixels(project(points[None], cameras), cameras)[0]


def test_relative_poses__move_between_the_frames():
    cameras, points = some_cameras(0), some_points(4, spread=0.3)
    turn, shift = relative_poses(cameras)
    local = world_to_camera(points[None], cameras)
    moved = (turn[..., None, :, :] @ local[:, None, :, :, None])[..., 0] + shift[..., None, :]
    torch.testing.assert_close(moved, local[None].expand(4, 4, 4, 3))


def test_matrices__points_of_all_pairs_fulfil_the_constraint():
    cameras, points = some_cameras(5), some_points(9, spread=0.3)
    cameras.intrinsics[:, 0, 1] = 4.0
    pixels = seen_by(cameras, points)
    flat = torch.cat((pixels, torch.ones_like(pixels[..., :1])), -1)
    matrix = fundamental_matrices(cameras)
    zero = torch.einsum("jna,ijab,inb->ijn", flat, matrix, flat)
    torch.testing.assert_close(zero, torch.zeros_like(zero), atol=1e-9, rtol=0)
    K = cameras.intrinsics
    essential = K.mT[None] @ matrix @ K[:, None]
    torch.testing.assert_close(essential, essential_matrices(cameras))
    torch.testing.assert_close(matrix, matrix.transpose(0, 1).mT)
    lines = epipolar_lines(pixels[0], matrix[0, 1])
    torch.testing.assert_close((lines * flat[1]).sum(-1), torch.zeros(9).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(lines[..., :2].norm(dim=-1), torch.ones(9).double())


def test_sampson_distance__equals_opencv_and_the_true_distance_of_small_errors():
    cameras, points = some_cameras(0), some_points(9, spread=0.3)
    pixels = seen_by(cameras, points)
    moved = pixels + torch.randn(4, 9, 2).double()
    matrix = fundamental_matrices(cameras)[0, 1]
    ours = sampson_distance(moved[0], moved[1], matrix)
    for k in range(9):
        pair = (np.array([*moved[view, k].tolist(), 1.0]) for view in (0, 1))
        expected = cv2.sampsonDistance(*pair, matrix.numpy())
        np.testing.assert_allclose(ours[k] ** 2, expected, rtol=1e-6)
    corrected = cv2.correctMatches(matrix.numpy(), moved[:1].numpy(), moved[1:2].numpy())
    shift = np.concatenate([a - b.numpy() for a, b in zip(corrected, (moved[:1], moved[1:2]), strict=True)], -1)
    np.testing.assert_allclose(ours, np.linalg.norm(shift[0], axis=-1), rtol=1e-3)


def test_pairwise_sampson_distance__is_symmetric_and_missing_is_nan():
    cameras, points = some_cameras(5), some_points(2, 9, spread=0.3)
    pixels = seen_by(cameras, points).float()
    pixels[1, 0, 3] = torch.nan
    pixels[2, 1, 5] += 20
    distance = pairwise_sampson_distance(pixels, cameras)
    assert distance.shape == (4, 4, 2, 9)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, distance.transpose(0, 1), equal_nan=True, rtol=1e-3, atol=1e-2)
    assert distance.diagonal().isnan().all()
    assert distance[0, 1, 0, 3].isnan()
    assert distance[0, 3, 0, 3] < 0.1
    assert distance[0, 2, 1, 5] > 1
    with pytest.raises(ShapeError, match="expected"):
        pairwise_sampson_distance(pixels[:3], cameras)


def test_closest_points_of_rays__of_a_seen_point():
    cameras, points = some_cameras(5), some_points(9, spread=0.3)
    origins, directions = pixels_to_rays(project(points[None], cameras), cameras)
    meeting = closest_points_of_rays(origins[:1], directions[:1], origins[1:], 2 * directions[1:])
    torch.testing.assert_close(meeting.midpoint, points.expand(3, 9, 3))
    torch.testing.assert_close(meeting.distance, torch.zeros(3, 9).double(), atol=1e-7, rtol=0)
    lengths = (points - origins).norm(dim=-1)
    torch.testing.assert_close(meeting.depths[..., 0], lengths[:1].expand(3, 9))
    torch.testing.assert_close(meeting.depths[..., 1], lengths[1:] / 2)


def test_closest_points_of_rays__crossing_parallel_and_behind():
    origin = torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 0]])
    direction = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 0, 0]])
    other = torch.tensor([[0.0, 3, 2], [5, 3, 4], [-1, -1, 0]])
    heading = torch.tensor([[0.0, 1, 0], [-2, 0, 0], [0, 1, 0]])
    meeting = closest_points_of_rays(origin, direction, other, heading)
    torch.testing.assert_close(meeting.distance, torch.tensor([2.0, 5.0, 0.0]))
    torch.testing.assert_close(meeting.depths[[0, 2]], torch.tensor([[0.0, -3.0], [-1.0, 1.0]]))
    assert meeting.depths[1].isnan().all()
    assert meeting.midpoint[1].isnan().all()
    torch.testing.assert_close(meeting.midpoint[0], torch.tensor([0.0, 0.0, 1.0]))


def two_views(*batch, count=40, noise=0.0):
    rotation = some_rotations(*batch, seed=1)
    translation = torch.nn.functional.normalize(some_points(*batch, seed=2), dim=-1)
    points = some_points(*batch, count, seed=3) + torch.tensor([0.0, 0, 5])
    moved = points @ rotation.mT + translation[..., None, :]
    source, target = (value[..., :2] / value[..., 2:] for value in (points, moved))
    generator = torch.Generator().manual_seed(0)
    error = noise * torch.randn(2, *source.shape, generator=generator).double()
    return source + error[0], target + error[1], rotation, translation


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_essential_from_points__and_its_pose_are_recovered(batch):
    source, target, rotation, translation = two_views(*batch)
    essential = essential_from_points(source, target)
    torch.testing.assert_close(torch.linalg.svdvals(essential), torch.tensor([1.0, 1, 0]).double().expand(*batch, 3))
    found, baseline, share = pose_from_essential(essential, source, target)
    torch.testing.assert_close(found, rotation)
    torch.testing.assert_close(baseline, translation)
    torch.testing.assert_close(share, torch.ones(batch).double())


@pytest.mark.parametrize("sign", [1, -1])
def test_pose_from_essential__of_known_cameras_with_either_sign(sign):
    source, target, rotation, translation = two_views(5)
    essential = sign * skew(3 * translation) @ rotation
    found, baseline, _ = pose_from_essential(essential, source, target)
    torch.testing.assert_close(found, rotation)
    torch.testing.assert_close(baseline, translation)


def test_essential_from_points__noise_weights_and_missing():
    source, target, rotation, translation = two_views(20, count=200, noise=0.001)
    source[:, :30] += 0.5
    target[:, 30:60] = torch.nan
    weights = torch.ones(200).double().expand(20, 200).clone()
    weights[:, :30] = 0
    essential = essential_from_points(source.float(), target.float(), weights=weights)
    assert essential.dtype == torch.float32
    found, baseline, share = pose_from_essential(essential.double(), source, target, weights=weights)
    assert geodesic_angle(found, rotation).max() < 0.02
    assert (share > 0.99).all()
    assert ((baseline * translation).sum(-1) > 0.97).all()
    assert essential_from_points(source[0, 60:67], target[0, 60:67]).isnan().all()


def test_gradients__match_differences():
    cameras = some_cameras(0, views=2)
    matrix = essential_matrices(cameras)[0, 1].requires_grad_()
    a, b = (torch.rand(3, 2).double().requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(sampson_distance, (a, b, matrix))
    rays = [some_points(3, seed=seed).requires_grad_() for seed in range(4)]

    def meet(*values):
        meeting = closest_points_of_rays(*values)
        return meeting.midpoint, meeting.distance, meeting.depths

    assert torch.autograd.gradcheck(meet, rays)

import cv2
import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, ShapeError
from marey.geometry.projection import (
    camera_to_world,
    distort,
    normalised_to_pixels,
    pixels_to_normalised,
    pixels_to_rays,
    project,
    project_from_camera,
    project_from_camera_with_jacobian,
    project_with_jacobian,
    reprojection_error,
    undistort,
    undistort_pixels,
    world_to_camera,
)
from synthetic import some_cameras, some_points


def opencv_view(cameras, view):
    return (
        cv2.Rodrigues(cameras.rotation[view].numpy())[0],
        cameras.translation[view].numpy(),
        cameras.intrinsics[view].numpy(),
        cameras.distortion[view].numpy() if cameras.distortion.shape[-1] else None,
    )


@pytest.mark.parametrize("length", [0, 4, 5, 8, 12, 14])
@pytest.mark.parametrize("seed", range(5))
def test_project__equals_opencv_with_its_jacobian(length, seed):
    cameras, points = some_cameras(length, seed=seed), some_points(50, seed=seed)
    pixels, jacobian = project_with_jacobian(points[None], cameras)
    for view in range(4):
        rotvec, t, K, lens = opencv_view(cameras, view)
        expected, derivative = cv2.projectPoints(points.numpy(), rotvec, t, K, lens)
        by_point = derivative[:, 3:6].reshape(50, 2, 3) @ cameras.rotation[view].numpy()
        np.testing.assert_allclose(pixels[view], expected[:, 0], rtol=0, atol=1e-8)
        np.testing.assert_allclose(jacobian[view], by_point, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(project(points[None], cameras), pixels)


@pytest.mark.parametrize("seed", range(5))
def test_project__equals_opencv_fisheye(seed):
    cameras = some_cameras(4, fisheye=torch.ones(4, dtype=torch.bool), seed=seed)
    points = some_points(50, seed=seed)
    pixels, jacobian = project_with_jacobian(points[None], cameras)
    for view in range(4):
        rotvec, t, K, lens = opencv_view(cameras, view)
        expected, derivative = cv2.fisheye.projectPoints(points[None].numpy(), rotvec, t, K, lens)
        np.testing.assert_allclose(pixels[view], expected[0], rtol=0, atol=1e-8)
        by_point = derivative[:, 11:14].reshape(50, 2, 3) @ cameras.rotation[view].numpy()
        np.testing.assert_allclose(jacobian[view], by_point, rtol=1e-6, atol=1e-6)


def test_project__mixes_lens_models_in_one_batch():
    fisheye = torch.tensor([True, False, True, False])
    cameras = some_cameras(8, fisheye=fisheye)
    cameras = Cameras(**{**vars(cameras), "distortion": torch.where(fisheye[:, None], 0.3, 1.0) * cameras.distortion})
    points = some_points(20)
    pixels = project(points[None], cameras)
    for view in range(4):
        rotvec, t, K, lens = opencv_view(cameras, view)
        if fisheye[view]:
            expected = cv2.fisheye.projectPoints(points[None].numpy(), rotvec, t, K, lens[:4])[0][0]
        else:
            expected = cv2.projectPoints(points.numpy(), rotvec, t, K, lens)[0][:, 0]
        np.testing.assert_allclose(pixels[view], expected, atol=1e-8)
    ideal = undistort(distort(torch.rand(4, 20, 2).double() - 0.5, cameras), cameras)
    assert ideal.isfinite().all()


@pytest.mark.parametrize("length", [4, 5, 8, 12, 14])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undistort__inverts_distort(length, dtype):
    for seed in range(10):
        cameras = some_cameras(length, seed=seed)
        ideal = (torch.rand(4, 30, 2, generator=torch.Generator().manual_seed(seed)).to(dtype) - 0.5) * 0.9
        back = undistort(distort(ideal, cameras), cameras)
        solved = back.isfinite().all(-1)
        assert solved.double().mean() > 0.97  # a few random lenses fold within the image
        tolerance = 2e-5 if dtype == torch.float32 else 1e-10
        torch.testing.assert_close(back[solved], ideal[solved], rtol=0, atol=tolerance)


@pytest.mark.parametrize("length", [4, 5, 8, 12, 14])
def test_undistort__equals_opencv_run_to_convergence(length):
    cameras = some_cameras(length, seed=3)
    pixels = normalised_to_pixels(distort(torch.rand(4, 30, 2).double() - 0.5, cameras), cameras)
    ours = undistort(pixels_to_normalised(pixels, cameras), cameras)
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-14)
    for view in range(4):
        _, _, K, lens = opencv_view(cameras, view)
        expected = cv2.undistortPoints(pixels[view].numpy()[:, None], K, lens, criteria=criteria)
        np.testing.assert_allclose(ours[view], expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_undistort__fisheye_to_80_degrees_and_opencv(dtype):
    cameras = some_cameras(4, fisheye=torch.ones(4, dtype=torch.bool), seed=1)
    cameras = Cameras(**{**vars(cameras), "distortion": cameras.distortion.abs() * 0.3})
    angle, turn = torch.rand(2, 4, 50, dtype=torch.float64)
    radius = (angle * 1.4).tan()
    ideal = torch.stack((radius * (6.3 * turn).cos(), radius * (6.3 * turn).sin()), -1).to(dtype)
    distorted = distort(ideal, cameras)
    back = undistort(distorted, cameras)
    torch.testing.assert_close(back, ideal, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=1e-6)
    if dtype == torch.float64:
        pixels = normalised_to_pixels(distorted, cameras)
        for view in range(4):
            _, _, K, lens = opencv_view(cameras, view)
            expected = cv2.fisheye.undistortPoints(pixels[view].numpy()[:, None], K, lens)
            np.testing.assert_allclose(back[view], expected[:, 0], rtol=1e-5, atol=1e-7)


def test_undistort__many_points_are_solved_as_few_are():
    cameras = some_cameras(5, seed=4)
    pixels = project(some_points(1, 3, 2000, spread=0.5), cameras)
    pixels[2, 1, 7] = torch.nan
    ideal, jacobian = undistort_pixels(pixels, cameras)
    few, few_jacobian = undistort_pixels(pixels[:, :, :10], cameras)
    torch.testing.assert_close(ideal[:, :, :10], few, equal_nan=True)
    torch.testing.assert_close(jacobian[:, :, :10], few_jacobian, equal_nan=True)
    assert ideal.isnan().any(-1).nonzero().tolist() == [[2, 1, 7]]


def test_undistort__beyond_the_fold_is_nan():
    # r (1 - 0.4 r^2) grows up to r = 0.913, where it is 0.609; with k2 it grows again and reaches every radius
    for k2 in (0.0, 0.02):
        cameras = Cameras(
            intrinsics=torch.eye(3), distortion=torch.tensor([-0.4, k2, 0.0, 0.0]), image_size=torch.ones(2)
        )
        x = torch.tensor([0.0, 0.3, 0.55, 0.7, 1.2, 3.0, 5.0, torch.inf, torch.nan])
        solved = undistort(torch.stack((x, torch.zeros(9)), -1), cameras).isfinite().all(-1)
        assert solved.tolist() == [True] * 3 + [False] * 6


@pytest.mark.parametrize("length", [0, 5, 14])
def test_undistort_pixels__jacobian_is_the_derivative(length):
    cameras = some_cameras(length, seed=2)
    cameras.intrinsics[:, 0, 1] = 3.0
    pixels = torch.rand(4, 5, 2).double() * torch.tensor([600.0, 300.0]) + 300
    ideal, jacobian = undistort_pixels(pixels, cameras)
    step = 1e-4
    for axis in range(2):
        shift = torch.zeros(2).double()
        shift[axis] = step
        difference = (undistort_pixels(pixels + shift, cameras)[0] - undistort_pixels(pixels - shift, cameras)[0]) / (
            2 * step
        )
        torch.testing.assert_close(jacobian[..., axis], difference, rtol=1e-6, atol=1e-7)
    expected = normalised_to_pixels(undistort(pixels_to_normalised(pixels, cameras), cameras), cameras)
    torch.testing.assert_close(ideal, expected)


@pytest.mark.parametrize("kind", ["pinhole", "fisheye", "tilt"])
def test_gradients__match_differences(kind):
    length = {"pinhole": 5, "fisheye": 4, "tilt": 14}[kind]
    fisheye = torch.ones(2, dtype=torch.bool) if kind == "fisheye" else None
    base = some_cameras(length, views=2, fisheye=fisheye, seed=4)

    def cameras(K, lens, R, t):
        return Cameras(
            intrinsics=K, distortion=lens, rotation=R, translation=t, image_size=base.image_size, fisheye=fisheye
        )

    inputs = [base.intrinsics, base.distortion, base.rotation, base.translation]
    inputs = [value.clone().requires_grad_() for value in (some_points(1, 3, seed=5), *inputs)]
    torch.autograd.gradcheck(lambda p, *rest: project(p, cameras(*rest)), inputs, rtol=1e-3)
    torch.autograd.gradcheck(lambda p, *rest: project_with_jacobian(p, cameras(*rest)), inputs, rtol=1e-3)
    flat = [(torch.rand(2, 3, 2).double() * 0.6 - 0.3).requires_grad_(), inputs[2]]
    torch.autograd.gradcheck(
        lambda xy, lens: undistort(xy, cameras(base.intrinsics, lens, base.rotation, base.translation)), flat
    )


def test_project__behind_and_missing_are_nan_and_leave_gradients_finite():
    cameras = some_cameras(5)
    cameras.rotation[:] = torch.eye(3)
    points = some_points(6)
    points[1, 2], points[2, 0] = -10.0, torch.nan
    points.requires_grad_()
    R = cameras.rotation.clone().requires_grad_()
    pixels = project(points[None], Cameras(**{**vars(cameras), "rotation": R}))
    assert pixels.isnan().any(-1).any(0).tolist() == [False, True, True, False, False, False]
    pixels.nansum().backward()
    assert points.grad.isfinite().all()
    assert R.grad.isfinite().all()
    assert R.grad.abs().sum() > 0
    values = project_with_jacobian(points[None], cameras)
    assert all(value[:, 1:3].isnan().all() for value in values)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_shapes__camera_batch_leads_and_the_rest_is_free(batch):
    count = int(np.prod(batch))
    cameras = some_cameras(5, views=count)
    cameras = cameras.map(lambda value: value.reshape(*batch, *value.shape[1:]))
    points = some_points(*batch, 7, 2)
    assert project(points, cameras).shape == (*batch, 7, 2, 2)
    assert project(points[..., 0, 0, :], cameras).shape == (*batch, 2)
    assert project_with_jacobian(points, cameras)[1].shape == (*batch, 7, 2, 2, 3)
    assert undistort_pixels(project(points, cameras), cameras)[1].shape == (*batch, 7, 2, 2, 2)
    torch.testing.assert_close(camera_to_world(world_to_camera(points, cameras), cameras), points)
    shared = points[(slice(0, 1),) * len(batch)]
    assert project(shared, cameras).shape == (*batch, 7, 2, 2)
    torch.testing.assert_close(project(shared, cameras), project(shared.expand(*batch, 7, 2, 3), cameras))


def test_pixels_to_rays__pass_through_the_points():
    cameras, points = some_cameras(5), some_points(9, spread=0.3)
    origins, directions = pixels_to_rays(project(points[None], cameras), cameras)
    along = ((points - origins) * directions).sum(-1, keepdim=True)
    torch.testing.assert_close(origins + along * directions, points.expand(4, 9, 3))
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(4, 9).double())
    torch.testing.assert_close(origins[:, 0], cameras.centers)


def test_project_from_camera__is_project_without_extrinsics():
    cameras, points = some_cameras(5), some_points(4, 9)
    bare = Cameras(**{**vars(cameras), "rotation": None, "translation": None})
    local = world_to_camera(points, cameras)
    torch.testing.assert_close(project_from_camera(local, bare), project(points, cameras))
    pixels, jacobian = project_from_camera_with_jacobian(local, bare)
    torch.testing.assert_close(jacobian @ cameras.rotation[:, None], project_with_jacobian(points, cameras)[1])
    with pytest.raises(CalibrationError, match="intrinsics only"):
        project(points, bare)
    assert pixels.shape == (4, 9, 2)


def test_project__no_camera_at_all():
    cameras = some_cameras(5)[:0]
    assert project(torch.zeros(0, 7, 3), cameras).shape == (0, 7, 2)
    assert project_from_camera(torch.zeros(0, 7, 3), cameras).shape == (0, 7, 2)
    assert world_to_camera(torch.zeros(0, 2, 7, 3), cameras).shape == (0, 2, 7, 3)


def test_project__points_that_do_not_begin_with_the_views():
    with pytest.raises(ShapeError, match=r"points\[None\]"):
        project(some_points(7, 2), some_cameras())
    with pytest.raises(ShapeError, match=r"expected \(4, '...', 3\)"):
        project(torch.zeros(4, 17, 2), some_cameras())


def test_project__float32_points_take_float64_cameras():
    pixels = project(some_points(1, 5).float(), some_cameras())
    assert pixels.dtype == torch.float32


class Exported(torch.nn.Module):
    """A function of points and cameras as a graph whose cameras are inputs too."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, points, intrinsics, distortion, image_size, rotation, translation, fisheye):
        cameras = Cameras(
            intrinsics=intrinsics,
            distortion=distortion,
            image_size=image_size,
            rotation=rotation,
            translation=translation,
            fisheye=fisheye,
        )
        return self.function(points, cameras)


@pytest.mark.parametrize("function", [project_with_jacobian, undistort_pixels])
@pytest.mark.parametrize("fisheye", [None, torch.tensor([True, False, True, False])])
def test_functions__export_as_graphs(function, fisheye):
    cameras = some_cameras(5, fisheye=fisheye)
    points = some_points(1, 6, spread=0.3)
    inputs = points if function is project_with_jacobian else project(points, cameras)
    fields = ("intrinsics", "distortion", "image_size", "rotation", "translation", "fisheye")
    arguments = (inputs, *(getattr(cameras, field) for field in fields))
    graph = torch.export.export(Exported(function), arguments).module()
    torch.testing.assert_close(graph(*arguments), function(inputs, cameras))


def test_reprojection_error__is_a_distance_in_pixels():
    cameras, points = some_cameras(), some_points(5)
    pixels = project(points[None], cameras)
    pixels[1, 2] += torch.tensor([3.0, 4.0], dtype=pixels.dtype)
    pixels[2, 0] = torch.nan
    error = reprojection_error(points[None], pixels, cameras)
    assert error.shape == (4, 5)
    assert error[1, 2] == pytest.approx(5.0)
    assert error[2, 0].isnan()
    assert error[0].abs().max() < 1e-9

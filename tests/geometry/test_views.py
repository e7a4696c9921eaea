from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, ShapeError
from marey.geometry.projection import project, undistort_pixels
from marey.geometry.views import (
    crop_cameras,
    fit_to_image,
    flip_cameras,
    look_at,
    look_at_boxes,
    resize_cameras,
    rotate_cameras_90,
    spread_cameras,
    warp_grid,
)
from synthetic import some_cameras, some_points

FISHEYE = torch.tensor([True, False, True, False])


def lenses():
    yield some_cameras(0)
    yield some_cameras(5)
    yield some_cameras(12)
    yield replace(some_cameras(4, fisheye=FISHEYE), fisheye=FISHEYE)


def test_crop_cameras__shifts_pixels_and_keeps_the_whole_image():
    corners = torch.tensor([[-0.5, -0.5, 1279.5, 719.5], [99.5, 49.5, 300.5, 250.5]]).double().expand(4, 2, 4)
    for cameras in lenses():
        points = some_points(4, 5)
        before = project(points, cameras)
        whole, part = crop_cameras(cameras, corners)[:, 0], crop_cameras(cameras, corners)[:, 1]
        torch.testing.assert_close(project(points, whole), before)
        torch.testing.assert_close(project(points, part), before - torch.tensor([100.0, 50.0]))
        assert part.image_size.tolist() == [[201.0, 201.0]] * 4
        assert crop_cameras(cameras, corners).batch_shape == (4, 2)


def test_resize_cameras__keeps_the_borders_of_the_image():
    for cameras in lenses():
        points = some_points(4, 5)
        after = project(points, resize_cameras(cameras, (640, 240)))
        scale = torch.tensor([0.5, 1 / 3]).double()
        torch.testing.assert_close(after, (project(points, cameras) + 0.5) * scale - 0.5)
    unknown = replace(cameras, image_size=cameras.image_size * torch.nan)
    with pytest.raises(CalibrationError, match="unknown size"):
        resize_cameras(unknown, (640, 480))


def test_flip_cameras__sees_the_mirrored_world_in_the_flipped_image():
    for cameras in [*lenses(), some_cameras(14)]:
        cameras.intrinsics[:, 0, 1] = 2.0
        points = some_points(4, 5)
        before, after = project(points, cameras), project(points * torch.tensor([-1.0, 1, 1]), flip_cameras(cameras))
        torch.testing.assert_close(after, torch.stack((1279 - before[..., 0], before[..., 1]), -1))
        flipped = flip_cameras(cameras)
        torch.testing.assert_close(torch.linalg.det(flipped.rotation), torch.ones(4).double())
        torch.testing.assert_close(project(points, flip_cameras(flipped)), before)


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5])
def test_rotate_cameras_90__sees_what_numpy_turns(turns):
    marker = np.zeros((720, 1280))
    marker[100, 300] = 1
    ((v, u),) = np.argwhere(np.rot90(marker, turns))
    for cameras in lenses():
        points = some_points(4, 5)
        expected, size, seen = project(points, cameras), (1280, 720), np.array([300, 100])
        for _ in range(turns):
            expected = torch.stack((expected[..., 1], size[0] - 1 - expected[..., 0]), -1)
            seen = np.array([seen[1], size[0] - 1 - seen[0]])
            size = size[::-1]
        assert seen.tolist() == [u, v]
        turned = rotate_cameras_90(cameras, turns)
        torch.testing.assert_close(project(points, turned), expected)
        assert turned.image_size[0].tolist() == list(size)


def test_rotate_cameras_90__what_has_no_turned_model():
    with pytest.raises(CalibrationError, match="undistort"):
        rotate_cameras_90(some_cameras(14))


def test_look_at__centres_the_pixel_and_returns_the_homography():
    for cameras in lenses():
        points = some_points(4, 5, spread=0.3)
        pixels = project(points, cameras)
        virtual, homography = look_at(cameras, pixels, focal=torch.full((4, 5), 500.0), size=(256, 128))
        assert virtual.batch_shape == (4, 5)
        torch.testing.assert_close(project(points, virtual), torch.tensor([127.5, 63.5]).double().expand(4, 5, 2))
        torch.testing.assert_close(virtual.centers, cameras.centers[:, None].expand(4, 5, 3))
        torch.testing.assert_close(torch.linalg.det(virtual.rotation), torch.ones(4, 5).double())
        others = some_points(4, 5, seed=1, spread=0.3)
        ideal, _ = undistort_pixels(project(others, cameras), cameras)
        mapped = (homography @ torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1)[..., None])[..., 0]
        torch.testing.assert_close(mapped[..., :2] / mapped[..., 2:], project(others, virtual))


def test_look_at__keeps_upright():
    camera = some_cameras(0, views=1)[0]
    camera = replace(camera, rotation=torch.eye(3).double(), translation=torch.zeros(3).double())
    virtual, _ = look_at(camera, torch.tensor([100.0, 650.0]), focal=torch.tensor(500.0), size=(200, 200))
    assert virtual.rotation[0, 1] == 0
    assert virtual.rotation[1, 1] > 0


def test_look_at_boxes__holds_the_box():
    corners = torch.tensor([[200.0, 100.0, 500.0, 700.0], [600.0, 200.0, 700.0, 300.0]]).double().expand(4, 2, 4)
    for cameras in lenses():
        for margin in (1.0, 1.5):
            virtual, homography = look_at_boxes(cameras, corners, size=(256, 256), margin=margin)
            left, top, right, bottom = corners.unbind(-1)
            outline = torch.stack((torch.stack((left, top), -1), torch.stack((right, bottom), -1)), -2)
            ideal, _ = undistort_pixels(outline, cameras)
            mapped = torch.cat((ideal, torch.ones_like(ideal[..., :1])), -1) @ homography.mT
            seen = mapped[..., :2] / mapped[..., 2:] - 127.5
            assert seen.abs().max() <= 128 / margin + 1e-9
            assert (seen.abs().amax((-1, -2)) > 0.8 * 128 / margin).all()
            assert virtual.batch_shape == (4, 2)


def test_warp_grid__samples_what_the_virtual_camera_sees():
    # an image whose value at a pixel is its coordinates: the sample must be where the virtual pixel's ray lands
    u, v = np.meshgrid(np.arange(320.0), np.arange(240.0))
    image = torch.from_numpy(np.stack((u, v)))
    for cameras in lenses():
        cameras = resize_cameras(cameras, (320, 240))
        corners = torch.tensor([60.0, 60, 200, 180]).double().expand(4, 3, 4)
        virtual, homography = look_at_boxes(cameras, corners, size=(32, 48))
        grid = warp_grid(cameras, homography, size=(32, 48))
        assert grid.shape == (4, 3, 48, 32, 2)
        picture = torch.nn.functional.grid_sample(image.expand(4, 2, 240, 320), grid[:, 1], align_corners=False)
        points = some_points(4, 50, seed=2, spread=0.2)
        at, source = project(points, virtual[:, 1]), project(points, cameras)
        inside = ((at > 1) & (at < torch.tensor([30.0, 46.0]))).all(-1)
        assert inside.sum() > 5
        looked_up = torch.nn.functional.grid_sample(
            picture, ((2 * at + 1) / torch.tensor([32, 48]) - 1)[:, None], align_corners=False
        )[:, :, 0].mT
        torch.testing.assert_close(looked_up[inside], source[inside], rtol=0, atol=0.05)


def test_warp_grid__equals_opencv_undistortion():
    cameras = resize_cameras(some_cameras(5, seed=1), (320, 240))
    grid = warp_grid(cameras, torch.eye(3).double().expand(4, 3, 3), size=(320, 240))
    for view in range(4):
        K, lens = cameras.intrinsics[view].numpy(), cameras.distortion[view].numpy()
        x, y = cv2.initUndistortRectifyMap(K, lens, None, K, (320, 240), cv2.CV_32FC1)
        ours = ((grid[view] + 1) * torch.tensor([320.0, 240.0]) - 1) / 2
        inside = grid[view, ..., 0] != 2
        np.testing.assert_allclose(ours[inside], np.stack((x, y), -1)[inside], atol=2e-4)
        assert inside.double().mean() > 0.95


def test_warp_grid__behind_the_camera_is_outside():
    camera = resize_cameras(some_cameras(0, views=1), (320, 240))[0]
    backwards = camera.intrinsics @ torch.diag(torch.tensor([-1.0, 1, -1]).double()) @ camera.intrinsics.inverse()
    assert (warp_grid(camera, backwards, size=(8, 8)) == 2).all()


def pose2sim_like(*sizes):
    count = len(sizes)
    return Cameras(
        intrinsics=torch.tensor([[1600.0, 0, 540], [0, 1600, 950], [0, 0, 1]]).double().expand(count, 3, 3),
        distortion=torch.zeros(count, 5).double(),
        image_size=torch.tensor(sizes).double(),
        names=tuple("abcd"[:count]),
    )


def test_fit_to_image__scales_to_the_width_and_centres_in_height():
    cameras = pose2sim_like((1088, 1920), (1088, 1920))
    fitted, notes = fit_to_image(cameras, torch.tensor([[1080, 1920], [1088, 1920]]), ("a", "b"))
    assert len(notes) == 1
    assert "1080x1920" in notes[0]
    assert "u = 1.0074 u'" in notes[0]
    assert "v = 1.0074 v' -7.1" in notes[0]
    torch.testing.assert_close(fitted.intrinsics[1], cameras.intrinsics[1])
    seen = torch.tensor([0.0, 0.0, 1.0]).double()
    calibrated, actual = cameras.intrinsics[0] @ seen, fitted.intrinsics[0] @ seen
    # measured on the recording by others: u = 1.0075 u', v = 1.0075 v' - 6.7
    assert abs(calibrated[0] - 1.0075 * actual[0]) < 0.1
    assert abs(calibrated[1] - (1.0075 * actual[1] - 6.7)) < 0.6
    # the middle of the image stays the middle, and the left and right borders stay borders
    scale = 1088 / 1080
    torch.testing.assert_close(actual[1] - 959.5, (calibrated[1] - 959.5) / scale)
    torch.testing.assert_close(actual[0] + 0.5, (calibrated[0] + 0.5) / scale)
    assert fitted.image_size.tolist() == [[1080.0, 1920.0], [1088.0, 1920.0]]


def test_fit_to_image__too_far_apart():
    with pytest.raises(CalibrationError, match="view 'b': its images are 1000x1920"):
        fit_to_image(pose2sim_like((1088, 1920), (1088, 1920)), torch.tensor([[1088, 1920], [1000, 1920]]), ("a", "b"))
    with pytest.raises(CalibrationError, match="rotation flag"):
        fit_to_image(pose2sim_like((1088, 1920)), torch.tensor([[1920, 1088]]), ("a",))
    with pytest.raises(ShapeError, match="as many names"):
        fit_to_image(pose2sim_like((1088, 1920)), torch.tensor([[1920, 1088]]), ("a", "b"))


def test_fit_to_image__unknown_sizes():
    nan = torch.nan
    cameras = pose2sim_like((1088, 1920), (nan, nan))
    fitted, notes = fit_to_image(cameras, torch.tensor([[nan, nan], [640.0, 480.0]]), ("a", "b"))
    assert notes == ()
    assert fitted.image_size.tolist() == [[1088.0, 1920.0], [640.0, 480.0]]
    torch.testing.assert_close(fitted.intrinsics, cameras.intrinsics)


def test_spread_cameras__refuses_other_shapes():
    assert spread_cameras(some_cameras(5), (4, 7, 2)).batch_shape == (4, 7, 2)
    with pytest.raises(ShapeError, match=r"begins with the cameras' \(4,\)"):
        spread_cameras(some_cameras(5), (3, 4))

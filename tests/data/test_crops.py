from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import Cameras, InputError, ShapeError
from marey.data import crops
from marey.geometry.projection import project


def cameras(count=1, *, lens=(), extrinsics=True, size=(320.0, 240.0)):
    eye = torch.eye(3, dtype=torch.float64).expand(count, 3, 3)
    matrix = torch.tensor([[300.0, 0, 160], [0, 290, 120], [0, 0, 1]], dtype=torch.float64).expand(count, 3, 3)
    angle = torch.tensor(0.3, dtype=torch.float64)
    roll = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0], [0, 0, 1]])
    return Cameras(
        intrinsics=matrix,
        distortion=torch.tensor(lens, dtype=torch.float64).expand(count, len(lens)),
        image_size=torch.tensor(size, dtype=torch.float64).expand(count, 2),
        rotation=roll.double() @ eye if extrinsics else None,
        translation=eye.new_tensor([0.1, -0.2, 0.3]).expand(count, 3) if extrinsics else None,
    )


BOX = np.array([[180.0, 60.0, 50.0, 110.0]])
LENS = (-0.2, 0.05, 0.001, -0.002, 0.01)


@pytest.mark.parametrize("lens", [(), LENS])
@pytest.mark.parametrize("turn", [True, False])
def test_camera__sees_points_where_they_move_to(lens, turn):
    source = cameras(lens=lens)
    made = crops.plan_crops(source, BOX, up=(0, -1, 0), rule=crops.CropRule(turn=turn))
    points = torch.tensor([[[0.2, 0.1, 2.0], [0.3, -0.1, 3.0], [0.1, 0.3, 1.5]]], dtype=torch.float64)
    expected = project(points, made.cameras).numpy()
    np.testing.assert_allclose(made.points(project(points, source).numpy()), expected, atol=1e-6)
    np.testing.assert_allclose(made.cameras.centers, source.centers, atol=1e-12)


def test_turn__looks_at_the_box_upright():
    made = crops.plan_crops(cameras(), BOX, up=(0, -1, 0))
    rotation = made.cameras.rotation[0]
    assert rotation[0, 1] == pytest.approx(0, abs=1e-12)  # what is right in the crop is level in the world
    middle = made.points(np.array([[[205.0, 115.0]]]))[0, 0]
    np.testing.assert_allclose(middle, made.cameras.intrinsics[0, :2, 2], atol=1e-9)


def test_turn__without_a_world_keeps_the_camera_upright():
    made = crops.plan_crops(cameras(extrinsics=False), BOX)
    assert made.sources.has_extrinsics
    assert made.cameras.rotation[0, 0, 1] == pytest.approx(0, abs=1e-12)


def test_size__follows_the_rule():
    """Without a turn: 30 degrees of 50 x 110 need cos 50 + sin 110 = 98.3, or cos 110 + sin 50 = 120.26."""
    rule = crops.CropRule(turn=False, room=1.1)
    made = crops.plan_crops(cameras(size=(4000.0, 4000.0)), BOX + np.array([1000, 1000, 0, 0]), rule=rule)
    side = (np.cos(np.pi / 6) * 110 + 0.5 * 50) * 1.1 * 1.2
    assert made.size(0) == (round(side), round(side))
    np.testing.assert_allclose(made.boxes[0, 2:], [60, 132], atol=1e-9)  # not more than 1.2 times as large
    longer = crops.plan_crops(cameras(size=(4000.0, 4000.0)), np.array([[1000.0, 500, 100, 800]]), rule=rule)
    np.testing.assert_allclose(longer.boxes[0, 2:], [48, 384], atol=1e-9)


def test_region__ends_with_the_image():
    made = crops.plan_crops(cameras(), np.array([[0.0, 0.0, 50.0, 110.0]]), rule=crops.CropRule(turn=False))
    np.testing.assert_allclose(made.points(np.zeros((1, 1, 2))), 0, atol=1e-9)


def test_many__are_each_as_alone():
    boxes = np.array([BOX[0], [20.0, 30.0, 60.0, 90.0]])
    together = crops.plan_crops(cameras(2, lens=LENS), boxes, up=(0, -1, 0))
    for row in range(2):
        alone = crops.plan_crops(cameras(lens=LENS), boxes[row : row + 1], up=(0, -1, 0))
        np.testing.assert_allclose(together.cameras.intrinsics[row], alone.cameras.intrinsics[0], rtol=1e-12)
        assert together.size(row) == alone.size(0)


def test_flat__moves_points_of_images_without_a_camera():
    source = crops.flat_cameras(np.array([[320, 240]]))
    made = crops.plan_crops(source, BOX, rule=crops.CropRule(turn=False, most_scale=1.0))
    scale = made.boxes[0, 2] / 50
    moved = made.points(np.array([[[180.0, 60.0], [190.0, 70.0]]]))[0]
    np.testing.assert_allclose(moved[0], made.boxes[0, :2], atol=1e-9)
    np.testing.assert_allclose(moved[1] - moved[0], 10 * scale, atol=1e-9)


def blob(column, row, size=(240, 320)):
    """A round spot, exact to a fraction of a pixel."""
    v, u = np.indices(size)
    light = np.exp(-((u - column) ** 2 + (v - row) ** 2) / 18)
    return np.repeat(np.round(255 * light).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("lens", [(), LENS])
def test_pixels__are_where_the_camera_sees_them(lens):
    made = crops.plan_crops(cameras(lens=lens), BOX, up=(0, -1, 0), rule=crops.CropRule(gamma=1.0))
    image = crops.render_crop(blob(203.4, 111.7), made, 0)[..., 0].astype(float)
    image[image < 4] = 0
    v, u = np.indices(image.shape)
    found = np.array([(image * u).sum(), (image * v).sum()]) / image.sum()
    np.testing.assert_allclose(found, made.points(np.array([[[203.4, 111.7]]]))[0, 0], atol=0.05)


@pytest.mark.parametrize("lens", [(), LENS, (*LENS, 0.01, 0.02, 0.003)])
def test_places__of_the_fast_way_are_those_of_the_exact_one(lens):
    """The camera with a skew of nothing goes through `warp_grid`, the other through OpenCV."""
    source = cameras(lens=lens)
    fast = crops.plan_crops(source, BOX, up=(0, -1, 0))
    skewed = source.intrinsics.clone()
    skewed[:, 0, 1] = 1e-9
    exact = crops.plan_crops(replace(source, intrinsics=skewed), BOX, up=(0, -1, 0))
    for one, other in zip(crops._places(fast, 0), crops._places(exact, 0), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_pixels__of_another_size_are_refused():
    made = crops.plan_crops(cameras(), BOX)
    with pytest.raises(ShapeError, match="320 x 240 pixels, got"):
        crops.render_crop(np.zeros((320, 240, 3), np.uint8), made, 0)


def test_pixels__as_stored_stay_what_they_are():
    rule = crops.CropRule(turn=False, gamma=1.0, antialias=1, most_scale=1.0, cubic=False)
    made = crops.plan_crops(cameras(), BOX, rule=rule)
    for value in range(0, 256, 5):
        shown = crops.render_crop(np.full((240, 320, 3), value, np.uint8), made, 0)
        assert (shown[5:-5, 5:-5] == value).all()


def test_light__is_averaged_not_stored_values():
    """Black and white columns average to half the light: 255 x 0.5^(1/2.2) = 186."""
    image = np.zeros((240, 320, 3), np.uint8)
    image[:, ::2] = 255
    rule = crops.CropRule(turn=False, longest=11.0, antialias=10, cubic=False)  # ten times smaller
    made = crops.plan_crops(cameras(), BOX, rule=rule)
    shown = crops.render_crop(image, made, 0)
    assert abs(int(np.median(shown)) - 186) <= 3


def test_mask__of_several_people_is_the_one_in_the_box():
    mask = np.zeros((240, 320), bool)
    mask[60:170, 180:230] = True
    mask[60:170, 240:290] = True
    made = crops.plan_crops(cameras(), BOX, rule=crops.CropRule(turn=False))
    found = crops.render_mask(mask, made, 0)
    left, top, width, height = made.boxes[0]
    columns, rows = np.flatnonzero(found.any(0)), np.flatnonzero(found.any(1))
    np.testing.assert_allclose([columns[0], rows[0]], [left, top], atol=1.2)
    np.testing.assert_allclose([len(columns), len(rows)], [width, height], atol=1.2)
    shares = crops.render_mask((mask * 200).astype(np.uint8), made, 0)
    assert (shares == found).mean() > 0.99
    both = crops.plan_crops(cameras(), BOX, rule=crops.CropRule(turn=False, one_part=False))
    assert crops.render_mask(mask, both, 0).sum() > 1.9 * found.sum()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([180.0, 60.0, 0.0, 110.0], "it is no box"),
        ([np.nan, 60.0, 50.0, 110.0], "it is no box"),
        ([900.0, 60.0, 50.0, 110.0], "outside of the image"),
    ],
)
def test_boxes__that_cannot_be_cropped(box, message):
    with pytest.raises(InputError, match=rf"row 0 .*{message}"):
        crops.plan_crops(cameras(), np.array([box]), rule=crops.CropRule(turn=False))
    with pytest.raises(ShapeError, match="one \\(4,\\) for each"):
        crops.plan_crops(cameras(2), BOX)

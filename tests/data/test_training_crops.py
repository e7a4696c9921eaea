"""Training crops: cameras that see what the crops show, and how they vary."""

import math

import cv2
import numpy as np
import pytest
import torch

from marey.core import Cameras, InputError
from marey.data.training_crops import (
    CropAugmentation,
    CropDraws,
    draw_crop,
    picture_cameras,
    plan_picture_crops,
    plan_training_crops,
    render_training_crop,
)
from marey.geometry.projection import project, project_from_camera

SIDE = 64


def camera(distortion=(0.0, 0, 0, 0)):
    return Cameras(
        intrinsics=torch.tensor([[[220.0, 0, 118], [0, 240, 84], [0, 0, 1]]], dtype=torch.float64),
        distortion=torch.tensor([distortion], dtype=torch.float64),
        image_size=torch.tensor([[240.0, 180.0]], dtype=torch.float64),
    )


def varied(seed=3):
    return CropDraws.stack([draw_crop(np.random.RandomState(seed), CropAugmentation())])


@pytest.mark.parametrize("distortion", [(0.0, 0, 0, 0), (-0.2, 0.05, 0.001, -0.002)])
@pytest.mark.parametrize("seed", [1, 2])  # one is mirrored
def test_crop__shows_a_point_where_its_camera_sees_it(distortion, seed):
    source = camera(distortion)
    points = torch.tensor([[[0.1, -0.2, 3.0], [-0.4, 0.1, 2.5], [0.3, 0.4, 4.0]]], dtype=torch.float64)
    pixels = project_from_camera(points, source).numpy()
    crops = plan_training_crops(source, np.array([[70.0, 20, 90, 120]]), varied(seed), side=SIDE)
    seen = project(points, crops.cameras)
    np.testing.assert_allclose(crops.pixels(pixels), seen, atol=1e-6)
    image = np.zeros((180, 240, 3), np.uint8)
    for x, y in pixels[0]:
        cv2.circle(image, (round(x), round(y)), 4, (255, 255, 255), -1)
    shown = render_training_crop(image, crops, 0)
    for x, y in seen[0].round().long().tolist():
        assert shown[y, x].min() > 200


@pytest.mark.parametrize(("box", "axis"), [((70.0, 20, 60, 120), 1), ((40.0, 50, 120, 60), 0)])
def test_crop__is_as_large_as_the_longer_side_of_the_box(box, axis):
    crops = plan_training_crops(camera(), np.array([box]), CropDraws.none(1), side=SIDE)
    left, top, width, height = box
    middle = np.array([left + width / 2, top + height / 2])
    ends = np.stack([middle, middle])
    ends[:, axis] += np.array([-0.5, 0.5]) * (width, height)[axis]
    found = crops.pixels(ends[None])[0]
    np.testing.assert_allclose(np.linalg.norm(found[0] - found[1]), SIDE, rtol=1e-9)
    np.testing.assert_allclose(crops.pixels(middle[None, None])[0, 0], SIDE / 2, rtol=1e-9)


def test_crop__draws_do_what_they_say():
    boxes = np.array([[70.0, 20, 60, 120]])
    draws = CropDraws(
        shift=torch.tensor([[0.1, 0.0]], dtype=torch.float64),
        zoom=torch.tensor([0.5], dtype=torch.float64),
        turn=torch.tensor([math.pi / 2], dtype=torch.float64),
        mirrored=torch.tensor([True]),
    )
    plain = plan_training_crops(camera(), boxes, CropDraws.none(1), side=SIDE)
    crops = plan_training_crops(camera(), boxes, draws, side=SIDE)
    np.testing.assert_allclose(crops.pixels(np.array([[[112.0, 80]]]))[0, 0], SIDE / 2, atol=1e-9)
    assert torch.linalg.det(crops.cameras.rotation[0]) == pytest.approx(-1)
    assert torch.linalg.det(plain.cameras.rotation[0]) == pytest.approx(1)
    # the camera turned clockwise: what is above the middle is to the left, mirrored to the right
    above = crops.pixels(np.array([[[112.0, 60]]]))[0, 0]
    assert above[0] > SIDE / 2 + 3
    assert abs(above[1] - SIDE / 2) < 2
    none = CropAugmentation(geometric=False, mirrored=0.0)
    drawn = draw_crop(np.random.RandomState(0), none)
    assert (drawn.shift == 0).all()
    assert (float(drawn.zoom), float(drawn.turn), bool(drawn.mirrored)) == (1, 0, False)


def test_draws__lie_in_their_ranges():
    options = CropAugmentation(full_turn=0.0)
    drawn = CropDraws.stack([draw_crop(np.random.RandomState(seed), options) for seed in range(200)])
    assert drawn.shift.norm(dim=-1).max() <= 0.1
    assert 0.75 <= float(drawn.zoom.min()) < 0.8
    assert 1.2 < float(drawn.zoom.max()) <= 1.25
    assert math.radians(18) < float(drawn.turn.abs().max()) <= math.radians(20)
    assert 0.4 < float(drawn.mirrored.float().mean()) < 0.6


def test_picture_crop__is_cut_without_perspective():
    sizes, boxes = np.array([[240, 180]]), np.array([[40.0, 20, 100, 120]])
    crops = plan_picture_crops(sizes, boxes, CropDraws.none(1), side=SIDE)
    corners = np.array([[[90.0, 80], [30, 20], [150, 140]]])
    np.testing.assert_allclose(crops.pixels(corners)[0], [[32, 32], [0, 0], [64, 64]], atol=1e-9)
    focal = picture_cameras(sizes).intrinsics[0, 0, 0]
    assert 2 * math.degrees(math.atan(120 / float(focal))) == pytest.approx(8)


def test_picture_crop__turns_about_the_middle_of_the_box():
    sizes, boxes = np.array([[240, 180]]), np.array([[40.0, 20, 100, 120]])
    draws = CropDraws.none(1).map(torch.clone)
    draws = CropDraws(shift=draws.shift, zoom=draws.zoom, turn=draws.turn + math.pi / 2, mirrored=draws.mirrored)
    crops = plan_picture_crops(sizes, boxes, draws, side=SIDE)
    found = crops.pixels(np.array([[[90.0, 80], [90, 20]]]))[0]
    np.testing.assert_allclose(found, [[32, 32], [0, 32]], atol=1e-9)


def test_crops__of_many_are_those_of_each():
    boxes = np.array([[70.0, 20, 60, 120], [10, 10, 50, 40], [100, 60, 90, 100]])
    draws = CropDraws.stack([draw_crop(np.random.RandomState(seed), CropAugmentation()) for seed in range(3)])
    many = plan_training_crops(camera()[[0, 0, 0]], boxes, draws, side=SIDE)
    for place in range(3):
        one = plan_training_crops(camera(), boxes[place : place + 1], draws[place : place + 1], side=SIDE)
        np.testing.assert_allclose(many.cameras.intrinsics[place], one.cameras.intrinsics[0], rtol=1e-12)
        np.testing.assert_allclose(many.cameras.rotation[place], one.cameras.rotation[0], atol=1e-12)


@pytest.mark.parametrize("changes", [{"mirrored": 1.5}, {"parts": -0.1}, {"shift": 1.0}, {"zoom_out": 1.0}])
def test_augmentation__refuses(changes):
    with pytest.raises(InputError, match="expected a sh"):
        CropAugmentation(**changes)

"""Crops of people: where a point of the world falls in a crop, by hand and by OpenCV; who is shown with whom."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from frames_in_memory import Pictures
from marey.core import Boxes, Cameras, Observation
from marey.data.observed_people import People
from marey.methods.triangulation.crops import crop_batches, to_pictures
from marey.methods.triangulation.networks import ImageConvention
from methods.triangulation.dots import IMAGES, bodies, observation, picture, ring, seen_at


def plain(**changed):
    """One camera at the origin without a lens, and a box from (100, 50) to (300, 450), edges between pixels."""
    camera = Cameras(
        intrinsics=torch.tensor([[[1000.0, 0, 320], [0, 1000, 240], [0, 0, 1]]]).double(),
        distortion=torch.zeros(1, 0).double(),
        image_size=torch.tensor([[640.0, 480.0]]).double(),
        rotation=torch.eye(3).double()[None],
        translation=torch.zeros(1, 3).double(),
    )
    image = picture(np.array([[[120.0, 70.0]]]).repeat(3, 1))
    corners = torch.tensor([99.5, 49.5, 299.5, 449.5])[None, None, None]
    given = {"boxes": Boxes(corners=corners, score=torch.ones(1, 1, 1)), "cameras": camera}
    return Observation(frames=(Pictures((image,)),), **{**given, **changed})


def only(observation, convention):
    people = People.of(observation, "algebraic")
    (batch,) = crop_batches(people, convention, at_once=4, least_views=1)
    return people, batch


def projected(batch, point):
    moved = batch.projections @ torch.tensor([*point, 1.0], dtype=torch.float64)
    return (moved[..., :2] / moved[..., 2:])[0, 0].tolist()


def brightest(image):
    """Centre of mass (x, y) of a picture (H, W)."""
    mass = image.double()
    y, x = torch.meshgrid(torch.arange(mass.shape[0]), torch.arange(mass.shape[1]), indexing="ij")
    return [float((mass * axis).sum() / mass.sum()) for axis in (x, y)]


def test_crop__of_a_box_is_its_square_resized():
    # the square is 400 wide, from 0 to 400 and from 50 to 450; each pixel becomes 0.96
    _, batch = only(plain(), replace(IMAGES, side=(384, 384)))
    assert batch.edges.tolist() == [[[0, 50, 400, 450]]]
    assert batch.images.shape == (1, 1, 3, 384, 384)
    expected = (120.5 * 0.96 - 0.5, 20.5 * 0.96 - 0.5)
    # (-0.4, -0.34, 2) is seen at pixel 120, 70
    assert projected(batch, (-0.4, -0.34, 2)) == pytest.approx(expected, abs=1e-9)
    assert brightest(batch.images[0, 0, 0]) == pytest.approx(expected, abs=0.02)


def test_crop__as_published_ignores_half_a_pixel():
    _, batch = only(plain(), ImageConvention())
    assert projected(batch, (-0.4, -0.34, 2)) == pytest.approx((120 * 0.96, 20 * 0.96), abs=1e-9)


def test_crop__larger_by_the_scale():
    _, batch = only(plain(), replace(IMAGES, box_scale=1.5))
    assert batch.edges.tolist() == [[[-100, -50, 500, 550]]]
    assert not batch.images[0, 0, :, :, :30].any()  # black where the picture has nothing


def test_crop__is_moved_into_the_picture_where_it_fits():
    inside = replace(IMAGES, inside=True, box_scale=1.1)
    _, batch = only(plain(), inside)
    # 440 wide, from -20 to 420 and from 30 to 470
    assert batch.edges.tolist() == [[[0, 30, 440, 470]]]
    # 600 do not fit into 480 rows; the person's 400 do
    _, batch = only(plain(), replace(inside, box_scale=1.5))
    assert batch.edges.tolist() == [[[0, 0, 480, 480]]]


def test_crop__shows_what_is_within_the_picture_of_a_box():
    corners = torch.tensor([-100.5, 49.5, 99.5, 149.5])[None, None, None]
    people, batch = only(plain(boxes=Boxes(corners=corners, score=torch.ones(1, 1, 1))), IMAGES)
    assert people.corners.tolist() == [[[[-0.5, 49.5, 99.5, 149.5]]]]
    assert batch.edges.tolist() == [[[0, 50, 100, 150]]]


@pytest.mark.parametrize("fisheye", [False, True])
def test_crop__without_the_lens_shows_points_where_its_projection_says(fisheye):
    cameras, joints = ring(3), bodies(1, 1)
    if fisheye:
        cameras = replace(cameras, fisheye=torch.ones(3, dtype=torch.bool))
        pixels = np.stack([fisheye_pixels(joints, cameras, view) for view in range(3)])
        frames = tuple(Pictures((picture(one[0]),)) for one in pixels)
        corners = torch.from_numpy(np.concatenate((pixels.min(-2) - 25, pixels.max(-2) + 25), -1))
        seen = Observation(frames=frames, cameras=cameras, boxes=Boxes(corners=corners, score=torch.ones(3, 1, 1)))
    else:
        seen = observation(cameras, joints)
    _, batch = only(seen, IMAGES)
    points = torch.cat((torch.from_numpy(joints[0, 0]), torch.ones(3, 1)), -1)
    moved = points @ batch.projections[0].mT
    expected = moved[..., :2] / moved[..., 2:]
    for view in range(3):
        for joint in range(3):
            assert brightest(batch.images[0, view, joint]) == pytest.approx(expected[view, joint].tolist(), abs=0.15)


def fisheye_pixels(joints, cameras, view):
    flat = cv2.fisheye.projectPoints(
        joints.reshape(1, -1, 3),
        cv2.Rodrigues(cameras.rotation[view].numpy())[0],
        cameras.translation[view].numpy(),
        cameras.intrinsics[view].numpy(),
        cameras.distortion[view].numpy(),
    )[0]
    return flat.reshape(*joints.shape[:-1], 2)


def test_to_pictures__is_the_way_back_through_the_lens():
    cameras, joints = ring(4), bodies(1, 1)
    people, batch = only(observation(cameras, joints), IMAGES)
    points = torch.cat((torch.from_numpy(joints[0, 0]), torch.ones(3, 1)), -1) @ batch.projections[0].mT
    crops = (points[..., :2] / points[..., 2:])[None]
    spread = torch.tensor([[4.0, 0.5], [0.5, 1.0]]).double()
    pixels, covariance = to_pictures(crops, spread.expand(1, 4, 3, 2, 2), batch, people.cameras, IMAGES)
    for view in range(4):
        assert np.abs(pixels[0, view].numpy() - seen_at(joints[0, 0], cameras, view)).max() < 1e-6
    # the covariance is carried by the derivative
    steps = [
        to_pictures(crops + step, covariance * 0, batch, people.cameras, IMAGES)[0] for step in torch.eye(2) * 1e-4
    ]
    slope = torch.stack([(moved - pixels) / 1e-4 for moved in steps], -1)
    assert torch.allclose(covariance, slope @ spread @ slope.mT, rtol=1e-3, atol=1e-5)


def test_batches__are_of_people_whom_equally_many_views_show():
    seen = observation(ring(4), bodies(3, 2), missing=[(1, 0, 0), (0, 1, 1), (2, 1, 1), (3, 1, 1)])
    people = People.of(seen, "algebraic")
    found = list(crop_batches(people, IMAGES, at_once=3, least_views=2))
    shown = sorted(
        (int(frame), int(person), tuple(views.tolist()))
        for batch in found
        for frame, person, views in zip(batch.frames, batch.people, batch.views, strict=True)
    )
    # person 1 is seen by one view at moment 1
    assert shown == [
        (0, 0, (0, 2, 3)),
        (0, 1, (0, 1, 2, 3)),
        (1, 0, (0, 1, 2, 3)),
        (2, 0, (0, 1, 2, 3)),
        (2, 1, (0, 1, 2, 3)),
    ]
    assert sorted(len(batch.frames) for batch in found) == [1, 1, 3]
    assert all(len(batch.images) == len(batch.projections) == len(batch.edges) for batch in found)


def test_batches__of_whom_is_wanted():
    people = People.of(observation(ring(2), bodies(2, 2)), "algebraic")
    wanted = torch.tensor([[True, False], [False, True]])
    (batch,) = crop_batches(people, IMAGES, at_once=8, least_views=1, wanted=wanted)
    assert batch.frames.tolist() == [0, 1]
    assert batch.people.tolist() == [0, 1]


def test_frames__of_the_whole_recording_are_read_from_the_start():
    seen = observation(ring(2), bodies(2, 1), start=3, before=3)
    assert all(len(source.timestamps) == 5 for source in seen.frames)
    batches = list(crop_batches(People.of(seen, "ransac"), IMAGES, at_once=1, least_views=1))
    assert all(batch.images.amax() > 200 and batch.images.float().mean() < 20 for batch in batches)

"""Whom an observation shows where: boxes within pictures, frames in order, and what does not suffice."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from frames_in_memory import Pictures
from marey.core import Boxes, CalibrationError, Cameras, InputError, Keypoints2D, Observation, ShapeError, Skeleton
from marey.data.observed_people import People, keypoints_of_skeleton, person_corners

SIZE = (640, 480)
HIPS = Skeleton("hips", ("left_hip", "right_hip", "head_top"), ((0, 1), (0, 2)))


def cameras(views):
    return Cameras(
        intrinsics=torch.tensor([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]).double().expand(views, 3, 3),
        distortion=torch.zeros(views, 0).double(),
        image_size=torch.tensor(SIZE).double().expand(views, 2),
        rotation=torch.eye(3).double().expand(views, 3, 3),
        translation=torch.zeros(views, 3).double(),
    )


def film(count):
    """Pictures whose values are their numbers."""
    return Pictures(tuple(np.full((SIZE[1], SIZE[0], 3), number, np.uint8) for number in range(count)))


def seen(views=2, count=1, *, filmed=None, **changed):
    """Everybody in the same box."""
    corners = torch.tensor([100.0, 50.0, 300.0, 450.0]).expand(views, count, 1, 4).clone()
    given = {
        "frames": tuple(film(filmed or count) for _ in range(views)),
        "boxes": Boxes(corners=corners, score=torch.ones(views, count, 1)),
        "cameras": cameras(views),
    }
    return Observation(**{**given, **changed})


def numbers(people):
    return [[int(picture[0, 0, 0]) for picture in pictures] for pictures in people.pictures()]


def test_people__have_the_part_of_their_box_that_is_in_the_picture():
    corners = torch.tensor([[-100.5, 49.5, 99.5, 149.5], [600, 400, 700, 500], [-50, 10, -1, 60]])[None, None]
    people = People.of(seen(1, boxes=Boxes(corners=corners, score=torch.ones(1, 1, 3))), "algebraic")
    assert people.shape == (1, 1, 3)
    assert people.corners[0, 0, :2].tolist() == [[-0.5, 49.5, 99.5, 149.5], [600, 400, 639.5, 479.5]]
    assert people.seen.tolist() == [[[True, True, False]]]


def test_people__without_a_score_are_not_there():
    given = seen(1).boxes
    people = People.of(seen(1, boxes=replace(given, score=torch.zeros(1, 1, 1))), "algebraic")
    assert not people.seen.any()


@pytest.mark.parametrize("filmed", [2, 5, 7])
def test_pictures__of_the_whole_recording_or_of_these_frames(filmed):
    people = People.of(seen(2, 2, filmed=filmed, start=3), "ransac")
    assert numbers(people) == ([[0, 0], [1, 1]] if filmed == 2 else [[3, 3], [4, 4]])


def test_pictures__that_end_too_soon():
    people = People.of(seen(2, 3, frames=(film(3), film(2))), "ransac")
    with pytest.raises(InputError, match="view 1: its images end at frame 2 of 3"):
        list(people.pictures())


def test_corners__around_keypoints_where_there_is_no_box():
    positions = torch.full((1, 2, 1, 3, 2), torch.nan)
    positions[0, 0, 0, :2] = torch.tensor([[100.0, 100], [200, 300]])
    positions[0, 1, 0, 0] = 50.0
    keypoints = Keypoints2D(
        positions=positions, covariance=torch.zeros(1, 2, 1, 3, 2, 2), score=torch.ones(1, 2, 1, 3), skeleton=HIPS
    )
    corners = person_corners(Observation(keypoints=keypoints))
    assert corners[0, 0, 0].tolist() == pytest.approx([90, 80, 210, 320])
    assert corners[0, 1, 0].isnan().all()  # a point is nobody
    box = torch.tensor([10.0, 20, 30, 40])
    boxes = Boxes(corners=torch.stack((box * torch.nan, box))[None, :, None], score=torch.ones(1, 2, 1))
    both = person_corners(Observation(keypoints=keypoints, boxes=boxes))
    assert both[0, 0, 0].tolist() == pytest.approx([90, 80, 210, 320])
    assert both[0, 1, 0].tolist() == [10, 20, 30, 40]


def unplaced(count):
    return replace(cameras(count), rotation=None, translation=None)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"frames": ()}, InputError, "the method ransac looks at images, and there are none"),
        ({"frames": (None, film(1))}, InputError, "view 0 has none; give videos"),
        ({"cameras": None}, CalibrationError, "needs calibrated cameras; pass a calibration file"),
        ({"cameras": unplaced(2)}, CalibrationError, "intrinsics only; calibrate them"),
        ({"boxes": None}, InputError, "boxes or keypoints are needed"),
        ({"frames": (film(1),)}, ShapeError, "frames and people of the same views"),
        (
            {"cameras": replace(cameras(2), image_size=2 * cameras(2).image_size)},
            CalibrationError,
            "view 0: its images are 640x480 and its calibration is for 1280x960",
        ),
    ],
)
def test_people__of_what_does_not_suffice(change, error, match):
    with pytest.raises(error, match=match):
        People.of(seen(**change), "ransac")


def test_people__of_a_calibration_that_does_not_say_the_size():
    unsaid = replace(cameras(2), image_size=torch.full((2, 2), torch.nan).double())
    assert People.of(seen(cameras=unsaid), "ransac").shape == (2, 1, 1)


def test_people__of_one_camera_whose_own_frame_is_the_world():
    people = People.of(seen(1, cameras=unplaced(1)), "metrabs")
    assert people.cameras.rotation.tolist() == torch.eye(3)[None].tolist()
    assert people.cameras.translation.tolist() == [[0, 0, 0]]


def test_keypoints__in_another_skeleton_are_matched_by_name():
    keypoints = Keypoints2D(
        positions=torch.arange(6.0).reshape(3, 2),
        covariance=torch.arange(12.0).reshape(3, 2, 2),
        score=torch.tensor([0.1, 0.2, 0.3]),
        skeleton=HIPS,
    )
    other = Skeleton("other", ("head_top", "neck", "left_hip"), ())
    found = keypoints_of_skeleton(keypoints, other)
    assert found.skeleton == other
    torch.testing.assert_close(found.score, torch.tensor([0.3, 0.0, 0.1]))
    assert found.positions[[0, 2]].tolist() == [[4, 5], [0, 1]]
    assert found.covariance[2].tolist() == [[0, 1], [2, 3]]
    assert found.positions[1].isnan().all()
    assert found.covariance[1].isnan().all()
    renamed = Skeleton("renamed", HIPS.joints, ())
    assert keypoints_of_skeleton(keypoints, renamed).positions is keypoints.positions

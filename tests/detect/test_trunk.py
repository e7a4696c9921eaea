import json

import numpy as np
import pytest
import torch

from marey.core import Boxes, InputError, ShapeError
from marey.detect.detector import open_detector
from marey.detect.trunk import SIDE, MareyPose, SearchSettings, person_squares, shipped_trunk
from marey.detect.trunk_search import box_overlap
from marey.geometry.small import cholesky_2x2

EVERYBODY = SearchSettings(least_candidate=0.0, least_score=0.0, most_people=3, small_side=None, following=False)
"""Whatever the weights: something is found."""
NOBODY = SearchSettings(least_score=1.0)
"""Whatever the weights: no score is that high."""


@pytest.fixture(scope="module")
def picture():
    """Coloured areas with soft edges."""
    rows = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    import cv2

    return cv2.resize(rows, (200, 150), interpolation=cv2.INTER_CUBIC)


def detect(frames, boxes=None, search=EVERYBODY, **options):
    return list(MareyPose(search=search, precision="float32", **options)(frames, boxes))


def check(found, size):
    """Whatever was found is numbers, within the image, with a covariance that is one."""
    score, positions = found.keypoints.score, found.keypoints.positions
    assert ((score >= 0) & (score <= 1)).all()
    assert found.boxes.corners.isfinite().all()
    seen = score > 0
    assert torch.equal(seen, positions.isfinite().all(-1))
    assert (positions[seen] > -0.5).all()
    assert (positions[seen] < torch.tensor(size) - 0.5).all()
    assert cholesky_2x2(found.keypoints.covariance[seen]).isfinite().all()
    assert found.keypoints.covariance[~seen].isnan().all()


def test_person_squares__margin_around_the_longer_side():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [torch.nan] * 4])
    squares = person_squares(boxes)
    torch.testing.assert_close(squares[0], torch.tensor([-5.0, 15.0, 45.0, 65.0]))
    assert squares[1].isnan().all()


def test_shipped_trunk__is_one_object_and_learns_nothing():
    assert shipped_trunk() is shipped_trunk()
    assert not any(values.requires_grad for values in shipped_trunk().parameters())
    assert not shipped_trunk().training


def test_open_detector__by_its_name():
    detector = open_detector("marey")
    assert detector.name == "marey"
    assert detector.skeleton.name == "halpe_26"


def test_detector__frames_of_several_sizes_in_order(picture):
    frames = [picture, picture[:90, :70], picture]
    found = detect(frames)
    assert [each.batch_shape for each in found] == [(len(each.boxes.score),) for each in found]
    for each, image in zip(found, frames, strict=True):
        assert len(each.boxes.score) > 0
        check(each, (image.shape[1], image.shape[0]))
        assert (each.boxes.score.diff() <= 0).all()
    torch.testing.assert_close(found[0].keypoints.positions, found[2].keypoints.positions, equal_nan=True)


def test_detector__one_frame_at_a_time_gives_the_same(picture):
    frames = [picture, picture[::-1].copy(), picture[:, ::-1].copy()]
    together, apart = detect(frames), detect(frames, frames_at_once=1)
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one.boxes.corners, other.boxes.corners, rtol=1e-3, atol=0.05)
        torch.testing.assert_close(
            one.keypoints.positions, other.keypoints.positions, rtol=1e-3, atol=0.05, equal_nan=True
        )


def test_detector__nobody(picture):
    for image in (picture, np.zeros((64, 48, 3), np.uint8)):
        (found,) = detect([image], search=NOBODY)
        assert found.batch_shape == (0,)
        assert found.keypoints.positions.shape == (0, 26, 2)
        assert found.keypoints.covariance.shape == (0, 26, 2, 2)
        assert found.boxes.corners.shape == (0, 4)


def test_detector__no_frames():
    assert detect([]) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 3, 3), (4, 3000, 3), (2500, 2000, 3)])
def test_detector__images_of_any_size(shape):
    (found,) = detect([np.full(shape, 90, np.uint8)])
    check(found, (shape[1], shape[0]))


def test_detector__boxes_are_looked_at_as_they_come(picture):
    corners = torch.full((2, 3, 4), torch.nan)
    corners[0, 0], corners[0, 2] = torch.tensor([100.0, 40, 160, 120]), torch.tensor([20.0, 10, 60, 90])
    boxes = Boxes(corners=corners, score=torch.tensor([[0.3, 0.0, 0.9], [0.0, 0.0, 0.0]]))
    first, second = detect([picture, picture], boxes)
    torch.testing.assert_close(first.boxes.corners, corners[0, [0, 2]])
    torch.testing.assert_close(first.boxes.score, torch.tensor([0.3, 0.9]))
    assert first.keypoints.positions.shape == (2, 26, 2)
    check(first, (200, 150))
    assert second.batch_shape == (0,)


def test_detector__moves_with_the_picture(picture):
    box = torch.tensor([80.0, 40.0, 120.0, 100.0])
    shift = torch.tensor([-17.0, 9.0])
    moved = np.roll(picture, (9, -17), axis=(0, 1))
    given = [Boxes(corners=corners[None, None], score=torch.ones(1, 1)) for corners in (box, box + shift.repeat(2))]
    (here,), (there,) = detect([picture], given[0]), detect([moved], given[1])
    torch.testing.assert_close(there.keypoints.positions, here.keypoints.positions + shift, equal_nan=True)
    torch.testing.assert_close(there.keypoints.covariance, here.keypoints.covariance, equal_nan=True)


def test_detector__twice_the_size_gives_twice_the_pixels(picture):
    found = []
    for factor in (2, 4):
        image = picture.repeat(factor, axis=0).repeat(factor, axis=1)
        corners = (torch.tensor([80.0, 40.0, 120.0, 100.0]) * factor - 0.5).expand(1, 1, 4)
        found += detect([image], Boxes(corners=corners, score=torch.ones(1, 1)))
    large = (found[0].keypoints.positions + 0.5) * 2 - 0.5
    torch.testing.assert_close(large, found[1].keypoints.positions, rtol=0, atol=1.0, equal_nan=True)


def test_detector__too_few_rows_of_boxes(picture):
    boxes = Boxes(corners=torch.zeros(1, 1, 4), score=torch.ones(1, 1))
    with pytest.raises(ShapeError, match="expected a row for each frame, got 1"):
        detect([picture, picture], boxes)


@pytest.mark.parametrize("frame", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_detector__frames_that_are_no_images(frame):
    with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) of 8 bits"):
        detect([frame])


def test_settings__sides_that_the_network_cannot_take():
    with pytest.raises(InputError, match="expected multiples of 32"):
        SearchSettings(sides=(100,))
    with pytest.raises(InputError, match="frames_at_once"):
        MareyPose(frames_at_once=0)


@pytest.mark.realdata
def test_detector__a_photograph_of_a_skier(shared_data):
    from marey.io.images import read_image

    folder = shared_data / "images"
    annotations = json.loads((folder / "coco_annotations.json").read_text(encoding="utf-8"))
    (person,) = [each for each in annotations["annotations"] if each["image_id"] == 785]
    left, top, width, height = person["bbox"]
    (found,) = open_detector("marey")([read_image(folder / "coco_000000000785.jpg")])
    overlap = box_overlap(found.boxes.corners, torch.tensor([[left, top, left + width, top + height]]))
    assert overlap.max() > 0.3
    assert SIDE == 128

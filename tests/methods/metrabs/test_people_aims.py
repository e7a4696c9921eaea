"""Whom virtual cameras can be aimed at."""

import pytest
import torch

from marey.core import Cameras
from marey.methods.metrabs.augmented import augmentation_table
from marey.methods.metrabs.people_aims import aimed
from marey.methods.metrabs.virtual_cameras import CropRule

SIZE = (200, 160)


def aims(boxes, *, views=1, margin=1.0, up=(0.0, -1.0, 0.0), focal=300.0, **camera):
    made = Cameras(
        intrinsics=torch.tensor([[focal, 0, 99.5], [0, focal, 79.5], [0, 0, 1]]).double(),
        distortion=camera.pop("distortion", torch.zeros(0)).double(),
        image_size=torch.tensor(SIZE).double(),
        **camera,
    )
    return aimed(
        torch.tensor([[*box, 1.0] for box in boxes]).double().reshape(-1, 5),
        made,
        SIZE,
        margin=margin,
        up=up,
        augmentations=augmentation_table(views),
        rule=CropRule(side=32),
    )


@pytest.mark.parametrize("views", [1, 5])
def test_aims__are_at_the_boxes_that_can_be_seen(views):
    found = aims([[-30, 10, 20, 40], [60, 40, 50, 70], [250, 10, 20, 40], [20, 90, 80, 40]], views=views)
    assert found.indices.tolist() == [1, 3]
    assert found.boxes[:, 0].tolist() == [60, 20]
    assert found.cameras.batch_shape == (2,)
    assert found.crops == len(found.seen.rotation) == 2 * views
    assert [(drop.index, drop.reason, drop.detail) for drop in found.dropped] == [
        (0, "outside", "the box lies outside of the picture"),
        (2, "outside", "the box lies outside of the picture"),
    ]


@pytest.mark.parametrize(
    ("box", "camera", "told"),
    [
        ((20, 90, 80, 40), {"distortion": torch.tensor([-3.0, 0, 0, 0, 0])}, "the lens cannot be undone at the box"),
        ((-1e4, -1e4, 2e4, 2e4), {"focal": 1e4}, "the box is far larger than the picture"),
        ((-1e4, -1e4, 2e4, 2e4), {}, "the box spans too wide an angle"),
    ],
)
def test_aims__say_why_there_are_none(box, camera, told):
    found = aims([box], **camera)
    assert [drop.detail for drop in found.dropped] == [told]
    assert found.crops == 0


def test_aims__of_no_boxes():
    found = aims([])
    assert (found.crops, len(found.boxes), found.dropped) == (0, 0, ())


def test_aims__of_a_larger_box_see_less_closely():
    near, far = aims([[60, 40, 50, 70]]), aims([[60, 40, 50, 70]], margin=1.5)
    torch.testing.assert_close(far.seen.scale * 1.5, near.seen.scale, rtol=0.03, atol=0)


def test_aims__up_is_that_of_the_world():
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double()  # the world's z is up in the camera
    placed = {"rotation": turn, "translation": torch.zeros(3).double()}
    box = [[60, 40, 50, 70]]
    torch.testing.assert_close(aims(box, up=(0.0, 0.0, 1.0), **placed).seen.rotation, aims(box).seen.rotation)

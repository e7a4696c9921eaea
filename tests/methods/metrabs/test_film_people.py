"""The people of a frame, found by a detector that is told and a network that says where the crop's middle is."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from marey.core import Boxes, Cameras, Detections2D, Keypoints2D, skeleton
from marey.methods.metrabs.film_people import FilmPeople
from marey.methods.metrabs.model import CropPoses
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_options import PeopleOptions

SMPL = skeleton("smpl_24")
CORNERS = torch.tensor([[10.0, 10, 30, 50], [12, 10, 32, 50], [60, 20, 80, 60], [5, 5, 9, 9]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.3])
CAMERA = Cameras(
    intrinsics=torch.tensor([[100.0, 0, 49.5], [0, 100, 39.5], [0, 0, 1]], dtype=torch.float64),
    distortion=torch.zeros(0, dtype=torch.float64),
    image_size=torch.tensor([100.0, 80.0], dtype=torch.float64),
)


@dataclass
class Told:
    """A detector that always says the same."""

    name = "told"
    skeleton = skeleton("coco_17")

    def __call__(self, frames, boxes=None):
        for _ in frames:
            nothing = torch.full((4, 17, 2), torch.nan)
            yield Detections2D(
                keypoints=Keypoints2D(
                    positions=nothing,
                    covariance=nothing[..., None].expand(4, 17, 2, 2),
                    score=torch.zeros(4, 17),
                    skeleton=self.skeleton,
                ),
                boxes=Boxes(corners=CORNERS, score=SCORES),
            )


class Middle:
    """A network for which every joint is four metres away in the middle of the crop."""

    side = 32

    def __call__(self, images, intrinsics):
        joints = torch.tensor([0, 0, 4.0]).expand(images.shape[0], 24, 3)
        return CropPoses(joints=joints, covariance=None, keypoints=None, relative=joints)


@pytest.fixture
def people():
    return FilmPeople(model=PeopleModel(Middle(), SMPL, detector=Told(), options=PeopleOptions(num_aug=1)))


def test_find_people__thresholds_are_those_of_the_program(people):
    found = people.find_people(np.zeros((80, 100, 3), np.uint8))
    torch.testing.assert_close(
        found, torch.tensor([[10, 10, 20, 40, 0.9], [60, 20, 20, 40, 0.7]], dtype=torch.float64), atol=1e-6, rtol=0
    )


def test_find_poses__are_in_the_frame_of_the_camera_and_one_a_box(people):
    image = np.zeros((80, 100, 3), np.uint8)
    boxes = torch.tensor([[40.0, 20, 20, 40], [-300, 20, 20, 40], [60, 20, 20, 40]])
    found = people.find_poses(image, boxes, CAMERA)
    assert found.shape == (3, 24, 3)
    assert bool(found[1].isnan().all())
    pixels = found[[0, 2], 0] @ CAMERA.intrinsics.T
    middles = boxes[[0, 2], :2].double() + boxes[[0, 2], 2:].double() / 2
    torch.testing.assert_close(pixels[:, :2] / pixels[:, 2:], middles, atol=0.6, rtol=0)
    torch.testing.assert_close(found[[0, 2], 0].norm(dim=-1), torch.tensor([4.0, 4.0], dtype=torch.float64))
    assert people.find_poses(image, boxes[:0], CAMERA).shape == (0, 24, 3)

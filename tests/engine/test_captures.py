"""Synthetic captures for the heads: where joints are seen, and pictures without distortion."""

import cv2
import numpy as np
import pytest
import torch

from marey.core import Cameras
from marey.engine.captures import CaptureStream, without_distortion


def stream(**changed):
    settings = {
        "tiers": (("easy", 2), ("medium", 2)),
        "views": (0.0, 0.5, 0.0, 0.5),
        "side": 64,
        "skeleton": "halpe_26",
        "seed": 3,
        "rank": 0,
        "world": 1,
        "mirrored": True,
        "device": torch.device("cpu"),
    }
    return CaptureStream(**{**settings, **changed})


def seen(captures):
    moved = torch.einsum("bvij,bkj->bvki", captures.projections[..., :3], captures.joints)
    moved = moved + captures.projections[..., None, :, 3]
    return moved[..., :2] / moved[..., 2:]


@pytest.fixture(scope="module")
def maker():
    return stream().maker()


def test_captures__have_people_in_the_middle_and_pelvis_between_the_hips(maker):
    captures = maker(0)
    assert captures.images.shape[0] == 4
    assert captures.images.shape[1] in (2, 4)
    easy = seen(captures)[:2]  # nobody of the first tier is cut off
    assert ((easy > -1) & (easy < 64)).all()
    assert (captures.centers - captures.joints[:, [11, 12]].mean(1)).norm(dim=-1).max() < 0.1


def test_mirrored_captures__show_the_mirrored_person_through_mirrored_cameras(maker):
    plain, mirrored = maker(4), maker(5)
    left, right = 9, 10  # wrists
    there, here = seen(plain), seen(mirrored)
    torch.testing.assert_close(here[..., left, 0], 63 - there[..., right, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(here[..., left, 1], there[..., right, 1], atol=0.01, rtol=0)


def test_shards__are_parts_of_the_same_batch(maker):
    whole = maker(2)
    halves = [stream(rank=rank, world=2).maker()(2) for rank in range(2)]
    assert torch.equal(whole.joints[[0, 2]], halves[0].joints)
    assert torch.equal(whole.images[[1, 3]], halves[1].images)


def test_without_distortion__equals_opencv():
    generator = np.random.default_rng(0)
    picture = cv2.GaussianBlur(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8), (0, 0), 2)
    matrix = np.array([[60.0, 0, 30.0], [0, 62.0, 33.0], [0, 0, 1]])
    coefficients = np.array([-0.2, 0.05, 0.002, -0.001, 0.0])
    cameras = Cameras(
        intrinsics=torch.tensor(matrix)[None, None],
        distortion=torch.tensor(coefficients)[None, None],
        image_size=torch.tensor([[[64, 64]]]),
        names=("a",),
    )
    ours = without_distortion(torch.from_numpy(picture).permute(2, 0, 1)[None, None], cameras)
    theirs = cv2.undistort(picture, matrix, coefficients)
    apart = ours[0, 0].permute(1, 2, 0).numpy().astype(int) - theirs.astype(int)
    assert np.abs(apart[4:-4, 4:-4]).max() <= 3

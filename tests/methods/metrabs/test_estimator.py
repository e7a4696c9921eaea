"""From pictures to people: pairs of dots whose distance shows how far away they are stand where they were put."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from frames_in_memory import Pictures
from marey.core import Boxes, CalibrationError, Cameras, InputError, Keypoints2D, Observation, Skeleton
from marey.geometry.projection import project, world_to_camera
from marey.methods.metrabs.estimator import MetrabsEstimator, estimate_people
from marey.methods.metrabs.joint_names import NamedJoints
from marey.methods.metrabs.model import CropPoses, MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import LoadedNetwork
from marey.methods.metrabs.people_options import PeopleOptions

PAIR = Skeleton("pair", ("right_hip", "left_hip"), ((0, 1),))
LENGTH = 0.5
"""Metres between the dots, which are equally far from the camera."""
SIZE = (640, 480)


class PairOfDots(nn.Module):
    """Looks for a white dot in each half of the crop; the left one is the right hip of who faces the camera."""

    side = 128
    config = SimpleNamespace(distance_deviation=0.02)

    def forward(self, images, intrinsics):
        light = images.mean(1) * (images.mean(1) > 0.2)
        at = torch.arange(self.side, dtype=images.dtype)
        halves = torch.stack((light * (at < self.side / 2), light * (at >= self.side / 2)), 1)
        weight = halves / halves.sum((-2, -1), keepdim=True)
        pixels = torch.stack(((weight.sum(-2) * at).sum(-1), (weight.sum(-1) * at).sum(-1)), -1)
        rays = torch.nn.functional.pad(pixels, (0, 1), value=1.0) @ torch.linalg.inv(intrinsics).mT
        rays = rays / rays.norm(dim=-1, keepdim=True)
        away = LENGTH / (rays[:, :1] - rays[:, 1:]).norm(dim=-1, keepdim=True)
        joints = rays * away
        spread = 1e-4 * torch.eye(3) + 0.02**2 * joints[..., None] * joints[..., None, :]
        return CropPoses(joints, spread, pixels, joints)


def network(module=None):
    return LoadedNetwork(
        module=module or PairOfDots(),
        skeleton=PAIR,
        skeletons={"": NamedJoints(PAIR, (0, 1))},
        margin=1.8,
        source="dots",
    )


def camera():
    """Turned, raised, with a lens."""
    rotation = torch.tensor(cv2.Rodrigues(np.array([1.7, 0.2, -0.1]))[0])[None]
    return Cameras(
        intrinsics=torch.tensor([[[500.0, 0, 322], [0, 505, 238], [0, 0, 1]]]).double(),
        distortion=torch.tensor([[-0.12, 0.03, 0.001, -0.001]]).double(),
        image_size=torch.tensor([SIZE]).double(),
        rotation=rotation,
        translation=torch.tensor([[0.3, -0.2, 0.5]]).double(),
    )


def pairs(frames=2):
    """(T, 2, 2, 3) in the world, metres: both dots of a pair are equally far from the camera."""
    own = camera()
    middles = torch.tensor([[-1.2, 0.3, 4.0], [1.0, -0.5, 5.0]]).double() + 0.05 * torch.arange(frames)[:, None, None]
    ahead = torch.nn.functional.normalize(middles, dim=-1)
    level = torch.nn.functional.normalize(
        torch.linalg.cross(ahead, torch.tensor([0.5, 1.0, 0.1]).double().expand_as(ahead)), dim=-1
    )
    across = level + torch.linalg.cross(ahead, level)
    half = across / across.norm(dim=-1, keepdim=True) * LENGTH / 2
    sign = torch.tensor([-1.0, 1.0]).double() * torch.where(half[..., :1] > 0, 1.0, -1.0)
    points = middles[..., None, :] + sign[..., None] * half[..., None, :]
    rotation, translation = own.extrinsics
    return (points - translation[0]) @ rotation[0]


def observation(points, own):
    """Pictures of the dots, and the boxes around them."""
    pixels = project(points[None], own)[0]
    images = []
    for frame in pixels:
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        for x, y in (frame.reshape(-1, 2) * 16).round().int().tolist():
            cv2.circle(image, (x, y), 4 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
        images.append(image)
    corners = torch.cat((pixels.amin(2) - 2, pixels.amax(2) + 2), -1)[None].float()
    boxes = Boxes(corners=corners, score=torch.ones(corners.shape[:-1]))
    return Observation(frames=(Pictures(tuple(images)),), boxes=boxes, cameras=own)


@pytest.mark.parametrize("views", [1, 5])
@pytest.mark.parametrize("batch", [0, 3])
def test_dots__are_where_they_were_put_in_the_world(views, batch):
    own, points = camera(), pairs()
    options = PeopleOptions(num_aug=views, internal_batch_size=batch)
    estimate = estimate_people(observation(points, own), network(), options=options, device="cpu")
    assert estimate.joints.skeleton == PAIR
    assert estimate.joints.batch_shape == (2, 2)
    assert (estimate.joints.positions - points).norm(dim=-1).max() < 0.06
    assert (torch.linalg.eigvalsh(estimate.joints.covariance) > 0).all()
    assert ((estimate.joints.score > 0.5) & (estimate.joints.score <= 1)).all()
    assert estimate.frames == (0, 1)
    assert estimate.notes == ("Joints by the network metrabs, 2 joints (pair); weights: dots.",)
    assert estimate.provenance["augmentations"] == views
    assert estimate.provenance["distance_deviation"] == [0.02, 0.02]


def test_camera__of_unknown_place_is_the_world():
    own, points = camera(), pairs()
    unplaced = replace(own, rotation=None, translation=None)
    seen = replace(observation(points, own), cameras=unplaced)
    estimate = estimate_people(seen, network(), device="cpu")
    expected = world_to_camera(points[None], own)[0]
    assert (estimate.joints.positions - expected).norm(dim=-1).max() < 0.06


def test_focal_length__that_is_uncertain_makes_distances_uncertain():
    own, points = camera(), pairs(1)
    sure, unsure = (
        estimate_people(observation(points, own), network(), focal_deviation=deviation, device="cpu").joints.covariance
        for deviation in (0.0, 0.25)
    )
    ray = (points - own.centers[0]).float()
    torch.testing.assert_close(unsure - sure, 0.25**2 * ray[..., None] * ray[..., None, :], rtol=0.05, atol=2e-3)


def test_people__who_are_not_seen_or_not_plausible_are_told():
    own, points = camera(), pairs()
    seen = observation(points, own)
    corners, score = seen.boxes.corners.clone(), seen.boxes.score.clone()
    corners[0, 1, 0], score[0, 1, 0] = torch.nan, 0.0
    corners[0, 0, 1] += torch.tensor([-20.0, -20, 20, 20])  # the dots fill less than half of it
    told = replace(seen, boxes=Boxes(corners=corners, score=score))
    options = PeopleOptions(suppress_implausible_poses=True)
    estimate = estimate_people(told, network(), options=options, device="cpu")
    known = estimate.joints.positions.isfinite().all(-1).all(-1)
    assert known.tolist() == [[True, False], [False, True]]
    assert (estimate.joints.score[~known] == 0).all()
    _, unseen, dropped = estimate.notes
    assert unseen == "Person 0 is not seen in 1 of 2 frames: unknown there."
    assert dropped.startswith("Person 1 was dropped in 1 of 2 frames: its joints cover")


def test_people__who_are_not_plausible_stay_unless_asked():
    own, points = camera(), pairs(1)
    seen = observation(points, own)
    wide = seen.boxes.corners + torch.tensor([-20.0, -20, 20, 20])
    wider = replace(seen, boxes=Boxes(corners=wide, score=seen.boxes.score))
    estimate = estimate_people(wider, network(), device="cpu")
    assert estimate.joints.positions.isfinite().all()
    assert len(estimate.notes) == 1


def test_keypoints__of_the_observation_stand_beside():
    own, points = camera(), pairs(1)
    pixels = project(points[None], own).float()
    keypoints = Keypoints2D(
        positions=pixels.flip(-2) + 1,
        covariance=torch.eye(2).expand(*pixels.shape, 2).clone(),
        score=torch.ones(pixels.shape[:-1]),
        skeleton=Skeleton("other", ("left_hip", "right_hip"), ()),
    )
    seen = replace(observation(points, own), keypoints=keypoints)
    estimate = estimate_people(seen, network(), device="cpu")
    torch.testing.assert_close(estimate.keypoints.positions, pixels + 1)
    assert (estimate.diagnostics.weights == 1).all()
    assert ((estimate.diagnostics.residuals > 1) & (estimate.diagnostics.residuals < 2)).all()


def test_large_pictures__are_held_one_at_a_time(monkeypatch):
    own, points = camera(), pairs(3)
    expected = estimate_people(observation(points, own), network(), device="cpu").joints.positions
    monkeypatch.setattr("marey.methods.metrabs.estimator._PIXELS_AT_ONCE", SIZE[0] * SIZE[1])
    shown, seen = [], observation(points, own)

    class Counts(PairOfDots):
        def forward(self, images, intrinsics):
            shown.append(len(images))
            return super().forward(images, intrinsics)

    found = estimate_people(
        seen, network(Counts()), options=PeopleOptions(aug_turns="none"), device="cpu"
    ).joints.positions
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert shown == [10, 10, 10]


def test_nobody__is_no_error():
    own, points = camera(), pairs(1)
    seen = observation(points, own)
    nobody = Boxes(corners=torch.full_like(seen.boxes.corners, torch.nan), score=torch.zeros_like(seen.boxes.score))
    estimate = estimate_people(replace(seen, boxes=nobody), network(), device="cpu")
    assert estimate.joints.positions.isnan().all()


def test_what_is_missing__is_told():
    own, points = camera(), pairs(1)
    seen = observation(points, own)
    with pytest.raises(CalibrationError, match="the method metrabs needs calibrated cameras"):
        estimate_people(replace(seen, cameras=None), network())
    with pytest.raises(InputError, match="the method metrabs looks at images"):
        estimate_people(replace(seen, frames=(None,)), network())
    two = replace(
        seen,
        cameras=own[torch.zeros(2).long()],
        frames=seen.frames * 2,
        boxes=seen.boxes.map(lambda values: torch.cat((values, values))),
    )
    with pytest.raises(InputError, match="the method metrabs looks at one view at a time, got 2"):
        estimate_people(two, network())
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=PAIR.joints, scale_recovery="metro")
    with pytest.raises(InputError, match="their scale recovery is 'metro'"):
        estimate_people(seen, network(MetrabsNet(config)))


def test_estimator__has_settings():
    with pytest.raises(InputError, match="num_aug >= 1"):
        MetrabsEstimator(num_aug=0)
    with pytest.raises(InputError, match="precision: expected auto, float32 or bfloat16, got 'half'"):
        MetrabsEstimator(precision="half")
    assert MetrabsEstimator().requires.views == (1, 1)
    assert MetrabsEstimator().requires.calibration == "intrinsics"


def test_people__seen_by_a_fisheye():
    own, points = camera(), pairs(1)
    narrow = replace(own, fisheye=torch.tensor([False]))
    plain = estimate_people(observation(points, own), network(), device="cpu")
    told = estimate_people(replace(observation(points, own), cameras=narrow), network(), device="cpu")
    torch.testing.assert_close(told.joints.positions, plain.joints.positions, atol=1e-4, rtol=0)
    wide = replace(own, fisheye=torch.tensor([True]))
    bent = estimate_people(observation(points, wide), network(), device="cpu")
    assert (bent.joints.positions - points).norm(dim=-1).max() < 0.06

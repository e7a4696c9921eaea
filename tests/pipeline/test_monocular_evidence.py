"""One view's detections sorted by person, sides set right, the 3D guess with them."""

from dataclasses import replace

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.core import Detections2D, InputError
from marey.detect.lifting import lift_keypoints
from marey.geometry.projection import world_to_camera
from marey.pipeline.monocular_evidence import gather_monocular_evidence


def detections(frames=30, people=2):
    """Of people whose slots change places in every other frame."""
    cameras = ring(1)
    joints, table = walker(frames, people)
    joints = joints + 0.6 * torch.arange(people).double()[:, None, None] * torch.tensor([0.0, 1, 0]).double()
    keypoints = seen_by(joints, cameras, table)
    inside = world_to_camera(joints[None], cameras)
    guess = inside - inside[..., 11:13, :].mean(-2, keepdim=True)
    found = Detections2D(keypoints=keypoints, monocular=guess)
    odd = torch.arange(1, frames, 2)
    shuffled = found.map(torch.clone)
    for tensor in shuffled.tensors():
        tensor[:, odd] = tensor[:, odd].flip(2)
    return shuffled, found, cameras


def gathered(found, cameras, **options):
    return gather_monocular_evidence(found, cameras, detector="mediapipe", fps=30.0, **{"people": None, **options})


def test_gather__slots_become_people_and_their_guess_follows():
    shuffled, sorted_, cameras = detections()
    evidence = gathered(shuffled, cameras)
    order = [0, 1] if torch.equal(evidence.keypoints.positions[0, 0], sorted_.keypoints.positions[0, 0]) else [1, 0]
    torch.testing.assert_close(evidence.keypoints.positions, sorted_.keypoints.positions[:, :, order])
    torch.testing.assert_close(evidence.monocular, sorted_.monocular[:, :, order])
    assert evidence.keypoints.covariance.isfinite().all()


def test_gather__exchanged_sides_are_set_right_in_both():
    _, sorted_, cameras = detections(people=1)
    mirror = list(sorted_.keypoints.skeleton.mirror)
    swapped = sorted_.map(torch.clone)
    swapped.keypoints.positions[:, 10:14] = sorted_.keypoints.positions[:, 10:14][..., mirror, :]
    swapped.monocular[:, 10:14] = sorted_.monocular[:, 10:14][..., mirror, :]
    evidence = gathered(swapped, cameras)
    torch.testing.assert_close(evidence.keypoints.positions, sorted_.keypoints.positions)
    torch.testing.assert_close(evidence.monocular, sorted_.monocular)
    assert any("left and right exchanged in 4 of 30 frames" in note for note in evidence.notes)


def test_gather__as_many_people_as_asked_for():
    shuffled, _, cameras = detections(people=3)
    shuffled.keypoints.positions[:, 15:, 2] = torch.nan
    shuffled.keypoints.score[:, 15:, 2] = 0
    assert gathered(shuffled, cameras).keypoints.batch_shape == (1, 30, 3)
    assert gathered(shuffled, cameras, people=2).keypoints.batch_shape == (1, 30, 2)


def test_gather__nobody():
    shuffled, _, cameras = detections()
    empty = shuffled.map(lambda tensor: torch.full_like(tensor, torch.nan))
    with pytest.raises(InputError, match="nobody is seen"):
        gathered(replace(empty, keypoints=replace(empty.keypoints, score=torch.zeros(1, 30, 2, 17))), cameras)


def test_gather__a_detector_without_a_guess_is_lifted():
    shuffled, sorted_, cameras = detections(people=1)
    mirror = list(sorted_.keypoints.skeleton.mirror)
    swapped = replace(shuffled, monocular=None).map(torch.clone)
    swapped.keypoints.positions[:, 10:14] = shuffled.keypoints.positions[:, 10:14][..., mirror, :]
    evidence = gathered(swapped, cameras)
    assert evidence.lifted
    assert any("the lifter's" in note for note in evidence.notes)
    guess, covariance = lift_keypoints(evidence.keypoints, cameras)
    torch.testing.assert_close(evidence.monocular, guess)  # of the keypoints whose sides are right
    torch.testing.assert_close(evidence.monocular_covariance, covariance)


def test_gather__the_guess_of_a_detector_is_kept():
    _, sorted_, cameras = detections(people=1)
    evidence = gathered(sorted_, cameras)
    assert not evidence.lifted
    assert evidence.monocular_covariance is None


def test_gather__a_stated_covariance_follows_people_and_sides():
    shuffled, sorted_, cameras = detections()
    size = torch.arange(17).double()[:, None, None] + 1
    stated = sorted_.monocular[..., :1, None].abs() * size * torch.eye(3).double()
    shown = stated.clone()
    odd = torch.arange(1, 30, 2)
    shown[:, odd] = shown[:, odd].flip(2)
    evidence = gathered(replace(shuffled, monocular_covariance=shown), cameras)
    order = [0, 1] if torch.equal(evidence.keypoints.positions[0, 0], sorted_.keypoints.positions[0, 0]) else [1, 0]
    torch.testing.assert_close(evidence.monocular_covariance, stated[:, :, order])

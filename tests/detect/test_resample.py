"""Detections between frames: exact on frames, linear between, honest in gaps, whoever is in which slot."""

from dataclasses import replace

import pytest
import torch

from marey.core import Boxes, Detections2D, InputError, Keypoints2D, skeleton
from marey.detect.resample import resample_detections

JOINTS = 17


def moving(frames: int, people: int = 1) -> Detections2D:
    """People 600 px apart who move 3 px right and 2 px down a frame."""
    body = 100 * torch.rand(JOINTS, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    path = torch.arange(frames, dtype=torch.float64)[:, None, None, None] * torch.tensor([3.0, 2.0])
    place = 600 * torch.arange(people)[:, None, None] * torch.tensor([1.0, 0.0])
    positions = body + path + place
    return Detections2D(
        keypoints=Keypoints2D(
            positions=positions,
            covariance=(4.0 * torch.eye(2, dtype=torch.float64)).expand(*positions.shape, 2).clone(),
            score=torch.full(positions.shape[:-1], 0.5, dtype=torch.float64),
            skeleton=skeleton("coco_17"),
        ),
        boxes=Boxes(
            corners=torch.cat((positions.amin(-2), positions.amax(-2)), -1), score=positions.new_ones(frames, people)
        ),
    )


def times(frames: int) -> torch.Tensor:
    return torch.arange(frames, dtype=torch.float64) / 60


def test_resample__on_frames_nothing_changes():
    given = moving(8, people=2)
    same = resample_detections(given, times(8), times(8))
    torch.testing.assert_close(same.keypoints.positions, given.keypoints.positions, rtol=0, atol=0)
    torch.testing.assert_close(same.keypoints.covariance, given.keypoints.covariance, rtol=0, atol=0)
    torch.testing.assert_close(same.boxes.corners, given.boxes.corners, rtol=0, atol=0)


def test_resample__between_frames_it_is_linear_and_half_the_variance():
    given = moving(8)
    at = (torch.tensor([0.25, 3.5, 6.9], dtype=torch.float64)) / 60
    found = resample_detections(given, times(8), at).keypoints
    expected = given.keypoints.positions[:1] + (at * 60)[:, None, None, None] * torch.tensor([3.0, 2.0])
    torch.testing.assert_close(found.positions, expected)
    torch.testing.assert_close(found.covariance[1, 0, 0], 2.0 * torch.eye(2, dtype=torch.float64))
    assert (found.score == 0.5).all()


def test_resample__a_curved_path_adds_to_the_covariance():
    given = moving(9)
    bump = torch.zeros(9, 1, 1, 2, dtype=torch.float64)
    bump[4] = 8.0
    bent = replace(given, keypoints=replace(given.keypoints, positions=given.keypoints.positions + bump))
    at = torch.tensor([4.5 / 60], dtype=torch.float64)
    straight, curved = (resample_detections(part, times(9), at).keypoints.covariance for part in (given, bent))
    # second difference -16 px in x and y at frame 4: (s (1 - s) / 2)^2 16^2 with s = 1/2
    torch.testing.assert_close((curved - straight)[0, 0, 0], 4.0 * torch.eye(2, dtype=torch.float64))


def test_resample__slots_of_no_order():
    given = moving(8, people=2)
    swapped = given[:, [1, 0]]
    mixed = Detections2D.cat([given[:1], swapped[1:2], given[2:3], swapped[3:4]])
    found = resample_detections(mixed, times(4), times(4)[:3] + 0.5 / 60).keypoints.positions
    straight = resample_detections(given[:4], times(4), times(4)[:3] + 0.5 / 60).keypoints.positions
    torch.testing.assert_close(found.sort(dim=1).values, straight.sort(dim=1).values)


def test_resample__gaps_and_ends_are_missing():
    given = moving(8)
    positions = given.keypoints.positions.clone()
    positions[3, 0, 5] = torch.nan
    score = given.keypoints.score.clone()
    score[3, 0, 5] = 0.0
    holed = replace(given, keypoints=replace(given.keypoints, positions=positions, score=score))
    at = torch.tensor([-0.2, 2.5, 3.5, 4.5, 7.2], dtype=torch.float64) / 60
    found = resample_detections(holed, times(8), at).keypoints
    known = found.positions.isfinite().all(-1)[:, 0]
    assert known[:, 5].tolist() == [False, False, False, True, False]
    assert known[:, 0].tolist() == [False, True, True, True, False]
    assert (found.score[:, 0][~known] == 0).all()
    assert found.covariance[:, 0][~known].isnan().all()
    dropped = torch.cat((times(8)[:4], times(8)[5:] + 1 / 60))
    parts = Detections2D.cat([given[:4], given[5:]])
    gap = resample_detections(parts, dropped, torch.tensor([3.5 / 60, 4.0 / 60])).keypoints
    assert gap.positions.isnan().all()


def test_resample__somebody_else_is_not_reached():
    given = moving(4)
    other = moving(4, people=2)[:, 1:]
    found = resample_detections(Detections2D.cat([given[:2], other[2:]]), times(4), times(4)[:3] + 0.5 / 60)
    assert found.keypoints.positions.isfinite().flatten(1).all(1).tolist() == [True, False, True]


def test_resample__times_that_do_not_ascend():
    with pytest.raises(InputError, match="ascending"):
        resample_detections(moving(3), times(3).flip(0), times(3))
    with pytest.raises(InputError, match="expected 3"):
        resample_detections(moving(3), times(4), times(3))


def test_resample__a_guess_and_its_covariance_come_along():
    given = moving(4)
    guess = torch.arange(4, dtype=torch.float64)[:, None, None, None].expand(4, 1, JOINTS, 3)
    spread = (1 + guess)[..., None] * torch.eye(3, dtype=torch.float64)
    found = resample_detections(
        replace(given, monocular=guess, monocular_covariance=spread), times(4), torch.tensor([1.25 / 60]).double()
    )
    torch.testing.assert_close(found.monocular, torch.full((1, 1, JOINTS, 3), 1.25).double())
    torch.testing.assert_close(found.monocular_covariance[0, 0, 0], 2.25 * torch.eye(3).double())

import dataclasses
import itertools

import pytest
import torch

from detect.rig import ring, seen_by, walker
from marey.core import Skeleton, skeleton
from marey.detect.noise import NoiseModel, with_noise
from marey.detect.swaps import (
    _cheapest_sequence,
    apply_swaps,
    correct_swaps,
    correct_swaps_in_view,
    exchange_sides,
    halves_of,
)

MODEL = NoiseModel(spread=(0.03,) * 4, score_power=0.0)


def recording(views=4, frames=40, people=1, sigma=3.0, seed=0):
    cameras = ring(views)
    joints, table = walker(frames, people)
    return with_noise(seen_by(joints, cameras, table, sigma=sigma, seed=seed), MODEL), cameras


def spans(shape, *places):
    halves = torch.zeros(shape, dtype=torch.bool)
    for view, start, stop, *half in places:
        halves[view, start:stop, :, half or [0, 1]] = True
    return halves


def test_halves_of__coco():
    table = skeleton("coco_17")
    upper, lower = halves_of(table)
    assert not upper[table.index("nose")]
    assert not lower[table.index("nose")]
    assert [table.joints[i] for i in lower.nonzero()[:, 0]] == [
        f"{side}_{part}" for part in ("hip", "knee", "ankle") for side in ("left", "right")
    ]
    assert (upper ^ lower).sum() == 16


def test_apply_swaps__twice_is_nothing_and_takes_score_and_covariance_along():
    keypoints, _ = recording(frames=4)
    keypoints.score[...] = torch.rand(keypoints.score.shape)
    halves = spans((4, 4, 1, 2), (0, 1, 3), (2, 0, 2, 1))
    once = apply_swaps(keypoints, halves)
    left, right = (keypoints.skeleton.index(f"{side}_wrist") for side in ("left", "right"))
    assert torch.equal(once.positions[0, 1, 0, left], keypoints.positions[0, 1, 0, right])
    assert torch.equal(once.score[0, 1, 0, left], keypoints.score[0, 1, 0, right])
    assert torch.equal(once.covariance[0, 1, 0, left], keypoints.covariance[0, 1, 0, right])
    assert torch.equal(once.positions[2, 1, 0, left], keypoints.positions[2, 1, 0, left])
    twice = apply_swaps(once, halves)
    assert all(torch.equal(a, b) for a, b in zip(twice.tensors(), keypoints.tensors(), strict=True))


@pytest.mark.parametrize("views", [2, 3, 4, 7])
def test_correct_swaps__clean_recording_is_left_alone(views):
    keypoints, cameras = recording(views)
    corrected, report = correct_swaps(keypoints, cameras)
    assert not report.swapped.any()
    assert report.notes == ()
    assert corrected is keypoints


@pytest.mark.parametrize(
    "places",
    [
        [(1, 10, 20)],
        [(1, 0, 15), (3, 30, 40)],
        [(0, 5, 12, 0), (2, 8, 15, 1)],
        [(0, 10, 20), (2, 15, 25)],
        [(2, 17, 18)],
    ],
    ids=["one view", "both ends", "halves", "two of four at once", "one frame"],
)
def test_correct_swaps__finds_every_exchange(places):
    keypoints, cameras = recording()
    truth = spans((4, 40, 1, 2), *places)
    corrected, report = correct_swaps(apply_swaps(keypoints, truth), cameras)
    assert torch.equal(report.halves, truth)
    assert torch.equal(corrected.positions, keypoints.positions)


def test_correct_swaps__a_view_that_is_always_wrong():
    keypoints, cameras = recording()
    truth = spans((4, 40, 1, 2), (2, 0, 40))
    assert torch.equal(correct_swaps(apply_swaps(keypoints, truth), cameras)[1].halves, truth)


def test_correct_swaps__random_frames_people_outliers_and_gaps():
    keypoints, cameras = recording(views=5, people=2, sigma=5.0)
    generator = torch.Generator().manual_seed(3)
    truth = (torch.rand((5, 40, 2, 1), generator=generator) < 0.1).expand(5, 40, 2, 2).contiguous()
    wrong = torch.rand(keypoints.score.shape, generator=generator) < 0.05
    keypoints.positions[wrong] += 200
    gone = torch.rand(keypoints.score.shape, generator=generator) < 0.1
    keypoints.positions[gone] = torch.nan
    keypoints.covariance[gone] = torch.nan
    keypoints.score[gone] = 0
    keypoints.positions[1, 20:25] = torch.nan
    _, report = correct_swaps(apply_swaps(keypoints, truth), cameras)
    truth[1, 20:25] = report.halves[1, 20:25]  # nobody there
    assert (report.halves != truth).double().mean() < 0.003


def test_correct_swaps__two_views_know_by_the_motion_which_is_wrong():
    keypoints, cameras = recording(views=2)
    for view in (0, 1):
        truth = spans((2, 40, 1, 2), (view, 12, 20))
        assert torch.equal(correct_swaps(apply_swaps(keypoints, truth), cameras)[1].halves, truth)


def test_correct_swaps__order_of_the_views_does_not_matter():
    keypoints, cameras = recording()
    swapped = apply_swaps(keypoints, spans((4, 40, 1, 2), (0, 3, 9), (1, 20, 40)))
    order = [2, 0, 3, 1]
    straight = correct_swaps(swapped, cameras)[1].halves
    assert torch.equal(correct_swaps(swapped[order], cameras[order])[1].halves, straight[order])


def test_correct_swaps__one_frame():
    keypoints, cameras = recording(frames=1)
    truth = spans((4, 1, 1, 2), (3, 0, 1))
    assert torch.equal(correct_swaps(apply_swaps(keypoints, truth), cameras)[1].halves, truth)


def test_correct_swaps__nothing_to_do_without_pairs_or_frames():
    keypoints, cameras = recording(frames=3)
    assert not correct_swaps(keypoints[:, :0], cameras)[1].halves.numel()
    lone = Skeleton("lone", ("nose",), ())
    picked = dataclasses.replace(
        keypoints,
        positions=keypoints.positions[..., :1, :],
        covariance=keypoints.covariance[..., :1, :, :],
        score=keypoints.score[..., :1],
        skeleton=lone,
    )
    assert not correct_swaps(picked, cameras)[1].halves.any()


def test_correct_swaps__notes_name_the_view_and_count_the_kinds():
    keypoints, cameras = recording()
    cameras = dataclasses.replace(cameras, names=("north", "east", "south", "west"))
    swapped = apply_swaps(keypoints, spans((4, 40, 1, 2), (1, 3, 9), (1, 20, 22, 1)))
    assert correct_swaps(swapped, cameras)[1].notes == (
        "east, person 0: left and right exchanged in 8 of 40 frames (whole body 6, lower body 2).",
    )


def test_cheapest_sequence__equals_trying_all():
    generator = torch.Generator().manual_seed(0)
    preference = torch.randn(2, 7, 1, 2, generator=generator, dtype=torch.float64) * 3
    motion = torch.randn(2, 6, 1, 2, generator=generator, dtype=torch.float64) * 3
    found = _cheapest_sequence(preference, motion)
    for view, half in itertools.product(range(2), range(2)):
        costs = {}
        for states in itertools.product((0, 1), repeat=7):
            s = torch.tensor(states)
            differ = s[1:] != s[:-1]
            costs[states] = (preference[view, :, 0, half] * s).sum() + (motion[view, :, 0, half] * differ).sum()
        best = min(costs, key=costs.__getitem__)
        assert found[view, :, 0, half].long().tolist() == list(best)


@pytest.mark.parametrize("places", [[(0, 5, 9)], [(0, 0, 3), (0, 30, 40)], [(0, 12, 20, 1)], [(1, 3, 4, 0), (0, 7, 9)]])
def test_correct_swaps_in_view__spans_of_one_view_by_the_motion_alone(places):
    clean, _ = recording(views=2, sigma=1.0)
    truth = spans((2, 40, 1, 2), *places)
    corrected, report = correct_swaps_in_view(apply_swaps(clean, truth), ("a", "b"))
    assert torch.equal(report.halves, truth)
    torch.testing.assert_close(corrected.positions, clean.positions)
    assert {note.partition(",")[0] for note in report.notes} == {"ab"[place[0]] for place in places}


def test_correct_swaps_in_view__the_reading_of_most_frames_stays():
    clean, _ = recording(views=1, sigma=1.0)
    _, report = correct_swaps_in_view(apply_swaps(clean, spans((1, 40, 1, 2), (0, 4, 40))))
    assert torch.equal(report.halves, spans((1, 40, 1, 2), (0, 0, 4)))


def test_correct_swaps_in_view__nothing_to_do():
    clean, _ = recording(views=1)
    assert correct_swaps_in_view(clean)[0] is clean
    assert not correct_swaps_in_view(clean[:, :0])[1].halves.any()
    assert not correct_swaps_in_view(clean[:, :1])[1].halves.any()


def test_exchange_sides__of_other_values_of_the_joints():
    table = skeleton("coco_17")
    values = torch.arange(17.0)[None, None, None, :, None].expand(1, 2, 1, 17, 3)
    halves = spans((1, 2, 1, 2), (0, 1, 2, 1))
    changed = exchange_sides(values, halves, table)
    left, right = table.index("left_knee"), table.index("right_knee")
    assert changed[0, :, 0, left, 0].tolist() == [left, right]
    assert changed[0, 1, 0, table.index("left_wrist"), 0] == table.index("left_wrist")

"""Who is dropped, and the reason that is told."""

import pytest
import torch

from marey.core import ShapeError, Skeleton, skeleton
from marey.methods.metrabs.plausibility import (
    PlausibilityFilter,
    are_in_their_boxes,
    has_plausible_bones,
    have_consistent_views,
    mean_bone_lengths,
    pose_similarity,
    suppress_similar,
)

LINE = torch.tensor([[0, 1], [1, 2], [2, 3]])
LENGTHS = torch.tensor([0.5, 0.5, 0.5])


def line(*steps, x=0.0):
    """Joints 4 m away, one above the other."""
    down = torch.tensor((0.0, *steps)).cumsum(0)
    return torch.stack((torch.full_like(down, x), down, torch.full_like(down, 4.0)), -1)


@pytest.mark.parametrize(
    ("steps", "plausible"),
    [
        ((0.5, 0.5, 0.5), True),
        ((1.49, 0.5, 0.5), True),
        ((1.51, 0.5, 0.5), False),  # three times as long
        ((0.5, 0.06, 0.5), True),
        ((0.5, 0.04, 0.5), False),  # a tenth
        ((0.5, float("nan"), 0.5), False),
    ],
)
def test_bones__at_their_limits(steps, plausible):
    assert has_plausible_bones(line(*steps)[None], LINE, LENGTHS).tolist() == [plausible]


def test_bones__short_ones_may_be_off_by_less_than_three_tenths_of_a_metre():
    assert has_plausible_bones(line(0.25, 0.5, 0.5)[None], LINE, torch.tensor([0.05, 0.5, 0.5])).tolist() == [True]
    unknown = torch.tensor([torch.nan, 0.5, 0.5])
    assert has_plausible_bones(line(9.0, 0.5, 0.5)[None], LINE, unknown).tolist() == [True]


def test_views__must_agree_on_more_than_a_quarter_of_the_joints():
    steady = line(0.5, 0.5, 0.5).expand(1, 2, 4, 3).clone()
    assert have_consistent_views(steady).tolist() == [True]
    assert have_consistent_views(steady[:, :1]).tolist() == [True]
    moved = steady.clone()
    moved[0, 0, 1:, 0] += 0.5
    moved[0, 1, 1:, 0] -= 0.5
    assert have_consistent_views(moved).tolist() == [False]  # one of four is not more than a quarter
    moved[0, :, 1, 0] = 0
    assert have_consistent_views(moved).tolist() == [True]


def test_boxes__must_be_covered_by_more_than_half():
    pixels = torch.tensor([[[0.0, 0], [10, 10]]])
    given = torch.tensor([[0.0, 0, 10, 19.9], [0, 0, 10, 20.1], [50, 0, 10, 10]])
    assert are_in_their_boxes(pixels.expand(3, 2, 2), given).tolist() == [True, False, False]
    behind = torch.full((1, 2, 2), torch.nan)
    assert are_in_their_boxes(behind, given[:1]).tolist() == [False]


def test_similarity__is_one_for_the_same_whatever_the_scale():
    pose = line(0.5, 0.5, 0.5)
    found = pose_similarity(torch.stack((pose, 1.5 * pose, line(0.5, 0.5, 0.5, x=2.0))))
    torch.testing.assert_close(found, found.T)
    assert found[0, 1].item() == pytest.approx(1, abs=1e-5)
    assert found[0, 2].item() == 0


def test_suppression__keeps_the_best_of_a_chain_and_whoever_is_free_of_it():
    similar = torch.tensor([[1, 0.9, 0.1], [0.9, 1, 0.9], [0.1, 0.9, 1]])
    assert suppress_similar(similar, torch.tensor([0.9, 0.8, 0.7])).tolist() == [0, 2]
    assert suppress_similar(similar, torch.tensor([0.8, 0.9, 0.7])).tolist() == [1]
    assert suppress_similar(torch.zeros(0, 0), torch.zeros(0)).tolist() == []


def test_filter__tells_who_was_dropped_and_why():
    good = line(0.5, 0.5, 0.5)
    poses = torch.stack(
        (
            good,
            good + 0.01,
            line(2.0, 0.5, 0.5, x=1.0),
            torch.full((4, 3), torch.nan),
            line(0.5, 0.5, 0.5, x=-2.0),
            line(0.5, 0.5, 0.5, x=5.0),
        )
    )
    views = poses[:, None].repeat(1, 2, 1, 1)
    views[4, 0, 1:, 0] += 1.0
    views[4, 1, 1:, 0] -= 1.0
    pixels = torch.tensor([[0.0, 0], [10, 10], [5, 5], [5, 5]]).expand(6, 2, 4, 2)
    given = torch.tensor([0.0, 0, 10, 10]).repeat(6, 1)
    given[5, 0] = 100
    keep = PlausibilityFilter(edges=LINE, lengths=LENGTHS)
    kept = keep(views, pixels, given, torch.tensor([0.5, 0.9, 0.8, 0.7, 0.6, 0.4]))
    assert kept.indices.tolist() == [1]
    assert [(drop.index, drop.reason) for drop in kept.dropped] == [
        (0, "double"),
        (2, "bones"),
        (3, "unknown"),
        (4, "views"),
        (5, "box"),
    ]
    assert "box 1" in kept.dropped[0].detail
    with pytest.raises(ShapeError, match="expected one of each"):
        keep(views, pixels, given[:2], torch.ones(6))


@pytest.mark.parametrize("name", ["coco_17", "h36m_17", "smpl_24", "mpi_inf_3dhp_28"])
def test_mean_bones__are_those_of_a_grown_person(name):
    joints = skeleton(name)
    lengths = dict(zip(joints.links, mean_bone_lengths(joints).tolist(), strict=True))
    pair = (joints.index("left_knee"), joints.index("left_ankle"))
    shin = lengths[pair] if pair in lengths else lengths[pair[::-1]]
    assert 0.35 < shin < 0.5


def test_mean_bones__of_another_skeleton_are_of_the_joints_that_are_known():
    odd = Skeleton("odd", ("left_knee", "left_ankle", "tail"), ((0, 1), (1, 2)))
    lengths = mean_bone_lengths(odd)
    assert 0.35 < lengths[0] < 0.5
    assert lengths[1].isnan()

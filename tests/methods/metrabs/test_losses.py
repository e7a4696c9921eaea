"""Losses against literals, and what does not count in them."""

import pytest
import torch

from marey.core import InputError, skeleton
from marey.methods.metrabs import losses
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.losses import Guess, People, Pictures

MAPS = HeatmapConfig(side=256, stride=32)
K = torch.tensor([[[200.0, 0, 128], [0, 200, 128], [0, 0, 1]]])


def people(depth=4.0):
    joints = torch.tensor([[[0.0, 0, depth], [0.5, -1, depth + 0.5], [1, 1, depth]]])
    known = torch.tensor([[True, True, True]])
    return People(joints, losses.projected(joints, K), known)


def test_mean_difference__over_known_coordinates_of_the_whole_batch():
    difference = torch.tensor([[[1.0, -2], [3, 4]], [[5, torch.nan], [-6, 1]]])
    known = torch.tensor([[True, True], [False, True]])
    assert losses.mean_difference(difference, known) == pytest.approx(17 / 6)
    assert losses.mean_difference(difference, torch.zeros_like(known)) == 0


@pytest.mark.parametrize("root", [0, None])
def test_joints__do_not_depend_on_the_origin(root):
    truth = people()
    guess = Guess(None, truth.joints + torch.tensor([3.0, -2, 1]))
    assert losses.joint_terms(guess, truth, root=root)["joints"] < 1e-6
    wrong = guess._replace(relative=guess.relative * torch.tensor([1.0, 1, 0]))
    expected = {0: 0.5 / 9, None: (1 / 6 + 1 / 3 + 1 / 6) / 9}[root]
    assert losses.joint_terms(wrong, truth, root=root)["joints"] == pytest.approx(expected, rel=1e-5)


def test_weak_joints__do_not_depend_on_scale_and_place():
    keypoints = torch.tensor([[[10.0, 20], [30, 60], [50, 10], [0, 0]]])
    known = torch.tensor([[True, True, True, False]])
    found = 0.01 * keypoints - 3
    assert losses.weak_joint_terms(found, Pictures(keypoints, known), scale=1.0)["weak_joints"] < 1e-3
    stretched = found * torch.tensor([1.0, 2])
    assert losses.weak_joint_terms(stretched, Pictures(keypoints, known), scale=1.0)["weak_joints"] > 1


def test_weak_joints__nobody_known_gives_zero_and_finite_derivatives():
    keypoints = torch.zeros(1, 3, 2)
    relative = torch.zeros(1, 3, 3, requires_grad=True)
    truth = Pictures(keypoints, torch.zeros(1, 3, dtype=torch.bool))
    loss = losses.weak_joint_terms(relative, truth, scale=1.0)["weak_joints"]
    loss.backward()
    assert loss == 0
    assert relative.grad.isfinite().all()


def test_projections__of_the_truth_are_zero_and_of_a_shift_as_said():
    truth = people()
    exact = losses.projected_terms(Guess(None, truth.joints, truth.joints), truth, K, root=0, heatmaps=MAPS)
    assert all(value < 1e-6 for value in exact.values())
    moved = truth.joints + torch.tensor([0.1, 0, 0])
    found = losses.projected_terms(Guess(None, moved, moved), truth, K, root=0, heatmaps=MAPS)
    assert found["joints"] < 1e-6
    assert found["absolute"] == pytest.approx(0.1 / 3, rel=1e-4)
    pixels = torch.tensor([0.1 / 4, 0.1 / 4.5, 0.1 / 4]).mean() * 200 / 2
    assert found["projection"] == pytest.approx(float(pixels) * 2.2 / 256, rel=1e-4)


def test_projections__errors_of_depth_count_less_far_away_and_not_at_all_too_near():
    for depth, expected in ((4.0, 0.2 / 3), (40.0, 0.2 / 3 * (2 * 10 / 40 + 10 / 40.5) / 3)):
        truth = people(depth)
        moved = truth.joints + torch.tensor([0, 0, 0.2])
        found = losses.projected_terms(Guess(None, moved, moved), truth, K, root=0, heatmaps=MAPS)
        assert found["absolute"] == pytest.approx(expected, rel=1e-4)
    near = people(0.1)._replace(known=torch.tensor([[True, False, True]]))
    far_off = near.joints + 1
    found = losses.projected_terms(Guess(None, far_off, far_off), near, K, root=0, heatmaps=MAPS)
    assert found["absolute"] == found["projection"] == 0


def test_projections__estimates_out_of_view_are_not_compared():
    wanted = torch.tensor([[[128.0, 128], [128, 128], [900, 128]]])
    found = torch.tensor([[[30.0, 128], [10, 128], [128, 128]]])
    assert losses.comparable(found, wanted, MAPS).tolist() == [[True, False, False]]
    assert losses.comparable(found, wanted.clamp(max=890), MAPS).tolist() == [[True, False, True]]


def test_depths__from_half_a_box_before_the_root():
    truth = people()
    depth = truth.joints[..., 2:] - 4 + 1.1
    guess = Guess(truth.keypoints + 2, torch.cat((truth.joints[..., :2], depth + 0.3), -1))
    terms = losses.depth_terms(guess, truth, root=0, scale=0.01, box_size=2.2)
    assert terms["depth"] == pytest.approx(0.3, rel=1e-5)
    assert terms["keypoints"] == pytest.approx(0.02, rel=1e-5)


def test_higher_hips__leaves_others_and_refuses_skeletons_without_a_neck():
    own = skeleton("mpi_inf_3dhp_17")
    points = torch.randn(2, 17, 3)
    moved = losses.with_higher_hips(points, own, 0.25)
    hips = own.indices(("left_hip", "right_hip", "pelvis"))
    others = [place for place in range(17) if place not in hips]
    assert torch.equal(moved[:, others], points[:, others])
    along = points[:, own.index("neck")] - points[:, own.index("pelvis")]
    torch.testing.assert_close(moved[:, hips] - points[:, hips], (-0.2 * along)[:, None].expand(-1, 3, -1))
    with pytest.raises(InputError, match="no joint 'neck'"):
        losses.with_higher_hips(points, skeleton("coco_17"), 0.2)

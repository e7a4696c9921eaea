"""Tables of test-time augmentation, and what several views say together."""

import math

import pytest
import torch

from marey.core import InputError
from marey.methods.metrabs.augmented import SeenPoses, augmentation_table, averaged, to_camera, unmirrored


def test_table__of_one_view_is_the_identity():
    table = augmentation_table(1)
    torch.testing.assert_close(table.turns, torch.eye(3).double()[None])
    assert (table.scales.item(), table.gammas.item(), table.flips.item()) == (1.0, 1.0, False)


def test_table__of_one_view_as_published():
    first = augmentation_table(1, single="published")
    assert math.degrees(first.angles.item()) == pytest.approx(25)
    assert (first.scales.item(), first.gammas.item()) == (1.0, 0.6)
    later = augmentation_table(1, single="published-later")
    assert (later.angles.item(), later.scales.item(), later.gammas.item()) == (0.0, 1.0, 0.8)


def test_table__of_five_views():
    table = augmentation_table(5)
    assert [round(math.degrees(angle), 6) for angle in table.angles.tolist()] == [25, 12.5, 0, -12.5, -25]
    assert table.scales.tolist() == pytest.approx([0.8, 0.9, 1, 1.05, 1.1])
    assert table.gammas.tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9, 1])
    assert table.flips.tolist() == [False, True, False, True, False]


def test_table__all_around_is_evenly_spaced():
    full = augmentation_table(4, turns="full").angles
    assert [round(math.degrees(angle), 6) for angle in full.tolist()] == [135, 45, -45, -135]
    both = augmentation_table(4, turns="both").angles
    assert [round(math.degrees(angle), 6) for angle in both.tolist()] == [90, 25, -25, -90]
    assert augmentation_table(1, turns="both").angles.tolist() == [0.0]


def test_turns__are_rotations_of_which_some_are_mirrored():
    table = augmentation_table(6)
    torch.testing.assert_close(table.turns @ table.turns.mT, torch.eye(3).double().expand(6, 3, 3))
    assert torch.linalg.det(table.turns).round().tolist() == [-1, 1, -1, 1, -1, 1]


def test_bad_tables__are_refused():
    with pytest.raises(InputError, match="num_aug: expected 1 or more, got 0"):
        augmentation_table(0)
    with pytest.raises(InputError, match="upside"):
        augmentation_table(2, turns="upside")


def test_to_camera__undoes_the_turn_and_carries_the_covariance():
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(2, 3, 3).double())
    squeezed = turn * torch.tensor([0.9, 0.9, 1.0]).double()[:, None]
    joints, spread = torch.randn(2, 4, 3).double(), torch.randn(2, 4, 3, 3).double()
    spread = spread @ spread.mT
    back, carried = to_camera(joints @ squeezed.mT, squeezed[:, None] @ spread @ squeezed.mT[:, None], squeezed)
    torch.testing.assert_close(back, joints)
    torch.testing.assert_close(carried, spread)


def test_unmirrored__exchanges_the_sides_of_mirrored_views_only():
    joints = torch.arange(6.0).reshape(1, 2, 3, 1).expand(1, 2, 3, 3)
    spread = joints[..., None].expand(1, 2, 3, 3, 3)
    moved, carried = unmirrored(joints, spread, torch.tensor([True, False]), torch.tensor([0, 2, 1]))
    assert moved[0, :, :, 0].tolist() == [[0, 2, 1], [3, 4, 5]]
    assert carried[0, :, :, 0, 0].tolist() == [[0, 2, 1], [3, 4, 5]]


def poses(joints, covariance):
    joints = torch.tensor(joints, dtype=torch.float64)
    return SeenPoses(joints=joints, pixels=joints[..., :2], covariance=covariance.double().expand(*joints.shape, 3))


def test_average__has_the_spread_of_the_views_in_its_covariance():
    found = averaged(poses([[[[0.0, 0, 4]], [[0.2, 0, 4]]]], 0.01 * torch.eye(3)))
    assert found.joints.tolist() == [[[0.1, 0.0, 4.0]]]
    expected = torch.diag(torch.tensor([0.01 + 0.1**2 / 2, 0.01, 0.01], dtype=torch.float64))
    torch.testing.assert_close(found.covariance[0, 0], expected)


def test_average__without_a_covariance_of_the_network():
    unknown = torch.full((3, 3), torch.nan)
    found = averaged(poses([[[[0.0, 0, 4]], [[0.2, 0, 4]]]], unknown))
    torch.testing.assert_close(found.covariance[0, 0], torch.diag(torch.tensor([0.01, 0.0, 0.0]).double()))
    assert averaged(poses([[[[0.0, 0, 4]]]], unknown)).covariance.isnan().all()


def test_table__without_turns():
    views = augmentation_table(5, turns="none")
    assert views.angles.tolist() == [0.0] * 5
    assert views.flips.tolist() == [False, True, False, True, False]
    torch.testing.assert_close(views.scales, torch.tensor([1.0, 1.05, 1.1, 1.15, 1.2], dtype=torch.float64))
    assert views.gammas.tolist() == [1.0] * 5
    alone = augmentation_table(1, turns="none")
    assert (alone.angles.item(), alone.flips.item(), alone.scales.item()) == (0.0, False, 1.0)

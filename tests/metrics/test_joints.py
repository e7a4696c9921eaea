"""Errors of joints as they stand and relative to a root."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.metrics.joints import (
    joint_errors,
    keypoint_errors,
    known_share,
    mpjpe_mm,
    mrpe_axes_mm,
    mrpe_mm,
    root_relative_errors,
)

NAN = math.nan


def sample(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_joint_errors__are_distances(batch):
    truth = sample(*batch, 5, 3)
    errors = joint_errors(truth + torch.tensor([0.3, 0.0, -0.4]), truth)
    torch.testing.assert_close(errors, torch.full((*batch, 5), 0.5, dtype=torch.float64))


def test_joint_errors__unknown_is_nan():
    truth = torch.tensor([[0.0, 0.0, 0.0], [NAN, NAN, NAN], [0.0, 0.0, 0.0]])
    estimated = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 0.0], [NAN, NAN, NAN]])
    torch.testing.assert_close(joint_errors(estimated, truth), torch.tensor([0.1, NAN, NAN]), equal_nan=True)
    assert mpjpe_mm(estimated, truth) == pytest.approx(100.0)
    assert known_share(estimated, truth) == pytest.approx(0.5)  # of the two joints whose truth is known


def test_joint_errors__do_not_change_with_a_rigid_motion():
    estimated, truth = sample(4, 17, 3), sample(4, 17, 3, seed=1)
    rotation = torch.linalg.qr(sample(3, 3, seed=2)).Q
    torch.testing.assert_close(
        joint_errors(estimated @ rotation.T + 2.0, truth @ rotation.T + 2.0), joint_errors(estimated, truth)
    )


@pytest.mark.parametrize(("estimated", "truth"), [((2, 17, 3), (2, 16, 3)), ((17, 2), (17, 2)), ((3,), (3,))])
def test_joint_errors__shapes_must_fit(estimated, truth):
    with pytest.raises(ShapeError, match=r"expected joints \(\.\.\., J, 3\) of the same J"):
        joint_errors(torch.zeros(estimated), torch.zeros(truth))


def test_mpjpe_mm__relative_to_the_root():
    truth = sample(4, 5, 3)
    moved = truth + torch.tensor([3.0, 0.0, 0.0])
    assert mpjpe_mm(moved, truth) == pytest.approx(3000.0)
    assert mpjpe_mm(moved, truth, root=2) == pytest.approx(0.0, abs=1e-9)
    moved[:, 4] += torch.tensor([0.0, 0.1, 0.0])
    assert mpjpe_mm(moved, truth, root=2) == pytest.approx(20.0)
    assert mpjpe_mm(moved, truth, root=(3, 4)) == pytest.approx((4 * 50.0 + 50.0) / 5)


def test_root_relative__without_a_root_a_pose_is_unknown():
    truth = sample(2, 5, 3)
    estimated = truth.clone()
    estimated[0, 1] = NAN
    errors = root_relative_errors(estimated, truth, root=1)
    assert errors.isnan().tolist() == [[True] * 5, [False] * 5]
    assert mpjpe_mm(estimated, truth, root=1) == 0


def test_mean_errors__nothing_known_is_an_error_and_no_nan():
    for function in (mpjpe_mm, mrpe_mm, mrpe_axes_mm):
        for estimated in (torch.full((2, 5, 3), NAN), torch.zeros(0, 5, 3)):
            with pytest.raises(InputError, match=r"expected a known value, got \("):
                function(estimated, torch.zeros(5, 3))
    with pytest.raises(InputError, match="known_share"):
        known_share(torch.zeros(2, 5, 3), torch.full((2, 5, 3), NAN))
    with pytest.raises(InputError, match="got 5 infinite ones"):
        mpjpe_mm(torch.full((5, 3), math.inf), torch.zeros(5, 3))


def test_root__must_be_a_joint():
    for root in (5, -6, (), (0, 5)):
        with pytest.raises(InputError, match="root: expected indices of 5 joints"):
            mpjpe_mm(torch.zeros(5, 3), torch.zeros(5, 3), root=root)


def test_mrpe__is_the_error_of_the_root_alone():
    truth = sample(3, 5, 3)
    estimated = truth + 10.0
    estimated[:, 2] = truth[:, 2] + torch.tensor([0.3, 0.0, -0.4], dtype=torch.float64)
    assert mrpe_mm(estimated, truth, root=2) == pytest.approx(500.0)
    torch.testing.assert_close(
        mrpe_axes_mm(estimated, truth, root=2), torch.tensor([300.0, 0.0, 400.0]).double(), atol=1e-9, rtol=0
    )


def test_keypoint_errors__are_pixels():
    truth = torch.tensor([[1.0, 2.0], [NAN, 0.0]])
    torch.testing.assert_close(
        keypoint_errors(truth + torch.tensor([3.0, 4.0]), truth), torch.tensor([5.0, NAN]), equal_nan=True
    )
    with pytest.raises(ShapeError, match=r"\(\.\.\., J, 2\)"):
        keypoint_errors(torch.zeros(3, 3), torch.zeros(3, 3))

from dataclasses import replace

import pytest
import torch

from marey.calibrate.boards import parse_board
from marey.calibrate.calibration import BoardObservations
from marey.calibrate.rigidity import board_rigidity
from marey.core import Cameras, InputError
from marey.geometry.projection import project
from marey.geometry.rotations import rotvec_to_matrix
from marey.geometry.scale import rescale_cameras


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(moments=30, noise=0.0):
    """Three cameras 2 m away, and a board that turns in front of them."""
    angle = torch.tensor([-0.6, 0.0, 0.6], dtype=torch.float64)
    cameras = Cameras(
        intrinsics=torch.tensor([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]]).double().repeat(3, 1, 1),
        distortion=torch.zeros(3, 4, dtype=torch.float64),
        image_size=torch.tensor([1280.0, 720]).double().expand(3, 2),
        rotation=rotvec_to_matrix(torch.stack((0 * angle, angle, 0 * angle), -1)),
        translation=torch.tensor([0.0, 0, 2]).double().expand(3, 3),
    )
    board = parse_board("charuco:5x5:0.05:DICT_4X4_50")
    rotation = rotvec_to_matrix(0.4 * randn(moments, 3))
    world = (board.points - board.points.mean(0)) @ rotation.mT + 0.1 * randn(moments, 1, 3, seed=1)
    pixels = project(world[None], cameras) + noise * randn(3, moments, 16, 2, seed=2)
    observations = BoardObservations(
        board=board,
        pixels=pixels,
        names=("a", "b", "c"),
        sizes=torch.tensor([[1280, 720]]).expand(3, 2),
        moments=tuple(range(moments)),
        frame_indices=torch.full((3, moments), -1),
    )
    return observations, cameras


def test_board_rigidity__exact_corners_are_rigid_and_true_to_scale():
    found = board_rigidity(*scene())
    assert found.rms_mm < 1e-6
    assert found.scale == pytest.approx(1, abs=1e-9)
    assert (found.corners, found.moments) == (30 * 16, 30)
    assert found.points.shape == (30, 16, 3)


def test_board_rigidity__wrong_scale_of_the_cameras_is_told():
    observations, cameras = scene(noise=0.2)
    true, large = board_rigidity(observations, cameras), board_rigidity(observations, rescale_cameras(cameras, 1.02))
    assert large.scale / true.scale == pytest.approx(1.02, abs=1e-9)
    assert abs(true.scale - 1) < 4 * true.scale_deviation < 0.002
    assert large.rms_mm > 1.5 * true.rms_mm


def test_board_rigidity__noise_of_known_size_gives_its_error_in_millimetres():
    observations, cameras = scene(moments=100, noise=1.0)
    found = board_rigidity(observations, cameras)
    # 1 px at 2 m and 1000 px focal length is 2 mm across, and more along the view
    assert 1.5 < found.rms_mm < 6
    again = board_rigidity(scene(moments=100, noise=0.5)[0], cameras)
    assert found.rms_mm / again.rms_mm == pytest.approx(2, rel=0.02)
    assert found.rms_of_moments_mm.square().mean().sqrt().item() == pytest.approx(found.rms_mm, rel=1e-6)


def test_board_rigidity__bad_corner_counts_in_full():
    observations, cameras = scene(noise=0.2)
    wrong = observations.pixels.clone()
    wrong[0, 3, 5] += 30.0
    found = board_rigidity(replace(observations, pixels=wrong), cameras)
    assert found.corners == 30 * 16
    assert found.rms_of_moments_mm[3] > 4
    assert found.rms_mm > 1.5 * board_rigidity(observations, cameras).rms_mm


def test_board_rigidity__moments_with_few_corners_are_left_out():
    observations, cameras = scene()
    few = observations.pixels.clone()
    few[:, 2, 3:] = torch.nan
    few[1:, 4] = torch.nan
    few[2:, 6] = torch.nan
    found = board_rigidity(replace(observations, pixels=few), cameras)
    assert found.rms_of_moments_mm.isnan().nonzero().flatten().tolist() == [2, 4]
    assert found.moments == 28
    with pytest.raises(InputError, match="no moment has four corners"):
        board_rigidity(observations, cameras, pixels=observations.pixels * torch.nan)

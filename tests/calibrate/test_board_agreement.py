"""Cameras as they are against a board: right ones are good, moved and bent ones are named, nothing is changed."""

from dataclasses import replace

import pytest
import torch

from calibrate.made import made
from marey.calibrate.board_agreement import agree_about_boards
from marey.core import Cameras, InputError


def moved(cameras: Cameras, view: int, metres: float) -> Cameras:
    center = cameras.centers.clone()
    center[view, 0] += metres
    rotation, _ = cameras.extrinsics
    return replace(cameras, translation=-(rotation @ center[..., None])[..., 0])


def test_agree_about_boards__right_cameras_miss_by_the_noise():
    truth = made(noise=0.3)
    found = agree_about_boards(truth.observations, truth.cameras)
    assert [finding.severity for finding in found.findings] == ["good"]
    assert torch.equal(found.cameras.translation, truth.cameras.translation)
    length = found.residuals[found.used].norm(dim=-1)
    assert float(length.square().mean().sqrt()) == pytest.approx(0.3 * 2**0.5, rel=0.1)
    assert torch.equal(found.used, truth.observations.seen)  # no corner is left out
    assert torch.allclose(found.board_translation, truth.board_translation, atol=1e-3)


def test_agree_about_boards__a_moved_camera_comes_first():
    truth = made()
    found = agree_about_boards(truth.observations, moved(truth.cameras, 1, 0.03))
    assert found.findings[0].severity == "problem"
    assert "where the board is: cam_2" in found.findings[0].text
    assert "--intrinsics" in found.findings[0].advice


def test_agree_about_boards__a_lens_that_does_not_fit():
    truth = made()
    bent = truth.cameras.distortion.clone()
    bent[0, 0] = 1.5
    found = agree_about_boards(truth.observations, replace(truth.cameras, distortion=bent))
    assert any("cam_1: even a single picture" in finding.text for finding in found.findings)


def test_agree_about_boards__a_view_that_never_saw_the_board():
    truth = made()
    pixels = truth.observations.pixels.clone()
    pixels[2] = torch.nan
    found = agree_about_boards(replace(truth.observations, pixels=pixels), truth.cameras)
    assert any("cam_3 never saw enough of the board" in finding.text for finding in found.findings)


def test_agree_about_boards__no_board_at_all():
    truth = made()
    nothing = replace(truth.observations, pixels=torch.full_like(truth.observations.pixels, torch.nan))
    with pytest.raises(InputError, match="tells nothing about these cameras"):
        agree_about_boards(nothing, truth.cameras)

"""Blur, noise and JPEG do what cameras do."""

import cv2
import numpy as np
import pytest
import torch

from marey.data.synthetic.degrade import degrade, draw_flaws, jpeg
from marey.data.synthetic.random import Draws


def _draws(count: int) -> Draws:
    return Draws(seed=0, split="training", indices=torch.arange(count))


def _picture(height: int, width: int) -> torch.Tensor:
    """Smooth colours, (1, 3, height, width) in 0..1."""
    y, x = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 3, width)
    planes = [0.5 + 0.4 * (x + y + k).sin() * (1.3 * x - y * k).cos() for k in range(3)]
    return torch.stack(planes)[None]


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("size", [(64, 96), (50, 37)])
def test_jpeg__loses_what_opencv_loses(quality, size):
    levels = (255 * _picture(*size)).round()
    found = jpeg(levels, torch.tensor([float(quality)]))
    image = levels[0].permute(1, 2, 0).byte().numpy()[..., ::-1]
    _, stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    ours = found[0].permute(1, 2, 0).numpy()
    assert found.shape == levels.shape
    # libjpeg blends the halved colours where we repeat them
    assert np.abs(ours - expected).mean() < 3.5
    error, reference = np.abs(ours - image[..., ::-1]).mean(), np.abs(expected - image[..., ::-1]).mean()
    assert 0.6 * reference - 0.3 < error < 1.6 * reference + 1.5


def test_jpeg__grey_is_coded_as_opencv_codes_it():
    levels = (255 * _picture(64, 64)[:, :1]).round().expand(-1, 3, -1, -1)
    _, stored = cv2.imencode(".jpg", levels[0, 0].byte().numpy(), [cv2.IMWRITE_JPEG_QUALITY, 40])
    expected = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE).astype(float)
    found = jpeg(levels, torch.tensor([40.0]))[0, 0].numpy()
    # a coefficient halfway between two steps may go either way
    assert np.abs(found - expected).max() <= 6
    assert np.abs(found - expected).mean() < 0.2


def test_jpeg__each_picture_has_its_quality():
    levels = (255 * torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))).round()
    error = (jpeg(levels, torch.tensor([10.0, 50.0, 95.0])) - levels).abs().mean((1, 2, 3))
    assert error[0] > error[1] > error[2]


def test_degrade__nothing_but_tone_at_strength_zero():
    draws = _draws(4)
    linear = _picture(40, 48).expand(4, -1, -1, -1)
    flaws = draw_flaws(draws, 0.0)
    found = degrade(flaws, draws, linear).double()
    assert found.dtype == torch.float64
    assert (found - 255 * linear.double().sqrt()).abs().mean() < 3


def test_degrade__noise_differs_between_frames_and_not_between_calls():
    draws, frames = _draws(2), _draws(2).fork(torch.tensor([[0], [1]]), "moment")
    linear = torch.full((2, 3, 24, 24), 0.25)
    flaws = draw_flaws(draws[:1], 1.0).map(lambda tensor: tensor.expand(2, *tensor.shape[1:]))
    first = degrade(flaws, frames, linear)
    assert torch.equal(first, degrade(flaws, frames, linear))
    assert not torch.equal(first[0], first[1])


def test_degrade__keeps_the_brightness_of_a_blurred_picture():
    draws = _draws(30)
    flaws = draw_flaws(draws, 1.0)
    still = flaws.map(torch.zeros_like)
    plain = type(flaws)(**{**vars(still), "blur": flaws.blur, "gain": still.gain + 1, "contrast": still.contrast + 1})
    linear = torch.zeros(30, 3, 33, 33)
    linear[:, :, 16, 16] = 1.0
    blurred = (degrade(plain, draws, linear).double() / 255).square().sum((-2, -1))
    assert (blurred - 1).abs().max() < 0.25
    spread = (degrade(plain, draws, linear)[:, 0] > 0).flatten(1).sum(-1)
    assert spread.max() > 12

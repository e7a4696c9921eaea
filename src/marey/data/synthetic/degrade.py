"""What cameras do to light: optics and motion blur, the curve of the tones, noise of the sensor, colour casts, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows

_REACH = 3
"""Pixels that blur reaches to either side."""
_WAYS = ((1, 0), (0, 1), (1, 1), (1, -1))
"""Steps of x and y along which pictures blur."""
_BLOCK = 8
"""Side of JPEG's blocks."""
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Steps of the luminance at quality 50: ITU-T T.81, table K.1."""
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""Of the chrominance: table K.2."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Flaws(Rows):
    """What M cameras do to their pictures; float32."""

    blur: Tensor
    """(M, ways) variance of the blur along each of `_WAYS`, in steps."""
    gain: Tensor
    """(M, 3) of the channels."""
    contrast: Tensor
    """(M,) factor about the middle."""
    bend: Tensor
    """(M,) of the curve of the tones."""
    noise: Tensor
    """(M,) standard deviation in the light."""
    quality: Tensor
    """(M,) of JPEG; 0 where pictures are not compressed."""


def draw_flaws(draws: Draws, strength: float) -> Flaws:
    """Draw what M cameras do to their pictures, as strongly as a number in 0..1 says."""
    draws = draws.within("flaws")
    sigma = draws.uniform("blur", low=0.25, high=0.35 + 0.75 * strength)
    moving = draws.chance("moving", 0.3 * strength)
    motion = torch.where(moving, draws.uniform("motion", low=0.5, high=0.5 + 1.7 * strength), 0.0).square()
    way = draws.choice("way", (0.4, 0.2, 0.2, 0.2))
    ways = torch.tensor(_WAYS, dtype=torch.float64, device=way.device)
    chosen = torch.arange(len(_WAYS), device=way.device) == way[:, None]
    optics = (ways.abs().sum(-1) == 1) * sigma.square()[:, None]
    stored = draws.chance("stored", 0.5 + 0.4 * strength)
    return Flaws(
        blur=optics + chosen * motion[:, None] / ways.square().sum(-1),
        gain=1 + strength * draws.uniform("gain", 3, low=-0.1, high=0.1),
        contrast=1 + strength * draws.uniform("contrast", low=-0.3, high=0.2),
        bend=strength * draws.uniform("bend", low=-0.45, high=0.45),
        noise=0.002 + 0.03 * strength * draws.uniform("noise").square(),
        quality=torch.where(stored, draws.uniform("quality", low=95 - 60 * strength, high=98), 0.0),
    ).float()


def degrade(flaws: Flaws, grain: Draws, linear: Tensor) -> Tensor:
    """Turn linear colours into the 8-bit pictures that cameras would have stored.

    Args:
        flaws: (M,), what stays in a film.
        grain: of the frames, (M,): what changes from each to the next.
        linear: (M, 3, H, W) float32, 1 is white; brighter is clipped.

    Returns:
        (M, 3, H, W) uint8.
    """
    blurred = linear.clamp(0, 1)
    for way, step in enumerate(_WAYS):
        if bool((flaws.blur[:, way] > 0).any()):
            blurred = _swept(blurred, flaws.blur[:, way], step)
    # the square root stands for the curve of sRGB: nowhere 0.03 off, and exact arithmetic
    noisy = _noisy(flaws, grain, _toned(flaws, blurred.sqrt()))
    return _compressed(flaws, (noisy.clamp(0, 1) * 255).round()).to(torch.uint8)


def _swept(picture: Tensor, variance: Tensor, step: tuple[int, int]) -> Tensor:
    """Blur pictures (B, 3, H, W) with Gaussians of variances (B,) in steps of (x, y) pixels."""
    # beyond four deviations there is less than a thousandth of a grey level
    reach = min(_REACH, math.ceil(4 * math.sqrt(float(variance.max()))))
    place = torch.arange(-reach, reach + 1, device=picture.device)
    kernel = (-0.5 * place.square() / variance.clamp_min(1e-4)[:, None]).exp()
    kernel = (kernel / kernel.sum(-1, keepdim=True)).to(picture.dtype)
    height, width = picture.shape[-2:]
    across, down = reach * abs(step[0]), reach * abs(step[1])
    padded = torch.nn.functional.pad(picture, (across, across, down, down), mode="replicate")
    total = torch.zeros_like(picture)
    for tap, shift in enumerate(range(-reach, reach + 1)):
        left, top = across + shift * step[0], down + shift * step[1]
        part = padded[..., top : top + height, left : left + width]
        total = torch.addcmul(total, part, kernel[:, tap, None, None, None])
    return total


def _toned(flaws: Flaws, picture: Tensor) -> Tensor:
    """Gains of the channels, contrast about the middle, and a curve that keeps black and white."""
    contrast, bend = flaws.contrast[:, None, None, None], flaws.bend[:, None, None, None]
    level = (picture * flaws.gain[:, :, None, None] - 0.5) * contrast + 0.5
    return level + bend * level * (1 - level)


def _noisy(flaws: Flaws, grain: Draws, picture: Tensor) -> Tensor:
    """Add noise of the sensor, stronger in the light, of one third colour and two thirds brightness."""
    count, _, height, width = picture.shape
    bell = grain.bell("grain", 4 * height * width).reshape(count, 4, height, width)
    noise = flaws.noise[:, None, None, None] * (0.5 + 0.5 * picture)
    return picture + noise * (0.33 * bell[:, :3] + 0.94 * bell[:, 3:])


def _compressed(flaws: Flaws, levels: Tensor) -> Tensor:
    """Store some of the pictures as JPEG and read them again."""
    stored = (flaws.quality > 0).nonzero()[:, 0]
    if not len(stored):
        return levels
    if len(stored) == len(levels):
        return jpeg(levels, flaws.quality)
    return levels.index_copy(0, stored, jpeg(levels[stored], flaws.quality[stored]))


def jpeg(levels: Tensor, quality: Tensor) -> Tensor:
    """Quantise pictures as JPEG does (ITU-T T.81, baseline, chrominance at half the resolution).

    Args:
        levels: (B, 3, H, W) whole numbers in 0..255.
        quality: (B,) in 1..100, in the scale of the Independent JPEG Group.

    Returns:
        (B, 3, H, W) whole numbers in 0..255.
    """
    height, width = levels.shape[-2:]
    side = 2 * _BLOCK
    padded = torch.nn.functional.pad(levels, (0, -width % side, 0, -height % side), mode="replicate")
    luma = _mixed(padded, (0.299, 0.587, 0.114))
    halved = _halved(padded)
    grey = _mixed(halved, (0.299, 0.587, 0.114))
    chroma = torch.stack(((halved[:, 2] - grey) * (0.5 / 0.886), (halved[:, 0] - grey) * (0.5 / 0.701)), 1)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    luma = _quantised(luma[:, None] - 128, _steps(_LUMA, scale, levels)) + 128
    cb, cr = _quantised(chroma, _steps(_CHROMA, scale, levels)).chunk(2, 1)
    green = (0.299 / 0.587 * 1.402) * cr + (0.114 / 0.587 * 1.772) * cb
    offsets = torch.cat((1.402 * cr, -green, 1.772 * cb), 1)
    restored = luma + _doubled(offsets)
    return restored[..., :height, :width].round_().clamp_(0, 255)


def _mixed(picture: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """(B, H, W) of pictures (B, 3, H, W)."""
    red, green, blue = picture.unbind(1)
    mixed: Tensor = weights[0] * red + weights[1] * green + weights[2] * blue
    return mixed


def _halved(planes: Tensor) -> Tensor:
    """The means of 2 x 2 pixels of (B, C, 2 H, 2 W), (B, C, H, W)."""
    rows = planes[..., ::2, :] + planes[..., 1::2, :]
    return 0.25 * (rows[..., ::2] + rows[..., 1::2])


def _doubled(planes: Tensor) -> Tensor:
    """Every pixel of (B, C, H, W) four times, (B, C, 2 H, 2 W)."""
    count, channels, height, width = planes.shape
    large = planes.new_empty(count, channels, 2 * height, 2 * width)
    large[..., ::2, ::2] = planes
    large[..., ::2, 1::2] = planes
    large[..., 1::2, :] = large[..., ::2, :]
    return large


def _steps(table: tuple[tuple[int, ...], ...], scale: Tensor, like: Tensor) -> Tensor:
    """Quantisation steps (B, 8, 8)."""
    base = torch.tensor(table, dtype=torch.float64, device=scale.device)
    return (base * scale[:, None, None] + 0.5).floor().clamp(1, 255).to(like.dtype)


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine transform of 8 x 8 blocks of planes (B, C, H, W) to multiples of steps (B, 8, 8)."""
    count, channels, height, width = planes.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = planes.reshape(count, channels * rows, _BLOCK, columns, _BLOCK).transpose(2, 3)
    blocks = blocks.reshape(count, -1, _BLOCK * _BLOCK)
    basis = _cosines(planes.device, planes.dtype)
    spectrum = blocks @ basis
    flat = steps.reshape(count, 1, -1)
    restored = ((spectrum / flat).round() * flat) @ basis.T
    back = restored.reshape(count, channels * rows, columns, _BLOCK, _BLOCK).transpose(2, 3)
    return back.reshape(planes.shape)


@cache
def _cosines(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthonormal 2D cosine transform of an 8 x 8 block as one matrix (64 pixels, 64 frequencies)."""
    place = torch.arange(_BLOCK, dtype=torch.float64)
    wave = ((2 * place + 1)[:, None] * place * (math.pi / (2 * _BLOCK))).cos() * math.sqrt(2 / _BLOCK)
    wave[:, 0] = math.sqrt(1 / _BLOCK)
    return torch.kron(wave, wave).to(device=device, dtype=dtype)

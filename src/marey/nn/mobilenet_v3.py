"""MobileNetV3 (Howard et al., ICCV 2019, tables 1 and 2) as a backbone, with torchvision's names of weights."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError
from marey.nn.convolutions import Step, initialise, plan_steps
from marey.nn.image_input import SYMMETRIC, ImageInput
from marey.nn.inverted_residual import InvertedResidual, SqueezeExcitation, hard_swish, normalised, relu

Size = Literal["small", "large"]

_MOMENTUM = 0.01
_STEM = 16
"""Channels of the first convolution."""
_HEAD = {"small": 1024, "large": 1280}
"""Channels of the layer after the last 1x1 convolution, which in classifiers comes after the mean of the map."""


class Row(NamedTuple):
    """One block; a row of the paper's tables."""

    kernel: int
    wide: int
    """Channels inside."""
    channels: int
    weighs: bool
    """Whether the channels inside are weighed (`SqueezeExcitation`)."""
    hard_swish: bool
    """Else ReLU."""
    stride: int


ROWS: dict[str, tuple[Row, ...]] = {
    "small": (
        Row(3, 16, 16, True, False, 2),
        Row(3, 72, 24, False, False, 2),
        Row(3, 88, 24, False, False, 1),
        Row(5, 96, 40, True, True, 2),
        Row(5, 240, 40, True, True, 1),
        Row(5, 240, 40, True, True, 1),
        Row(5, 120, 48, True, True, 1),
        Row(5, 144, 48, True, True, 1),
        Row(5, 288, 96, True, True, 2),
        Row(5, 576, 96, True, True, 1),
        Row(5, 576, 96, True, True, 1),
    ),
    "large": (
        Row(3, 16, 16, False, False, 1),
        Row(3, 64, 24, False, False, 2),
        Row(3, 72, 24, False, False, 1),
        Row(5, 72, 40, True, False, 2),
        Row(5, 120, 40, True, False, 1),
        Row(5, 120, 40, True, False, 1),
        Row(3, 240, 80, False, True, 2),
        Row(3, 200, 80, False, True, 1),
        Row(3, 184, 80, False, True, 1),
        Row(3, 184, 80, False, True, 1),
        Row(3, 480, 112, True, True, 1),
        Row(3, 672, 112, True, True, 1),
        Row(5, 672, 160, True, True, 2),
        Row(5, 960, 160, True, True, 1),
        Row(5, 960, 160, True, True, 1),
    ),
}


class MobileNetV3(nn.Module):
    """The convolutional part.

    Images are scaled to -1..1: the published networks take values in 0..255 and do that themselves.

    Args:
        size: "small" or "large".
        stride: of the features, 32, 16, 8 or 4.
        centered_stride: see `marey.nn.convolutions.plan_steps`.
        keras: the form of the Keras library, which MeTRAbs's published mobile networks have: windows of the first
            convolution stand on odd pixels, and the features have gone through the first layer of the classifier,
            which is then called `head` and is a convolution.

    Raises:
        InputError: there is no such size or stride.
    """

    def __init__(
        self, size: Size = "large", *, stride: int = 32, centered_stride: bool = False, keras: bool = False
    ) -> None:
        super().__init__()
        if size not in ROWS:
            raise InputError(f"size: expected {' or '.join(get_args(Size))}, got '{size}'")
        rows = ROWS[size]
        self.stride = stride
        """Of the features, pixels."""
        self.image_input = ImageInput(SYMMETRIC, multiple=stride)
        steps = plan_steps([row.stride for row in rows], before=2, stride=stride, centered=centered_stride)
        first = Step(stride=2, centered=keras)
        inputs = _STEM
        layers: list[nn.Module] = [normalised(3, inputs, 3, activation=hard_swish, step=first, momentum=_MOMENTUM)]
        for row, step in zip(rows, steps, strict=True):
            layers.append(_block(row, inputs, step))
            inputs = row.channels
        last = 6 * inputs
        layers.append(normalised(inputs, last, activation=hard_swish, momentum=_MOMENTUM))
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(last, _HEAD[size], 1) if keras else None
        self.channels = _HEAD[size] if keras else last
        """Of the features."""
        initialise(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Look at images.

        Args:
            images: (B, 3, H, W) red, green, blue in 0..1, the sides multiples of the stride.

        Returns:
            Features (B, channels, H / stride, W / stride).

        Raises:
            ShapeError: the images have another shape.
        """
        features: Tensor = self.features(self.image_input(images))
        return features if self.head is None else functional.hardswish(self.head(features), inplace=True)


def _block(row: Row, inputs: int, step: Step) -> InvertedResidual:
    activation = hard_swish if row.hard_swish else relu
    layers: list[nn.Module] = []
    if row.wide != inputs:
        layers.append(normalised(inputs, row.wide, activation=activation, momentum=_MOMENTUM))
    layers.append(
        normalised(row.wide, row.wide, row.kernel, activation=activation, step=step, depthwise=True, momentum=_MOMENTUM)
    )
    if row.weighs:
        squeezed = _multiple_of_8(row.wide // 4)
        layers.append(SqueezeExcitation(row.wide, squeezed, activation=relu, gate=nn.Hardsigmoid))
    layers.append(normalised(row.wide, row.channels, momentum=_MOMENTUM))
    return InvertedResidual(*layers, around=row.stride == 1 and inputs == row.channels)


def _multiple_of_8(channels: int) -> int:
    """The nearest, but no less than 90 % of what was asked for."""
    nearest = max(8, (channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8

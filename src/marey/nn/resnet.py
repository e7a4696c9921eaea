"""Residual networks (He et al., CVPR 2016) with the names and order of weights that published checkpoints have."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError

Depth = Literal[18, 34, 50, 101, 152]
Style = Literal["simple", "caffe"]
"""Where a bottleneck takes its stride: `simple` in the 3x3 convolution ("version 1.5"), `caffe` in the first 1x1."""

WIDTHS = (64, 128, 256, 512)


class Layout(NamedTuple):
    """How a depth is made up."""

    units: tuple[int, int, int, int]
    """Blocks of the four stages."""
    bottleneck: bool


LAYOUTS: dict[int, Layout] = {
    18: Layout((2, 2, 2, 2), bottleneck=False),
    34: Layout((3, 4, 6, 3), bottleneck=False),
    50: Layout((3, 4, 6, 3), bottleneck=True),
    101: Layout((3, 4, 23, 3), bottleneck=True),
    152: Layout((3, 8, 36, 3), bottleneck=True),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and the way around them."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int = 1, style: Style = "simple") -> None:
        super().__init__()
        first, second = (1, stride) if style == "simple" else (stride, 1)
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNetTrunk(nn.Module):
    """The convolutional part of a residual network: images (B, 3, H, W) to features (B, channels, H / 32, W / 32).

    Args:
        depth: 18, 34, 50, 101 or 152.
        style: See `Style`; `caffe` takes bottlenecks at every depth, as its published programs do.

    Raises:
        InputError: there is no such depth.
    """

    def __init__(self, depth: int, *, style: Style = "simple") -> None:
        super().__init__()
        if depth not in LAYOUTS:
            raise InputError(f"depth: expected one of {', '.join(map(str, LAYOUTS))}, got {depth}")
        layout = LAYOUTS[depth]
        self._bottleneck = layout.bottleneck or style == "caffe"
        self._style = style
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self._inputs = 64
        self.layer1 = self._stage(WIDTHS[0], layout.units[0], stride=1)
        self.layer2 = self._stage(WIDTHS[1], layout.units[1], stride=2)
        self.layer3 = self._stage(WIDTHS[2], layout.units[2], stride=2)
        self.layer4 = self._stage(WIDTHS[3], layout.units[3], stride=2)
        self.channels = self._inputs
        """Of the features."""

    def forward_features(self, images: Tensor) -> Tensor:
        """The features of the last stage."""
        x = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """The features of the last stage."""
        return self.forward_features(images)

    def _stage(self, width: int, units: int, *, stride: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for step in (stride, *(1,) * (units - 1)):
            if self._bottleneck:
                blocks.append(Bottleneck(self._inputs, width, stride=step, style=self._style))
                self._inputs = width * Bottleneck.expansion
            else:
                blocks.append(BasicBlock(self._inputs, width, stride=step))
                self._inputs = width
        return nn.Sequential(*blocks)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

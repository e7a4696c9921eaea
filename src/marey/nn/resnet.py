"""Residual networks (He et al., CVPR 2016) with the names and order of weights that published checkpoints have."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError
from marey.nn.convolutions import Step, convolution, initialise, plan_steps, pool
from marey.nn.image_input import IMAGENET, ImageInput

Depth = Literal[18, 34, 50, 101, 152]
Style = Literal["simple", "caffe"]
"""Where a bottleneck takes its stride: `simple` in the 3x3 convolution ("version 1.5"), `caffe` in the first 1x1."""

WIDTHS = (64, 128, 256, 512)
_STRIDES = (2, 1, 2, 2, 2)
"""Of the pooling and the four stages."""


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
    """Two 3x3 convolutions and the way around them; the arguments are those of `marey.nn.convolutions.Step`."""

    expansion = 1

    def __init__(
        self, inputs: int, width: int, *, stride: int = 1, dilation: int = 1, after: int = 1, centered: bool = False
    ) -> None:
        super().__init__()
        step = Step(stride, dilation, after, centered)
        self.conv1 = convolution(inputs, width, 3, step=step)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, step=step.following())
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, step)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and the way around them; see `BasicBlock` for the arguments."""

    expansion = 4

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        after: int = 1,
        centered: bool = False,
        style: Style = "simple",
    ) -> None:
        super().__init__()
        step = Step(stride, dilation, after, centered)
        first, second = (None, step) if style == "simple" else (step, step.following())
        outputs = width * self.expansion
        self.conv1 = convolution(inputs, width, 1, step=first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, step=second)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, step)

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
        stride: of the features, 32 or less: 16, 8 or 4 dilate the stages that would stride.
        centered_stride: see `marey.nn.convolutions.plan_steps`.

    Raises:
        InputError: there is no such depth or stride.
    """

    def __init__(self, depth: int, *, style: Style = "simple", stride: int = 32, centered_stride: bool = False) -> None:
        super().__init__()
        if depth not in LAYOUTS:
            raise InputError(f"depth: expected one of {', '.join(map(str, LAYOUTS))}, got {depth}")
        layout = LAYOUTS[depth]
        self._bottleneck = layout.bottleneck or style == "caffe"
        self._style = style
        self.stride = stride
        """Of the features, pixels."""
        pooling, *steps = plan_steps(_STRIDES, before=2, stride=stride, centered=centered_stride)
        self._pool_centered = pooling.centered
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self._inputs = 64
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._stage(width, units, step) for width, units, step in zip(WIDTHS, layout.units, steps, strict=True)
        )
        self.channels = self._inputs
        """Of the features."""

    def forward_features(self, images: Tensor) -> Tensor:
        """The features of the last stage."""
        x = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        x = pool(x, centered=True) if self._pool_centered else functional.max_pool2d(x, 3, stride=2, padding=1)
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """The features of the last stage."""
        return self.forward_features(images)

    def _stage(self, width: int, units: int, step: Step) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for taken in (step, *(step.following(),) * (units - 1)):
            if self._bottleneck:
                blocks.append(Bottleneck(self._inputs, width, style=self._style, **taken._asdict()))
                self._inputs = width * Bottleneck.expansion
            else:
                blocks.append(BasicBlock(self._inputs, width, **taken._asdict()))
                self._inputs = width
        return nn.Sequential(*blocks)


class ResNet(ResNetTrunk):
    """A residual network of version 1.5 as a backbone, with torchvision's names of weights.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stride: of the features, 32, 16, 8 or 4.
        centered_stride: see `marey.nn.convolutions.plan_steps`.

    Raises:
        InputError: there is no such depth or stride.
    """

    def __init__(self, depth: int, *, stride: int = 32, centered_stride: bool = False) -> None:
        super().__init__(depth, stride=stride, centered_stride=centered_stride)
        self.image_input = ImageInput(IMAGENET, multiple=stride)
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
        return self.forward_features(self.image_input(images))


def _shortcut(inputs: int, outputs: int, step: Step) -> nn.Sequential | None:
    """The way around a block: with weights where a stage begins that strides, or would if it were not dilated."""
    if step.stride == 1 and step.after == step.dilation and inputs == outputs:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, step=step), nn.BatchNorm2d(outputs))

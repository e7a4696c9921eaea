"""Blocks of mobile networks: wide inside, narrow between, each channel weighed by what the whole map shows.

Sandler et al., "MobileNetV2", CVPR 2018; Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018. The modules have
torchvision's names and order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from marey.nn.convolutions import Step, convolution

Activation = Callable[[], nn.Module]
EPSILON = 1e-3
"""Of the batch normalisations of mobile networks."""


class SqueezeExcitation(nn.Module):
    """Weighs each channel by two small layers on the mean of the map.

    Args:
        channels: of the map.
        squeezed: between the two layers.
        activation: between the two layers.
        gate: after them, to 0..1.
    """

    def __init__(self, channels: int, squeezed: int, *, activation: Activation, gate: Activation) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.gate = gate()

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same shape."""
        mean = x.mean((-2, -1), keepdim=True)
        weights: Tensor = self.gate(self.fc2(self.activation(self.fc1(mean))))
        return x * weights


class InvertedResidual(nn.Module):
    """Layers, and a way around them where they keep the shape.

    Args:
        layers: in order.
        around: whether the input is added to what they give.
        drop: share of the examples of a batch that take the way around alone during training, the others weighing as
            much more (Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016).
    """

    def __init__(self, *layers: nn.Module, around: bool, drop: float = 0.0) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)
        self._around = around
        self._drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.block(x)
        if not self._around:
            return y
        if self.training and self._drop:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self._drop
            y = y * (kept / (1 - self._drop)).to(y.dtype)
        return y + x


def normalised(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    activation: Activation | None = None,
    step: Step | None = None,
    depthwise: bool = False,
    momentum: float = 0.1,
) -> nn.Sequential:
    """A convolution, its batch normalisation and an activation."""
    layers: list[nn.Module] = [
        convolution(inputs, outputs, kernel, step=step, groups=inputs if depthwise else 1),
        nn.BatchNorm2d(outputs, eps=EPSILON, momentum=momentum),
    ]
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)


def silu() -> nn.Module:
    """The input times its logistic function."""
    return nn.SiLU(inplace=True)


def hard_swish() -> nn.Module:
    """Straight pieces near what `silu` is."""
    return nn.Hardswish(inplace=True)


def relu() -> nn.Module:
    """The positive part."""
    return nn.ReLU(inplace=True)

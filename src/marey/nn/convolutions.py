"""Convolutions of backbones: strides that become dilation, strided windows that are centred, and how weights begin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError

LEAST_STRIDE = 4
"""Of the features of a backbone: what comes before the stages keeps its strides."""


class Step(NamedTuple):
    """How one layer that may stride is laid out; the names are those of the arguments of blocks."""

    stride: int = 1
    dilation: int = 1
    """Of this layer."""
    after: int = 1
    """Dilation of the layers after it, up to the next step: more where a stride was left out."""
    centered: bool = False
    """Windows stand on odd positions, so that those of the features have their centres in the middle of their cells."""

    def following(self) -> Step:
        """The layers after it."""
        return Step(dilation=self.after, after=self.after)


class CenteredConv2d(nn.Conv2d):
    """A convolution of stride 2 whose windows stand on the odd positions, 1, 3, 5 and so on; the sides are even."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, groups: int = 1, bias: bool = False) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""
        half = self.kernel_size[0] // 2
        moved = x[..., 1:, 1:] if half == 0 else functional.pad(x, (half - 1, half, half - 1, half))
        return super().forward(moved)


def convolution(
    inputs: int, outputs: int, kernel: int, *, step: Step | None = None, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution with an odd kernel that keeps the size of its input, or halves it with a stride."""
    step = step or Step()
    if step.stride > 1 and step.centered:
        return CenteredConv2d(inputs, outputs, kernel, groups=groups, bias=bias)
    dilation = step.dilation if kernel > 1 else 1
    return nn.Conv2d(
        inputs,
        outputs,
        kernel,
        stride=step.stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=bias,
    )


def pool(x: Tensor, *, centered: bool) -> Tensor:
    """Maximum over 3x3 windows with stride 2, zeros around: (B, C, H, W) -> (B, C, H / 2, W / 2).

    Centred windows stand on odd positions. After a ReLU zeros around are the same as nothing around; the published
    networks of the second version have no ReLU there and zeros all the same.
    """
    return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1) if centered else (1, 1, 1, 1)), 3, stride=2)


def plan_steps(strides: Sequence[int], *, before: int, stride: int, centered: bool) -> list[Step]:
    """Lay out the stages of a network so that its features have a stride.

    Once the features have it, strides that would follow are left out and the layers after them are dilated instead:
    each weight still meets the same places of the image (Chen et al., "DeepLab", section 3.1).

    Args:
        strides: of the stages as published, 1 or 2.
        before: stride of what comes before them, which is kept.
        stride: of the features: 4 or more, and no more than as published.
        centered: the last stage that strides has its windows on odd positions: in pixels of the image the centres of
            the features are at stride / 2, stride / 2 + stride and so on, instead of 0, stride and so on.

    Raises:
        InputError: the network cannot have such a stride.
    """
    possible = [total for total in accumulate(strides, mul, initial=before) if total >= LEAST_STRIDE]
    if stride not in possible:
        raise InputError(f"stride: expected one of {', '.join(map(str, sorted(set(possible))))}, got {stride}")
    steps = []
    running, dilation = before, 1
    for published in strides:
        taken = published if running < stride else 1
        running, after = running * taken, dilation * published // taken
        steps.append(Step(taken, dilation, after, centered and taken > 1 and running == stride))
        dilation = after
    return steps


def initialise(network: nn.Module, *, mode: Literal["fan_in", "fan_out"]) -> None:
    """Normal weights that keep the variance of activations (He et al., ICCV 2015, section 2.2), biases zero.

    Args:
        network: whose convolutions begin anew.
        mode: "fan_in" keeps it on the way forward, "fan_out" that of gradients on the way back.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            channels = module.in_channels if mode == "fan_in" else module.out_channels
            fan = channels // module.groups * math.prod(module.kernel_size)
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan))
            if module.bias is not None:
                nn.init.zeros_(module.bias)

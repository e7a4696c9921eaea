"""Residual networks of the second version, in the form and with the names of TensorFlow's slim library.

Normalisation and ReLU come before the convolutions (He et al., "Identity Mappings in Deep Residual Networks", ECCV
2016). Unlike others the slim form takes a stage's stride in the last unit of the stage, and its pooling has zeros
around. MeTRAbs (Sarandi et al., T-BIOM 2021) starts from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import FormatError, InputError
from marey.nn.convolutions import Step, convolution, initialise, plan_steps, pool
from marey.nn.image_input import SYMMETRIC, ImageInput
from marey.nn.resnet import WIDTHS

UNITS: dict[int, tuple[int, ...]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
"""Of the blocks, by depth."""
_STRIDES = (2, 2, 2, 2, 1)
"""Of the pooling and the blocks."""
_EXPANSION = 4
_MOMENTUM = 0.003

_SLIM_UNIT = "block{block}/unit_{unit}/bottleneck_v2/"
_SLIM_LAYERS = {"bn1": "conv1/BatchNorm", "bn2": "conv2/BatchNorm"}
"""Layers with another name in slim."""
_SLIM_VARIABLES = {"weight": "weights", "bias": "biases"}
_SLIM_STATISTICS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_NORMALISATIONS = ("preact", "bn1", "bn2", "postnorm")


class Unit(nn.Module):
    """Normalisation, then 1x1, 3x3 and 1x1 convolutions, added to the way around them."""

    def __init__(self, inputs: int, width: int, *, step: Step | None = None) -> None:
        super().__init__()
        step = step or Step()
        outputs = width * _EXPANSION
        self._step = step
        self.preact = _normalisation(inputs)
        self.shortcut = None if inputs == outputs else convolution(inputs, outputs, 1, step=step, bias=True)
        self.conv1 = convolution(inputs, width, 1)
        self.bn1 = _normalisation(width)
        self.conv2 = convolution(width, width, 3, step=step)
        self.bn2 = _normalisation(width)
        self.conv3 = convolution(width, outputs, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = functional.relu(self.preact(x), inplace=True)
        around = self._thinned(x) if self.shortcut is None else self.shortcut(y)
        y = functional.relu(self.bn1(self.conv1(y)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        added: Tensor = self.conv3(y) + around
        return added

    def _thinned(self, x: Tensor) -> Tensor:
        """The pixels that the windows stand on."""
        stride, first = self._step.stride, int(self._step.centered)
        return x if stride == 1 else x[..., first::stride, first::stride]


class ResNetV2(nn.Module):
    """A residual network of the second version as a backbone.

    Args:
        depth: 50, 101, 152 or 200.
        stride: of the features, 32, 16, 8 or 4.
        centered_stride: see `marey.nn.convolutions.plan_steps`. The published networks centre at the strides 32, 16
            and 8 alone, and count on it at 4 too; with the stride 4 build them without.
        final_norm: end with a normalisation and a ReLU, as the later MeTRAbs networks do; those of 2020 have one for
            each head instead, so features come as they are before it.
        units: of the blocks, in place of those of the depth.
        widths: of the blocks, channels of the 3x3 convolutions; the features have four times the last.

    Raises:
        InputError: there is no such depth or stride.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        stride: int = 32,
        centered_stride: bool = False,
        final_norm: bool = False,
        units: tuple[int, ...] | None = None,
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        super().__init__()
        if units is None and depth not in UNITS:
            raise InputError(f"depth: expected one of {', '.join(map(str, UNITS))}, got {depth}")
        self.stride = stride
        """Of the features, pixels."""
        pooling, *steps = plan_steps(_STRIDES, before=2, stride=stride, centered=centered_stride)
        self._pool_centered = pooling.centered
        self.image_input = ImageInput(SYMMETRIC, multiple=stride)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self._inputs = 64
        self.block1, self.block2, self.block3, self.block4 = (
            self._block(width, count, step)
            for width, count, step in zip(widths, units or UNITS[depth], steps, strict=True)
        )
        self.channels = self._inputs
        """Of the features."""
        self.postnorm = _normalisation(self.channels) if final_norm else None
        initialise(self, mode="fan_in")

    def forward(self, images: Tensor) -> Tensor:
        """Look at images.

        Args:
            images: (B, 3, H, W) red, green, blue in 0..1, the sides multiples of the stride.

        Returns:
            Features (B, channels, H / stride, W / stride); without `final_norm` neither normalised nor rectified.

        Raises:
            ShapeError: the images have another shape.
        """
        x = pool(self.conv1(self.image_input(images)), centered=self._pool_centered)
        features: Tensor = self.block4(self.block3(self.block2(self.block1(x))))
        return features if self.postnorm is None else functional.relu(self.postnorm(features), inplace=True)

    def _block(self, width: int, units: int, step: Step) -> nn.Sequential:
        before = Step(dilation=step.dilation, after=step.dilation)
        blocks: list[nn.Module] = []
        for taken in (*(before,) * (units - 1), step):
            blocks.append(Unit(self._inputs, width, step=taken))
            self._inputs = width * _EXPANSION
        return nn.Sequential(*blocks)


def slim_names(names: Iterable[str]) -> dict[str, str]:
    """What slim calls the entries of a state dictionary of `ResNetV2`, without the scope of the network.

    Numbers of batches that normalisations have seen have no counterpart and are left out. Kernels in slim are
    (height, width, inputs, outputs).

    >>> slim_names(["block1.0.bn2.running_var"])
    {'block1.0.bn2.running_var': 'block1/unit_1/bottleneck_v2/conv2/BatchNorm/moving_variance'}
    """
    return {name: _slim_name(name) for name in names if not name.endswith("num_batches_tracked")}


def state_from_slim(names: Iterable[str], variables: Mapping[str, Any], *, scope: str = "") -> dict[str, Tensor]:
    """Make a state dictionary of `ResNetV2` from the variables of a slim checkpoint.

    Args:
        names: of the state dictionary that is wanted, those of `slim_names` counted.
        variables: arrays by name, kernels (height, width, inputs, outputs); others than the wanted are not looked at.
        scope: what the names in the checkpoint begin with, such as "resnet_v2_50/".

    Raises:
        FormatError: variables are missing.
    """
    wanted = {name: scope + slim for name, slim in slim_names(names).items()}
    if missing := sorted(set(wanted.values()) - set(variables)):
        raise FormatError(f"variables: {len(missing)} of {len(wanted)} are missing, the first is '{missing[0]}'")
    return {name: _from_slim(np.asarray(variables[slim])) for name, slim in wanted.items()}


def _slim_name(name: str) -> str:
    *place, layer, variable = name.split(".")
    unit = ""
    if place:
        block = re.sub(r"\D", "", place[0])
        unit = _SLIM_UNIT.format(block=block, unit=int(place[1]) + 1)
    variables = _SLIM_STATISTICS if layer in _NORMALISATIONS else _SLIM_VARIABLES
    return f"{unit}{_SLIM_LAYERS.get(layer, layer)}/{variables[variable]}"


def _from_slim(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array))


def _normalisation(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=_MOMENTUM)

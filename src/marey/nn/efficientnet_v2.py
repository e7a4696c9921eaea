"""EfficientNetV2 (Tan, Le, ICML 2021, table 4) as a backbone, with torchvision's names of weights."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from marey.core.errors import InputError
from marey.nn.convolutions import Step, initialise, plan_steps
from marey.nn.image_input import SYMMETRIC, ImageInput
from marey.nn.inverted_residual import InvertedResidual, SqueezeExcitation, normalised, silu

Size = Literal["s", "m", "l"]

CHANNELS = 1280
"""Of the features."""


class Stage(NamedTuple):
    """Blocks of one kind."""

    fused: bool
    """One 3x3 convolution in place of a 1x1 and a depthwise one; such blocks weigh no channels."""
    expansion: int
    stride: int
    """Of the first block."""
    channels: int
    blocks: int


STAGES: dict[str, tuple[Stage, ...]] = {
    "s": (
        Stage(fused=True, expansion=1, stride=1, channels=24, blocks=2),
        Stage(fused=True, expansion=4, stride=2, channels=48, blocks=4),
        Stage(fused=True, expansion=4, stride=2, channels=64, blocks=4),
        Stage(fused=False, expansion=4, stride=2, channels=128, blocks=6),
        Stage(fused=False, expansion=6, stride=1, channels=160, blocks=9),
        Stage(fused=False, expansion=6, stride=2, channels=256, blocks=15),
    ),
    "m": (
        Stage(fused=True, expansion=1, stride=1, channels=24, blocks=3),
        Stage(fused=True, expansion=4, stride=2, channels=48, blocks=5),
        Stage(fused=True, expansion=4, stride=2, channels=80, blocks=5),
        Stage(fused=False, expansion=4, stride=2, channels=160, blocks=7),
        Stage(fused=False, expansion=6, stride=1, channels=176, blocks=14),
        Stage(fused=False, expansion=6, stride=2, channels=304, blocks=18),
        Stage(fused=False, expansion=6, stride=1, channels=512, blocks=5),
    ),
    "l": (
        Stage(fused=True, expansion=1, stride=1, channels=32, blocks=4),
        Stage(fused=True, expansion=4, stride=2, channels=64, blocks=7),
        Stage(fused=True, expansion=4, stride=2, channels=96, blocks=7),
        Stage(fused=False, expansion=4, stride=2, channels=192, blocks=10),
        Stage(fused=False, expansion=6, stride=1, channels=224, blocks=19),
        Stage(fused=False, expansion=6, stride=2, channels=384, blocks=25),
        Stage(fused=False, expansion=6, stride=1, channels=640, blocks=7),
    ),
}


class EfficientNetV2(nn.Module):
    """The convolutional part, up to the last 1x1 convolution.

    Args:
        size: "s", "m" or "l".
        stride: of the features, 32, 16, 8 or 4.
        centered_stride: see `marey.nn.convolutions.plan_steps`.
        drop: of the last block's examples in training, less in the blocks before; see `InvertedResidual`.

    Raises:
        InputError: there is no such size or stride.
    """

    def __init__(self, size: Size = "s", *, stride: int = 32, centered_stride: bool = False, drop: float = 0.2) -> None:
        super().__init__()
        if size not in STAGES:
            raise InputError(f"size: expected {', '.join(get_args(Size))}, got '{size}'")
        stages = STAGES[size]
        self.channels = CHANNELS
        """Of the features."""
        self.stride = stride
        """Of the features, pixels."""
        self.image_input = ImageInput(SYMMETRIC, multiple=stride)
        steps = plan_steps([stage.stride for stage in stages], before=2, stride=stride, centered=centered_stride)
        total = sum(stage.blocks for stage in stages)
        inputs, placed = stages[0].channels, 0
        layers: list[nn.Module] = [normalised(3, inputs, 3, activation=silu, step=Step(stride=2))]
        for stage, step in zip(stages, steps, strict=True):
            drops = [drop * (placed + block) / total for block in range(stage.blocks)]
            layers.append(_stage(stage, inputs, step, drops))
            inputs, placed = stage.channels, placed + stage.blocks
        layers.append(normalised(inputs, CHANNELS, activation=silu))
        self.features = nn.Sequential(*layers)
        initialise(self, mode="fan_out")

    def forward(self, images: Tensor) -> Tensor:
        """Look at images.

        Args:
            images: (B, 3, H, W) red, green, blue in 0..1, the sides multiples of the stride.

        Returns:
            Features (B, 1280, H / stride, W / stride).

        Raises:
            ShapeError: the images have another shape.
        """
        features: Tensor = self.features(self.image_input(images))
        return features


def _stage(stage: Stage, inputs: int, step: Step, drops: list[float]) -> nn.Sequential:
    blocks = []
    for drop in drops:
        layers = (_fused if stage.fused else _separate)(stage, inputs, step)
        around = step.stride == 1 and step.after == step.dilation and inputs == stage.channels
        blocks.append(InvertedResidual(*layers, around=around, drop=drop))
        inputs, step = stage.channels, step.following()
    return nn.Sequential(*blocks)


def _fused(stage: Stage, inputs: int, step: Step) -> list[nn.Module]:
    wide = inputs * stage.expansion
    if wide == inputs:
        return [normalised(inputs, stage.channels, 3, activation=silu, step=step)]
    return [normalised(inputs, wide, 3, activation=silu, step=step), normalised(wide, stage.channels)]


def _separate(stage: Stage, inputs: int, step: Step) -> list[nn.Module]:
    wide = inputs * stage.expansion
    return [
        normalised(inputs, wide, activation=silu),
        normalised(wide, wide, 3, activation=silu, step=step, depthwise=True),
        SqueezeExcitation(wide, inputs // 4, activation=silu, gate=nn.Sigmoid),
        normalised(wide, stage.channels),
    ]

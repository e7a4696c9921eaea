"""The backbones by name: images in 0..1 go in, features come out, scaled inside as each was published."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from marey.core.errors import InputError
from marey.nn.efficientnet_v2 import EfficientNetV2
from marey.nn.mobilenet_v3 import MobileNetV3
from marey.nn.resnet import ResNet
from marey.nn.resnet_v2 import ResNetV2
from marey.nn.trunk import TrunkFeatures

Backbone = ResNetV2 | ResNet | EfficientNetV2 | MobileNetV3 | TrunkFeatures
"""A module that takes images (B, 3, H, W) in 0..1, the sides multiples of `.stride`, and gives features
(B, `.channels`, H / `.stride`, W / `.stride`)."""

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "resnet_v2_50": partial(ResNetV2, 50),
    "resnet_v2_101": partial(ResNetV2, 101),
    "resnet_v2_152": partial(ResNetV2, 152),
    "resnet_v2_200": partial(ResNetV2, 200),
    "resnet_18": partial(ResNet, 18),
    "resnet_34": partial(ResNet, 34),
    "resnet_50": partial(ResNet, 50),
    "resnet_101": partial(ResNet, 101),
    "resnet_152": partial(ResNet, 152),
    "efficientnet_v2_s": partial(EfficientNetV2, "s"),
    "efficientnet_v2_m": partial(EfficientNetV2, "m"),
    "efficientnet_v2_l": partial(EfficientNetV2, "l"),
    "mobilenet_v3_small": partial(MobileNetV3, "small"),
    "mobilenet_v3_large": partial(MobileNetV3, "large"),
    "mobilenet_v3_small_keras": partial(MobileNetV3, "small", keras=True),
    "mobilenet_v3_large_keras": partial(MobileNetV3, "large", keras=True),
    "trunk": TrunkFeatures,
}
"""What makes each, given `stride` and `centered_stride`. Residual networks without "v2" are of version 1.5;
the trunk has stride 4 alone."""


def build_backbone(name: str, *, stride: int = 32, centered_stride: bool = False, final_norm: bool = False) -> Backbone:
    """Make a backbone with random weights.

    Args:
        name: one of `BACKBONES`.
        stride: of the features, 32, 16, 8 or 4: less than 32 dilates the stages that would stride.
        centered_stride: see `marey.nn.convolutions.plan_steps`.
        final_norm: features of a "resnet_v2" are normalised and rectified at the end, as those of others are anyway.

    Raises:
        InputError: there is no such backbone or stride.
    """
    if name not in BACKBONES:
        raise InputError(f"backbone: expected one of {', '.join(BACKBONES)}, got '{name}'")
    make = BACKBONES[name]
    if final_norm and name.startswith("resnet_v2"):
        make = partial(make, final_norm=True)
    return make(stride=stride, centered_stride=centered_stride)

"""Pose-ResNet (Xiao, Wu, Wei, ECCV 2018): heatmaps at a quarter of the image, and heads that say how much to trust it.

The heads are those of Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from marey.core.errors import InputError, ShapeError
from marey.nn.resnet import ResNetTrunk, Style

FEATURES = 256
"""Channels of the features that heatmaps are made from."""
STRIDE = 4
"""Of the heatmaps, in pixels of the image."""
_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}
"""Padding and output padding of an upsampling layer, by the size of its kernel."""
_LEAST_SIDE = 128
"""Of images for the confidence heads, pixels: the last map is halved twice."""


class PoseMaps(NamedTuple):
    """What the network says of images."""

    heatmaps: Tensor
    """(N, J, H / 4, W / 4), without activation."""
    features: Tensor
    """(N, 256, H / 4, W / 4)."""
    joint_confidence: Tensor | None
    """(N, J) in 0..1."""
    channel_confidence: Tensor | None
    """(N, C) in 0..1, of the channels that a volume is filled with."""


class ConfidenceHead(nn.Module):
    """One number in 0..1 per output from a whole map of features."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 512, 3, padding=1),
            nn.BatchNorm2d(512),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            nn.Conv2d(512, 256, 3, padding=1),
            nn.BatchNorm2d(256),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(
            nn.Linear(256, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, outputs),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, h, w), both sides at least 4 -> (N, outputs)."""
        confidence: Tensor = self.head(self.features(features).mean((-2, -1)))
        return confidence


class PoseResNet(ResNetTrunk):
    """A residual network, three upsampling layers and a 1x1 convolution to heatmaps.

    Args:
        depth: 18, 34, 50, 101 or 152.
        joints: number of heatmaps.
        style: see `marey.nn.resnet.Style`.
        joint_confidences: add the head whose numbers weigh views in algebraic triangulation.
        channel_confidences: outputs of the head whose numbers weigh views in a volume; 0: no such head.
        kernel: of the upsampling layers, 2, 3 or 4.
    """

    def __init__(
        self,
        depth: int,
        joints: int,
        *,
        style: Style = "simple",
        joint_confidences: bool = False,
        channel_confidences: int = 0,
        kernel: int = 4,
    ) -> None:
        super().__init__(depth, style=style)
        if kernel not in _PADDING:
            raise InputError(f"kernel: expected 2, 3 or 4, got {kernel}")
        # in the order of the published state dictionaries
        self.alg_confidences = ConfidenceHead(self.channels, joints) if joint_confidences else None
        self.vol_confidences = ConfidenceHead(self.channels, channel_confidences) if channel_confidences else None
        self.deconv_layers = _upsampling(self.channels, kernel)
        self.final_layer = nn.Conv2d(FEATURES, joints, 1)
        for layer in (*self.deconv_layers, self.final_layer):
            _initialise(layer)

    def forward(self, images: Tensor) -> PoseMaps:  # type: ignore[override]
        """Look at images.

        Args:
            images: (N, 3, H, W), H and W multiples of 32; at least 128 with confidence heads.

        Raises:
            ShapeError: the images have another shape.
        """
        self._check(images)
        deep = self.forward_features(images)
        features = self.deconv_layers(deep)
        return PoseMaps(
            heatmaps=self.final_layer(features),
            features=features,
            joint_confidence=None if self.alg_confidences is None else self.alg_confidences(deep),
            channel_confidence=None if self.vol_confidences is None else self.vol_confidences(deep),
        )

    def _check(self, images: Tensor) -> None:
        heads = self.alg_confidences is not None or self.vol_confidences is not None
        least = _LEAST_SIDE if heads else 32
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[-2] % 32 or images.shape[-1] % 32:
            raise ShapeError(f"images: expected (N, 3, H, W), sides multiples of 32, got {tuple(images.shape)}")
        if min(images.shape[-2:]) < least:
            raise ShapeError(f"images: expected sides of at least {least} pixels, got {tuple(images.shape)}")


def _upsampling(channels: int, kernel: int) -> nn.Sequential:
    padding, output_padding = _PADDING[kernel]
    layers: list[nn.Module] = []
    for inputs in (channels, FEATURES, FEATURES):
        layers += [
            nn.ConvTranspose2d(
                inputs, FEATURES, kernel, stride=2, padding=padding, output_padding=output_padding, bias=False
            ),
            nn.BatchNorm2d(FEATURES),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    """Small normal weights (Xiao, Wu, Wei, section 3)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.001)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

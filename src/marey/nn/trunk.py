"""One small network that looks at images: where people are, where their keypoints are and how surely, and their parts.

It serves the detector `marey` and the methods that start from features. Residual stages and a path back up to a quarter
of the image; every head is one convolution on the same features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError, ShapeError
from marey.nn.precision import full_precision
from marey.nn.resnet import BasicBlock
from marey.nn.soft_argmax import soft_argmax_2d

STRIDE = 4
"""Of all maps, in pixels of the image."""
MULTIPLE = 32
"""Sides of images are multiples of it."""
KEYPOINTS = "halpe_26"
"""Skeleton of the keypoints."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RARE = -4.6
"""Logit of a pixel to be the centre of a person, before anything is learned."""
_LEAST_DEVIATION = 0.05
"""Of a keypoint, pixels of the maps."""


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """How large the network is."""

    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    """Channels of the stages at 1/4, 1/8, 1/16 and 1/32 of the image."""
    units: tuple[int, int, int, int] = (2, 2, 3, 2)
    """Residual blocks of the stages."""
    features: int = 64
    """Channels of the features."""
    keypoints: int = 26
    parts: int = 24
    """Of the body; the background is one more class."""


class TrunkMaps(NamedTuple):
    """What the network says of N images of H x W pixels; maps are h = H / 4, w = W / 4."""

    features: Tensor
    """(N, C, h, w)."""
    heatmaps: Tensor
    """(N, K, h, w): logits of the place of each keypoint of the person in the middle."""
    factors: Tensor
    """(N, 3 K, h, w): what the deviations of the keypoints would be if they were there; see `read_keypoints`."""
    seen: Tensor
    """(N, K, h, w): likewise logits of being visible."""
    parts: Tensor
    """(N, parts + 1, h, w): logits of the part of the body of each pixel, the last of none."""
    centers: Tensor
    """(N, h, w): logits of being the middle of a person's box."""
    boxes: Tensor
    """(N, 4, h, w): distances in pixels of the image from there to the left, top, right and bottom of the box."""


class TrunkKeypoints(NamedTuple):
    """Keypoints of the person in the middle of each image."""

    positions: Tensor
    """(N, K, 2) pixels of the image."""
    factor: Tensor
    """(N, K, 2, 2) lower triangular, its product with its transpose is the covariance, square pixels."""
    seen: Tensor
    """(N, K) logits of being visible."""
    distribution: Tensor
    """(N, K, h, w)."""

    @property
    def covariance(self) -> Tensor:
        """(N, K, 2, 2) square pixels."""
        return self.factor @ self.factor.transpose(-1, -2)


class Trunk(nn.Module):
    """Images (N, 3, H, W) to `TrunkMaps`."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: TrunkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TrunkConfig()
        first = config.widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, first, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        inputs = first
        stages: list[nn.Module] = []
        for width, units in zip(config.widths, config.units, strict=True):
            strides = (1 if not stages else 2, *(1,) * (units - 1))
            stages.append(
                nn.Sequential(
                    *(
                        BasicBlock(inputs if place == 0 else width, width, stride=stride)
                        for place, stride in enumerate(strides)
                    )
                )
            )
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(width, config.features, 1) for width in config.widths)
        self.smooth = nn.ModuleList(BasicBlock(config.features, config.features) for _ in config.widths[:-1])
        self._heads = {
            "heatmaps": config.keypoints,
            "factors": 3 * config.keypoints,
            "seen": config.keypoints,
            "parts": config.parts + 1,
            "centers": 1,
            "boxes": 4,
        }
        self.head = nn.Conv2d(config.features, sum(self._heads.values()), 1)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        self._initialise()

    def forward(self, images: Tensor) -> TrunkMaps:
        """Look at images.

        Args:
            images: (N, 3, H, W) red, green, blue in 0..1; the sides are multiples of 32.

        Raises:
            ShapeError: the images have another shape, or are no floating-point numbers as the weights are.
        """
        if not images.is_floating_point() or (images.dtype == torch.float64) != (self.mean.dtype == torch.float64):
            raise ShapeError(f"images: expected {self.mean.dtype} in 0..1, got {images.dtype}; convert them")
        y = self.features(images)
        maps = dict(zip(self._heads, self.head(y).split(list(self._heads.values()), dim=1), strict=True))
        return TrunkMaps(
            features=y,
            heatmaps=maps["heatmaps"],
            factors=maps["factors"],
            seen=maps["seen"],
            parts=maps["parts"],
            centers=maps["centers"][:, 0],
            boxes=functional.softplus(maps["boxes"]) * STRIDE,
        )

    def features(self, images: Tensor) -> Tensor:
        """Features (N, C, h, w) of images as `forward` takes them, with the same errors."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % MULTIPLE or images.shape[3] % MULTIPLE:
            raise ShapeError(f"images: expected (N, 3, H, W), sides multiples of {MULTIPLE}, got {tuple(images.shape)}")
        x = self.stem((images - self.mean) / self.deviation)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        y: Tensor = self.lateral[-1](levels[-1])
        for level in reversed(range(len(levels) - 1)):
            finer = self.lateral[level](levels[level])
            y = self.smooth[level](functional.interpolate(y, scale_factor=2.0, mode="nearest") + finer)
        return y

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for module in self.modules():  # each block begins as the way around it
            if isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        places = list(self._heads)
        first = sum(self._heads[name] for name in places[: places.index("centers")])
        with torch.no_grad():  # before anything is learned hardly a pixel is a person's centre
            self.head.bias[first] = _RARE


class TrunkFeatures(nn.Module):
    """The trunk as a backbone: images to its features at a quarter of their size."""

    stride = STRIDE

    def __init__(
        self, config: TrunkConfig | None = None, *, stride: int = STRIDE, centered_stride: bool = False
    ) -> None:
        """Make one with random weights.

        Args:
            config: How large it is.
            stride: There is one alone.
            centered_stride: Changes nothing: where in the image a feature looks is learned.

        Raises:
            InputError: another stride is asked for.
        """
        super().__init__()
        if stride != STRIDE:
            raise InputError(f"stride: the trunk has features of stride {STRIDE} alone, got {stride}")
        self.trunk = Trunk(config)
        self.trunk.head = nn.Identity()  # type: ignore[assignment]
        self.channels = self.trunk.config.features

    def forward(self, images: Tensor) -> Tensor:
        """Features (N, C, H / 4, W / 4) of images (N, 3, H, W), red, green, blue in 0..1.

        Raises:
            ShapeError: the sides are no multiples of 32.
        """
        return self.trunk.features(images)


def read_keypoints(maps: TrunkMaps) -> TrunkKeypoints:
    """Read keypoints off the maps: means under the heatmaps, of places, deviations and visibility alike.

    In single precision, whatever that of the maps is.
    """
    with full_precision(maps.heatmaps):
        return _read(maps.heatmaps.float(), maps.factors.float(), maps.seen.float())


def _read(heatmaps: Tensor, factors: Tensor, visible: Tensor) -> TrunkKeypoints:
    found = soft_argmax_2d(heatmaps)
    spread = torch.einsum("nkhw,nkchw->nkc", found.distribution, factors.unflatten(1, (heatmaps.shape[1], 3)))  # type: ignore[no-untyped-call]
    seen = torch.einsum("nkhw,nkhw->nk", found.distribution, visible)
    along, across = (functional.softplus(spread[..., place]) + _LEAST_DEVIATION for place in (0, 1))
    zero = torch.zeros_like(along)
    factor = torch.stack((along, zero, spread[..., 2], across), dim=-1).view(*along.shape, 2, 2) * STRIDE
    return TrunkKeypoints((found.positions + 0.5) * STRIDE - 0.5, factor, seen, found.distribution)

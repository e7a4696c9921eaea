"""Metric-scale heatmaps on the shared trunk: the network of the weights that are shipped.

Crops to keypoints and features is the trunk (`marey.nn.trunk`), keypoints and features to a first guess of the joints
the lifter that looks at the picture (`marey.nn.image_lifter`). What is here corrects the guess: convolutions on the
features give every joint a volume of metric size, to whose logarithms those of the guess's normal distribution are
added. As in MeTRAbs (Sarandi et al., 2021), the volume is not tied to the pixels, so joints outside of the crop have a
place in it; unlike there, its second moments become the covariance of the joint, and the joints are placed before the
camera by all covariances (`marey.geometry.absolute`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.core import Cameras
from marey.core.errors import ShapeError
from marey.geometry.absolute import absolute_joints
from marey.geometry.small import inverse_3x3_symmetric
from marey.io.settings_toml import plain_settings
from marey.methods.metrabs.model import CropPoses
from marey.nn.image_lifter import ImageJoints, ImageLifter
from marey.nn.normal_density import squared_distances
from marey.nn.precision import full_precision
from marey.nn.resnet import BasicBlock
from marey.nn.soft_argmax import covariance_3d, soft_argmax_3d
from marey.nn.trunk import STRIDE, Trunk, TrunkKeypoints, TrunkMaps, read_keypoints

_USUAL = 0.1
"""Metres: deviation of a joint along an axis."""
_LEAST_VARIANCE = 1e-6
_IMPOSSIBLE = 14.0
"""Nats by which the guess's density is at most below that at its mean: what is impossible to it can be corrected."""


@dataclass(frozen=True, kw_only=True)
class MetricHeadConfig:
    """The volumes and the network that makes them."""

    side: int = 128
    """Of the crops, pixels."""
    keypoints: int = 26
    features: int = 64
    """Channels of the trunk's."""
    parts: int = 24
    """Of the body, that the trunk knows."""
    width: int = 96
    """Channels between the convolutions."""
    blocks: int = 2
    """Residual ones, at half the trunk's resolution."""
    depth: int = 16
    """Cells of a volume along the optical axis; across it there are as many as after the first convolution."""
    box_size: float = 2.6
    """Metres that a volume spans, from the middle of its first cell to that of its last."""
    blur: float = 0.08
    """Metres added to the guess's deviation: about half a cell, so that cells do not fall through it."""

    @property
    def cells(self) -> int:
        """Of a volume across the optical axis."""
        return self.side // STRIDE // 2


class MetricJoints(NamedTuple):
    """Of N crops, in the axes of their cameras."""

    positions: Tensor
    """(N, K, 3) metres, of any origin."""
    covariance: Tensor
    """(N, K, 3, 3)"""
    spread: Tensor
    """(N, K) logarithm of the factor that is in their deviations; through it they learn from coverage."""


class MetricHead(nn.Module):
    """What the trunk and the lifter say of crops to metric joints with covariances."""

    grid: Tensor

    def __init__(self, config: MetricHeadConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or MetricHeadConfig()
        seen = config.features + config.parts + config.keypoints
        self.entry = nn.Sequential(
            nn.Conv2d(seen, config.width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(config.width), nn.ReLU()
        )
        self.guess = nn.Conv2d(config.keypoints, config.width, 1)
        self.whole = nn.Linear(config.width, config.width)
        self.blocks = nn.Sequential(*(BasicBlock(config.width, config.width) for _ in range(config.blocks)))
        self.volume = nn.Conv2d(config.width, config.depth * config.keypoints, 1)
        nn.init.zeros_(self.volume.weight)  # begins as the guess
        assert self.volume.bias is not None
        nn.init.zeros_(self.volume.bias)
        self.spread = nn.Parameter(torch.zeros(config.keypoints))
        """Logarithm of the factor on the joints' deviations where they are `_USUAL`; learned from coverage alone."""
        self.growth = nn.Parameter(torch.zeros(config.keypoints))
        """By how much it grows with the logarithm of the deviation, since who is hard to see is misjudged more."""
        self.distance = nn.Parameter(torch.tensor(0.05).log())
        """Logarithm of the relative deviation of a person's distance by what its pixels do not show: its size."""
        self.register_buffer("grid", _grid(config), persistent=False)

    def forward(self, maps: TrunkMaps, distribution: Tensor, lifted: ImageJoints) -> MetricJoints:
        """Correct the guess.

        Args:
            maps: Of N crops.
            distribution: (N, K, h, w) of their keypoints.
            lifted: What the lifter makes of them, in the axes of the crop's camera.
        """
        with full_precision(distribution):
            unlikely, middle = self._unlikely(lifted)
        seen = (maps.features, functional.softmax(maps.parts, dim=1)[:, :-1], distribution.to(maps.features))
        hidden = self.entry(torch.cat(seen, dim=1)) + self.guess((-unlikely).logsumexp(2).to(maps.features))
        hidden = hidden + self.whole(hidden.mean((-2, -1)))[..., None, None]
        learned = self.volume(self.blocks(hidden)).unflatten(1, (-1, self.config.depth))
        with full_precision(distribution):
            grid = self.grid.expand(unlikely.shape[0], -1, -1, -1, -1)
            found = soft_argmax_3d(learned.float() - unlikely, coordinates=grid)
            covariance = covariance_3d(found, grid)
            size = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).detach().clamp_min(_LEAST_VARIANCE)
            spread = self.spread + self.growth * ((size.log() / 2) - math.log(_USUAL))
            factor = (2 * spread.detach()).exp()[..., None, None]
            return MetricJoints(found.positions + middle, covariance * factor, spread)

    def _unlikely(self, lifted: ImageJoints) -> tuple[Tensor, Tensor]:
        """Nats (N, K, D, h, w) by which the guess's density is below its largest; middle (N, 1, 3) of the volumes."""
        positions = lifted.positions
        middle = (positions.amax(1, keepdim=True) + positions.amin(1, keepdim=True)) / 2
        identity = torch.eye(3, dtype=positions.dtype, device=positions.device)
        precision = inverse_3x3_symmetric(lifted.covariance + self.config.blur**2 * identity)
        places = self.grid.flatten(0, 2).expand(positions.shape[0], -1, -1)
        halved = squared_distances(places, precision / 2, positions - middle).clamp_max(_IMPOSSIBLE)
        return halved.reshape(*halved.shape[:2], *self.grid.shape[:3]), middle


class PosedCrops(NamedTuple):
    """What there is to learn from."""

    maps: TrunkMaps
    keypoints: TrunkKeypoints
    poses: CropPoses
    relative: MetricJoints
    """Those of `poses.relative`."""
    place_covariance: Tensor
    """(N, 3, 3) of where the people stand, without what their pixels do not show."""


class TrunkMetrabs(nn.Module):
    """Crops to absolute joints `halpe_26`: trunk, lifter, metric volumes, placing. A `CropNetwork`."""

    def __init__(self, trunk: Trunk, lifter: ImageLifter, head: MetricHead) -> None:
        super().__init__()
        self.trunk, self.lifter, self.head = trunk, lifter, head

    @property
    def side(self) -> int:
        """Of the crops, pixels."""
        return self.head.config.side

    def settings(self) -> dict[str, Any]:
        """Of its parts, as plain values."""
        parts = {"trunk": self.trunk.config, "lifter": self.lifter.config, "head": self.head.config}
        return {name: plain_settings(config) for name, config in parts.items()}

    def forward(self, images: Tensor, intrinsics: Tensor) -> CropPoses:
        """Estimate the joints of N people.

        Args:
            images: (N, 3, S, S) red, green, blue in 0..1.
            intrinsics: (N, 3, 3) of the crops, free of distortion.

        Raises:
            ShapeError: the shapes are others.
        """
        if images.shape[-2:] != (self.side, self.side) or intrinsics.shape != (images.shape[0], 3, 3):
            raise ShapeError(
                f"expected images (N, 3, {self.side}, {self.side}) and intrinsics (N, 3, 3), got "
                f"{tuple(images.shape)} and {tuple(intrinsics.shape)}"
            )
        return self.posed(images, intrinsics).poses

    def posed(self, images: Tensor, intrinsics: Tensor) -> PosedCrops:
        """The joints and what they are made of; arguments as those of `forward`."""
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        with full_precision(intrinsics):
            keypoints = read_keypoints(maps)
            lifted = self.lifter(maps, functional.pad(intrinsics.float(), (0, 1)))
        relative = self.head(maps, keypoints.distribution, lifted)
        with full_precision(intrinsics):
            placed = absolute_joints(
                _placeable(relative.positions),
                keypoints.positions.detach(),
                _pinholes(intrinsics.float()),
                relative_covariance=_placeable(relative.covariance),
                pixel_covariance=keypoints.covariance.detach(),
                weights=keypoints.seen.sigmoid().detach(),
                distance_deviation=self.head.distance.detach().exp(),
            )
        poses = CropPoses(
            joints=placed.positions,
            covariance=placed.covariance,
            keypoints=keypoints.positions,
            relative=relative.positions,
        )
        return PosedCrops(maps, keypoints, poses, relative, placed.placement.covariance)


def _placeable(values: Tensor) -> Tensor:
    """The same; people who cannot be placed teach nothing, where their derivatives would be NaN."""
    if values.requires_grad:
        values = values.clone()
        values.register_hook(_of_the_placed)  # type: ignore[no-untyped-call]
    return values


def _of_the_placed(derivative: Tensor) -> Tensor:
    finite = derivative.flatten(1).isfinite().all(1)
    return torch.where(finite.view(-1, *(1,) * (derivative.ndim - 1)), derivative, 0.0)


def _grid(config: MetricHeadConfig) -> Tensor:
    """Places (D, h, w, 3) of the cells about the middle of a volume, metres."""
    half = config.box_size / 2
    across, along = (torch.linspace(-half, half, count) for count in (config.cells, config.depth))
    z, y, x = torch.meshgrid(along, across, across, indexing="ij")
    return torch.stack((x, y, z), dim=-1)


def _pinholes(intrinsics: Tensor) -> Cameras:
    batch = intrinsics.shape[:1]
    return Cameras(
        intrinsics=intrinsics,
        distortion=intrinsics.new_zeros(*batch, 0),
        image_size=intrinsics.new_full((*batch, 2), torch.nan),
    )

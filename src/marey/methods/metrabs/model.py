"""The networks of MeTRo and MeTRAbs (Sarandi et al., FG 2020 and T-BIOM 2021) and the 2.5D model they compare with.

Crops with their intrinsics in, joints with covariance out; nothing about files. Every network is a backbone and one
1x1 convolution on its features for each kind of heatmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError, ShapeError
from marey.geometry.small import inverse_2x2
from marey.methods.metrabs.bone_lengths import depth_from_bone_lengths, joints_at_depth, joints_covariance
from marey.methods.metrabs.heatmaps import (
    HeatmapConfig,
    Places,
    decode_2d,
    decode_3d,
    is_reliable,
    to_25d,
    to_metric,
    to_pixels,
)
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.reconstruction import (
    Perspective,
    Placing,
    combined,
    normalised_keypoints,
    reconstruct_with_covariance,
)
from marey.nn.backbones import build_backbone
from marey.nn.precision import full_precision

ScaleRecovery = Literal["metro", "bone-lengths", "bone-lengths-true", "true-root-depth", "metrabs"]
"""What gives the joints their place: nothing, they are relative to the root (`metro`); the mean lengths of people's
bones, their own, or their own depth (2.5D heatmaps); a 2D and a metric heatmap together (`metrabs`)."""

HeadLayout = Literal["shared", "separate"]
"""`shared`: one convolution for all heatmaps, 2D before 3D (2021-23). `separate`: each kind has a normalisation, a
rectification and a convolution of its own (2020)."""


@dataclass(frozen=True, kw_only=True)
class MetrabsConfig:
    """What a network is made of."""

    backbone: str = "resnet_v2_50"
    """One of `marey.nn.backbones.BACKBONES`."""
    joints: tuple[str, ...]
    """Names of the joints in the order of the output."""
    scale_recovery: ScaleRecovery = "metrabs"
    heatmaps: HeatmapConfig = field(default_factory=HeatmapConfig)
    head_layout: HeadLayout = "shared"
    root: int | None = -1
    """Index of the joint that the others are relative to in `metro` and in 2.5D; None: their mean, `metro` only."""
    perspective: Perspective = "full"
    border: float = 24.0
    """Pixels from the border of the crop within which keypoints are not trusted. Published: three quarters of the
    stride of training from 2021 on, the whole stride in 2020."""
    regulariser: float = 0.1
    """See `Placing`, likewise `mix`."""
    mix: float = 0.5
    points: int | None = None
    """Heatmaps are of so many points instead of the joints, and joints are affine combinations of these (latent points,
    or the joints of another convention); see `MetrabsNet.combination`."""
    points_and_joints: bool = False
    """There are heatmaps of the points and of the joints, which are used in training only."""
    bones: tuple[tuple[int, int], ...] = ()
    """2.5D: indices of the ends of each bone."""
    bone_lengths: tuple[float, ...] = ()
    """2.5D with `bone-lengths`: their mean lengths, metres."""
    covariance_scale: tuple[float, float] = (1.0, 1.0)
    """Variances of keypoints and of metric joints over those of their heatmaps; fitted after training."""
    distance_deviation: float = 0.0
    """See `reconstruct_with_covariance`; fitted after training."""
    quirks: Quirks = field(default_factory=Quirks)

    def __post_init__(self) -> None:
        _check_choice("scale_recovery", self.scale_recovery, get_args(ScaleRecovery))
        _check_choice("head_layout", self.head_layout, get_args(HeadLayout))
        if not self.joints:
            raise InputError("joints: expected their names, got none")
        if self.is_25d and (self.root is None or self.points is not None):
            raise InputError("2.5D models: expected the index of a root and heatmaps of the joints themselves")
        if self.scale_recovery.startswith("bone-lengths") and not self.bones:
            raise InputError(f"bones: scale_recovery '{self.scale_recovery}' needs them, got none")
        if self.scale_recovery == "bone-lengths" and len(self.bone_lengths) != len(self.bones):
            raise InputError(f"bone_lengths: expected {len(self.bones)}, one a bone, got {len(self.bone_lengths)}")

    @property
    def is_25d(self) -> bool:
        """Heatmaps are in pixels across and metres away."""
        return self.scale_recovery not in ("metro", "metrabs")

    @property
    def heatmap_points(self) -> int:
        """Of which there are heatmaps."""
        joints = len(self.joints)
        return joints if self.points is None else self.points + self.points_and_joints * joints

    @property
    def placing(self) -> Placing:
        """How `metrabs` places joints."""
        return Placing(perspective=self.perspective, regulariser=self.regulariser, mix=self.mix, quirks=self.quirks)


class CropPoses(NamedTuple):
    """What a network says of B crops; J joints, N points that there are heatmaps of (the joints, unless latent)."""

    joints: Tensor
    """(B, J, 3) metres, along the axes of the crop's camera: from the camera, of `metro` from the root."""
    covariance: Tensor | None
    """(B, J, 3, 3) square metres."""
    keypoints: Tensor | None
    """(B, N, 2) pixels of the crop; None for `metro`."""
    relative: Tensor
    """(B, N, 3) metres of the metric heatmap, of any origin; of 2.5D pixels across and metres away."""


class HeadPlaces(NamedTuple):
    """Heatmaps of B crops as places; N points."""

    keypoints: Places | None
    """(B, N, 2) pixels of the crop; None for `metro`."""
    relative: Places
    """(B, N, 3) metres of any origin; of 2.5D pixels across and metres away."""


class CropNetwork(Protocol):
    """What looks at crops."""

    side: int
    """Of the crops, pixels."""

    def __call__(self, images: Tensor, intrinsics: Tensor) -> CropPoses:
        """Crops (B, 3, side, side), red, green, blue in 0..1, and their intrinsics (B, 3, 3)."""
        ...


class HeatmapHeads(nn.Module):
    """Features (B, C, h, w) to logits: of each kind of heatmap (B, channels, h, w)."""

    def __init__(self, features: int, channels: Sequence[int], layout: HeadLayout) -> None:
        super().__init__()
        self.channels = list(channels)
        self.layout = layout
        if layout == "shared":
            self.conv_final = nn.Conv2d(features, sum(channels), 1)
        else:
            self.separate = nn.ModuleList(
                nn.Sequential(nn.BatchNorm2d(features, eps=1e-5, momentum=0.003), nn.ReLU(), nn.Conv2d(features, n, 1))
                for n in channels
            )

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Logits in the order of the channels given."""
        if self.layout == "shared":
            return tuple(self.conv_final(features).split(self.channels, dim=1))
        return tuple(head(features) for head in self.separate)


class MetrabsNet(nn.Module):
    """Crops and their intrinsics to joints.

    Every step has a derivative, and batches and sizes of images are free in exported graphs.
    """

    combination: Tensor | None
    """(N, J): joint j is the sum of the points times column j, whose sum is 1."""

    def __init__(self, config: MetrabsConfig) -> None:
        super().__init__()
        self.config = config
        self.side = config.heatmaps.side
        maps = config.heatmaps
        uncentered = config.quirks.uncentered_finest_stride and maps.stride == 4
        self.backbone = build_backbone(
            config.backbone,
            stride=maps.stride,
            centered_stride=maps.centered_stride and not uncentered,
            final_norm=config.head_layout == "shared",
        )
        points = config.heatmap_points
        flat = [points] if config.scale_recovery == "metrabs" else []
        self.heads = HeatmapHeads(self.backbone.channels, [*flat, maps.depth * points], config.head_layout)
        mixed = None if config.points is None else torch.full((config.points, len(config.joints)), 1 / config.points)
        self.register_buffer("combination", mixed)

    def forward(
        self,
        images: Tensor,
        intrinsics: Tensor,
        *,
        bone_lengths: Tensor | None = None,
        root_depth: Tensor | None = None,
    ) -> CropPoses:
        """Estimate the joints of the person in the middle of each crop.

        Args:
            images: (B, 3, side, side), red, green, blue in 0..1.
            intrinsics: (B, 3, 3) of the crops, without distortion.
            bone_lengths: (B, E) metres, for `bone-lengths-true`; overrules the mean lengths of `bone-lengths`.
            root_depth: (B,) metres, for `true-root-depth`.

        Raises:
            ShapeError: the shapes do not fit together, or images are no floating-point numbers.
            InputError: lengths or depths are needed and not given.
        """
        check_crops(images, intrinsics, side=self.side, like=next(self.parameters()))
        places = self.places(images)
        with full_precision(intrinsics):
            return self.posed(places, intrinsics.to(places.relative.positions), bone_lengths, root_depth)

    def places(self, images: Tensor) -> HeadPlaces:
        """Read the heatmaps of crops (B, 3, side, side); in single precision, whatever that of the network is."""
        logits = self.heads(self.backbone(images))
        config, quirks = self.config, self.config.quirks
        maps = config.heatmaps
        with full_precision(images):
            volume = decode_3d(_at_least_single(logits[-1]), maps.depth)
            if config.is_25d:
                return HeadPlaces(to_pixels(volume, maps, quirks), to_25d(volume, maps, quirks))
            relative = to_metric(volume, maps, quirks)
            if config.scale_recovery == "metro":
                return HeadPlaces(None, relative)
            return HeadPlaces(to_pixels(decode_2d(_at_least_single(logits[0])), maps, quirks), relative)

    def posed(
        self,
        places: HeadPlaces,
        intrinsics: Tensor,
        bone_lengths: Tensor | None = None,
        root_depth: Tensor | None = None,
    ) -> CropPoses:
        """Place what the heatmaps show before the camera; arguments as of `forward`."""
        joints = self._joints(self._used(places), intrinsics, bone_lengths, root_depth)
        keypoints = None if places.keypoints is None else places.keypoints.positions
        return CropPoses(joints.positions, joints.covariance, keypoints, places.relative.positions)

    def _joints(
        self, places: HeadPlaces, intrinsics: Tensor, bone_lengths: Tensor | None, root_depth: Tensor | None
    ) -> Places:
        config = self.config
        if places.keypoints is None:
            return self._from_root(places.relative)
        reliable = is_reliable(places.keypoints.positions, config.heatmaps, config.border)
        if config.is_25d:
            return self._at_depth(places.relative, intrinsics, reliable, bone_lengths, root_depth)
        return reconstruct_with_covariance(
            places.keypoints,
            places.relative,
            intrinsics,
            reliable=reliable,
            placing=config.placing,
            combination=self.combination,
            distance_deviation=config.distance_deviation,
        )

    def _used(self, places: HeadPlaces) -> HeadPlaces:
        """The points that joints are made of, with variances as fitted."""
        count = self.config.points or len(self.config.joints)
        flat, solid = (scale**0.5 for scale in self.config.covariance_scale)
        across = flat if self.config.is_25d else solid
        keypoints = places.keypoints and _widened(places.keypoints, (flat, flat), count)
        return HeadPlaces(keypoints, _widened(places.relative, (across, across, solid), count))

    def _from_root(self, relative: Places) -> Places:
        """Joints from the root, which is known exactly; errors are taken as independent from point to point."""
        count = len(self.config.joints)
        like = relative.positions
        weights = (
            torch.eye(count, dtype=like.dtype, device=like.device) if self.combination is None else self.combination
        )
        root = weights.mean(1) if self.config.root is None else weights[:, self.config.root]
        weights = weights - root[:, None]
        return Places(combined(relative.positions, weights), combined(relative.covariance, weights.square()))

    def _at_depth(
        self,
        places: Places,
        intrinsics: Tensor,
        reliable: Tensor,
        bone_lengths: Tensor | None,
        root_depth: Tensor | None,
    ) -> Places:
        config = self.config
        ideal = _normalised(_doubtful(places, reliable, config.heatmaps), intrinsics)
        lengths = None
        if config.scale_recovery == "true-root-depth":
            if root_depth is None:
                raise InputError("root_depth: 'true-root-depth' needs the depths (B,) of the roots, got None")
            assert config.root is not None
            ideal, depth = _from_depth_of(ideal, config.root), root_depth.to(ideal.positions)
        else:
            lengths = self._lengths(bone_lengths, ideal.positions)
            points, depths = ideal.positions[..., :2], ideal.positions[..., 2]
            depth = depth_from_bone_lengths(
                points, depths, lengths, bones=config.bones, reliable=reliable, quirks=config.quirks
            )
        joints = joints_at_depth(ideal.positions[..., :2], ideal.positions[..., 2], depth)
        covariance = joints_covariance(ideal, depth, lengths=lengths, bones=config.bones, reliable=reliable)
        return Places(joints, covariance + config.distance_deviation**2 * joints[..., None] * joints[..., None, :])

    def _lengths(self, given: Tensor | None, like: Tensor) -> Tensor:
        if given is not None:
            return given.to(like)
        if self.config.scale_recovery == "bone-lengths-true":
            raise InputError("bone_lengths: 'bone-lengths-true' needs the lengths (B, E) of each person, got None")
        return like.new_tensor(self.config.bone_lengths)


def check_crops(images: Tensor, intrinsics: Tensor, *, side: int, like: Tensor) -> None:
    """Refuse what is no crops; nothing is asked of values, so it may stand in exported graphs.

    Args:
        images: Expected (B, 3, side, side), floating point: 8-bit crops would be taken for 255 times as bright.
        intrinsics: Expected (B, 3, 3).
        side: Of the crops, pixels.
        like: A weight of the network, whose precision they need.

    Raises:
        ShapeError: they are of another shape or type.
    """
    if images.shape[1:] != (3, side, side) or intrinsics.shape != (images.shape[0], 3, 3):
        raise ShapeError(
            f"images, intrinsics: expected (B, 3, {side}, {side}) and (B, 3, 3), got {tuple(images.shape)} and "
            f"{tuple(intrinsics.shape)}"
        )
    double = images.dtype == torch.float64, like.dtype == torch.float64
    if not images.is_floating_point() or double[0] != double[1]:
        raise ShapeError(f"images: expected {like.dtype} in 0..1 as the weights are, got {images.dtype}; convert them")


def _doubtful(places: Places, reliable: Tensor, config: HeatmapConfig) -> Places:
    """Keypoints that are not reliable may be a quarter of the crop away."""
    further = torch.diag(places.positions.new_tensor([config.side / 4, config.side / 4, 0.0]).square())
    return Places(places.positions, places.covariance + torch.where(reliable, 0.0, 1.0)[..., None, None] * further)


def _normalised(places: Places, intrinsics: Tensor) -> Places:
    """Pixels across (..., 3) in normalised coordinates."""
    points = normalised_keypoints(places.positions[..., :2], intrinsics)
    scale = functional.pad(inverse_2x2(intrinsics[:, :2, :2]), (0, 1, 0, 1))[:, None]
    scale = scale + torch.diag(places.positions.new_tensor([0.0, 0.0, 1.0]))
    return Places(torch.cat((points, places.positions[..., 2:]), -1), scale @ places.covariance @ scale.mT)


def _from_depth_of(places: Places, root: int) -> Places:
    """Depths from that of the root, whose error all others get."""
    others = torch.ones_like(places.positions[0, :, 0])
    others[root] = 0.0
    away = torch.diag(others.new_tensor([0.0, 0.0, 1.0]))
    kept = torch.diag(others.new_tensor([1.0, 1.0, 0.0])) + others[:, None, None] * away
    shared = (others[:, None, None] * away) * places.covariance[:, root, 2, 2, None, None, None]
    return Places(
        places.positions - places.positions[:, root, None] * away[2], kept @ places.covariance @ kept + shared
    )


def _widened(places: Places, factors: tuple[float, ...], count: int) -> Places:
    """The first points, deviations multiplied."""
    factor = places.positions.new_tensor(factors)
    return Places(places.positions[:, :count], places.covariance[:, :count] * factor * factor[:, None])


def _at_least_single(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got '{value}'")

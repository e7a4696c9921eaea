"""The three networks of Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019).

Images of calibrated views in, joints in the world with covariance out; nothing about files. Names of weights are those
of the official checkpoints. Lengths are in the unit of the cameras' translations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from marey.core.errors import InputError, ShapeError
from marey.geometry.triangulation import triangulate_projections
from marey.methods.triangulation.quirks import Quirks
from marey.methods.triangulation.ransac import ransac
from marey.nn.pose_resnet import STRIDE, PoseMaps, PoseResNet
from marey.nn.precision import full_precision
from marey.nn.resnet import Style
from marey.nn.soft_argmax import (
    Expectation,
    Normalisation,
    covariance_2d,
    covariance_3d,
    soft_argmax_2d,
    soft_argmax_3d,
)
from marey.nn.v2v import V2V
from marey.nn.volumes import Aggregation, cuboid_grid, rotate_grid, unproject

VOLUME_CHANNELS = 32
"""Of the features that volumes are filled with, in the published network."""
_LEAST_CONFIDENCE = 1e-5
"""Added to normalised confidences, so that no view is out altogether."""

VolumeAggregation = Literal["sum", "mean", "max", "softmax", "conf", "conf_norm"]
"""How views are brought together; `conf`: by learned confidences, `conf_norm`: by these divided by their sum."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The network that looks at single images."""

    depth: Literal[18, 34, 50, 101, 152] = 152
    joints: int = 17
    style: Style = "simple"


@dataclass(frozen=True, kw_only=True)
class AlgebraicConfig:
    """Soft-argmax of heatmaps and linear triangulation, weighted by learned confidences (section 3.2)."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    use_confidences: bool = True
    heatmap_multiplier: float = 100.0
    """Inverse temperature of the softmax."""
    heatmap_normalisation: Normalisation = "softmax"
    covariance_scale: float = 1.0
    """Variance of a keypoint over that of its heatmap; fitted after training."""
    quirks: Quirks = field(default_factory=Quirks)


@dataclass(frozen=True, kw_only=True)
class RansacConfig:
    """Maxima of heatmaps and triangulation by sample consensus (section 3.1)."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    direct_optimization: bool = True
    """Minimise the reprojection errors of the agreeing views."""
    heatmap_multiplier: float = 100.0
    """Inverse temperature of the mean around the maximum; of no effect with the published whole-pixel maxima."""
    quirks: Quirks = field(default_factory=Quirks)


@dataclass(frozen=True, kw_only=True)
class VolumetricConfig:
    """Features unprojected into a volume around the person, 3D convolutions, soft-argmax (section 3.3)."""

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    aggregation: VolumeAggregation = "softmax"
    volume_size: int = 64
    cuboid_side: float = 2.5
    """In the unit of the cameras' translations."""
    volume_multiplier: float = 1.0
    volume_normalisation: Normalisation = "softmax"
    feature_channels: int = VOLUME_CHANNELS
    v2v_width: int = 32
    vertical: Literal["y", "z"] = "z"
    """The world's vertical axis, about which the cuboid is turned."""
    cmu_axes: bool = False
    """The weights were trained with y vertical, pointing down; the world has z up."""
    covariance_scale: float = 1.0
    """Variance of a joint over that of its volume; fitted after training."""
    quirks: Quirks = field(default_factory=Quirks)


@dataclass(frozen=True, kw_only=True)
class AlgebraicOutput:
    """What the algebraic and the RANSAC network say; B items, V views, J joints."""

    joints: Tensor
    """(B, J, 3) in the world."""
    covariance: Tensor
    """(B, J, 3, 3)."""
    keypoints: Tensor
    """(B, V, J, 2) pixels of the images."""
    keypoint_covariance: Tensor
    """(B, V, J, 2, 2) square pixels."""
    heatmaps: Tensor
    """(B, V, J, h, w): distributions; of RANSAC the raw maps."""
    confidences: Tensor
    """(B, V, J): what each view counted; of RANSAC 1 for a view that agrees and 0 for others."""


@dataclass(frozen=True, kw_only=True)
class VolumetricOutput:
    """What the volumetric network says; B items, V views, J joints, S voxels along a side."""

    joints: Tensor
    """(B, J, 3) in the world."""
    covariance: Tensor
    """(B, J, 3, 3)."""
    features: Tensor
    """(B, V, C, h, w) that the volume was filled with."""
    volumes: Tensor
    """(B, J, S, S, S): distributions."""
    confidences: Tensor | None
    """(B, V, C) of the channels, if the views were weighted by them."""
    grid: Tensor
    """(B, S, S, S, 3): the places of the voxels."""


class AlgebraicNet(nn.Module):
    """Keypoints by soft-argmax, triangulated with learned weights of the views; every step has a derivative."""

    def __init__(self, config: AlgebraicConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config.backbone, joint_confidences=config.use_confidences)

    def forward(self, images: Tensor, projections: Tensor) -> AlgebraicOutput:
        """Estimate joints.

        Args:
            images: (B, V, 3, H, W), normalised as the weights expect; V is 2 or more.
            projections: (B, V, 3, 4) from the world to pixels of these images, free of distortion.

        Raises:
            InputError: there is one view.
            ShapeError: the shapes do not fit together.
        """
        check_views(images, projections, least_views=2, method="algebraic")
        views = images.shape[:2]
        maps = _looked_at(self.backbone, images)
        confidences = None if maps.joint_confidence is None else maps.joint_confidence.view(*views, -1)
        return self.from_heatmaps(_by_view(maps.heatmaps, views), projections, confidences)

    def from_heatmaps(
        self, heatmaps: Tensor, projections: Tensor, confidences: Tensor | None = None
    ) -> AlgebraicOutput:
        """Triangulate what heatmaps at a quarter of the images show.

        Args:
            heatmaps: (B, V, J, h, w), without activation.
            projections: (B, V, 3, 4) from the world to pixels of the images, free of distortion.
            confidences: (B, V, J) of the views, 0 or more; None, or 0 in all views: all count alike.
        """
        with full_precision(projections):
            return self._solved(heatmaps.to(projections.dtype), projections, confidences)

    def _solved(self, heatmaps: Tensor, projections: Tensor, confidences: Tensor | None) -> AlgebraicOutput:
        config = self.config
        if config.heatmap_normalisation == "softmax":
            heatmaps = heatmaps * config.heatmap_multiplier
        found = soft_argmax_2d(heatmaps, normalisation=config.heatmap_normalisation)
        keypoints = _image_pixels(found.positions, config.quirks)
        spread = _keypoint_covariance(found, config.covariance_scale)
        confidences = torch.ones_like(keypoints[..., 0]) if confidences is None else confidences.to(keypoints)
        total = confidences.sum(1, keepdim=True)
        weights = confidences / torch.where(total > 0, total, 1.0) + _LEAST_CONFIDENCE
        points = triangulate_projections(
            keypoints.transpose(0, 1),
            projections.transpose(0, 1),
            weights=weights.transpose(0, 1),
            covariance=spread.transpose(0, 1),
        )
        return AlgebraicOutput(
            joints=points.positions,
            covariance=points.covariance,
            keypoints=keypoints,
            keypoint_covariance=spread,
            heatmaps=found.distribution,
            confidences=weights,
        )


class RansacNet(nn.Module):
    """Keypoints at the maxima of heatmaps, triangulated from the views that agree."""

    def __init__(self, config: RansacConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _backbone(config.backbone)

    def forward(self, images: Tensor, projections: Tensor, pairs: Tensor | None = None) -> AlgebraicOutput:
        """Estimate joints.

        Args:
            images: (B, V, 3, H, W), normalised as the weights expect; V is 2 or more.
            projections: (B, V, 3, 4) from the world to pixels of these images, free of distortion.
            pairs: (B, J, K, 2) of views to try; None: as the quirks say.

        Raises:
            InputError: there is one view.
            ShapeError: the shapes do not fit together.
        """
        check_views(images, projections, least_views=2, method="ransac")
        heatmaps = _by_view(_looked_at(self.backbone, images).heatmaps, images.shape[:2])
        return self.from_heatmaps(heatmaps, projections, pairs)

    def from_heatmaps(self, heatmaps: Tensor, projections: Tensor, pairs: Tensor | None = None) -> AlgebraicOutput:
        """Triangulate what heatmaps (B, V, J, h, w) at a quarter of the images show, otherwise as `forward`."""
        with full_precision(projections):
            return self._solved(heatmaps.to(projections.dtype), projections, pairs)

    def _solved(self, heatmaps: Tensor, projections: Tensor, pairs: Tensor | None) -> AlgebraicOutput:
        quirks, (batch, views, joints) = self.config.quirks, heatmaps.shape[:3]
        soft = soft_argmax_2d(heatmaps * self.config.heatmap_multiplier)
        keypoints = _maxima(heatmaps) * STRIDE if quirks.whole_pixel_maxima else _image_pixels(soft.positions, quirks)
        if pairs is None and quirks.random_pairs is not None:
            pairs = _random_pairs(views, (batch, joints, quirks.random_pairs), heatmaps.device)
        spread = _keypoint_covariance(soft, 1.0)
        return agreed_points(
            keypoints, spread, projections, heatmaps, pairs=pairs, refine=self.config.direct_optimization
        )


def agreed_points(
    keypoints: Tensor,
    covariance: Tensor,
    projections: Tensor,
    heatmaps: Tensor,
    *,
    pairs: Tensor | None = None,
    refine: bool = True,
) -> AlgebraicOutput:
    """Triangulate the views that agree, see `ransac`; the covariance is that of the linear solution from them.

    Args:
        keypoints: (B, V, J, 2) pixels.
        covariance: (B, V, J, 2, 2) of the keypoints, square pixels.
        projections: (B, V, 3, 4) from the world to pixels.
        heatmaps: (B, V, J, h, w) that the keypoints were read off, handed on.
        pairs: (B, J, K, 2) of views to try; None: all.
        refine: Minimise the reprojection errors of the agreeing views.
    """
    by_view, poses = keypoints.transpose(0, 1), projections.transpose(0, 1)
    found = ransac(by_view, poses, pairs=pairs, refine=refine)
    weights = found.inliers.to(keypoints.dtype)
    points = triangulate_projections(by_view, poses, weights=weights, covariance=covariance.transpose(0, 1))
    return AlgebraicOutput(
        joints=found.positions,
        covariance=points.covariance,
        keypoints=keypoints,
        keypoint_covariance=covariance,
        heatmaps=heatmaps,
        confidences=weights.transpose(0, 1),
    )


class VolumetricNet(nn.Module):
    """Features of all views in one volume around the person, and a network that finds the joints there."""

    def __init__(self, config: VolumetricConfig) -> None:
        super().__init__()
        self.config = config
        weighted = config.aggregation.startswith("conf")
        self.backbone = _backbone(config.backbone, channel_confidences=config.feature_channels if weighted else 0)
        self.backbone.final_layer.requires_grad_(False)  # its heatmaps are not used
        self.process_features = nn.Sequential(nn.Conv2d(256, config.feature_channels, 1))
        self.volume_net = V2V(config.feature_channels, config.backbone.joints, width=config.v2v_width)

    def forward(
        self, images: Tensor, projections: Tensor, centers: Tensor, turns: Tensor | None = None
    ) -> VolumetricOutput:
        """Estimate joints.

        Args:
            images: (B, V, 3, H, W), normalised as the weights expect; any number of views.
            projections: (B, V, 3, 4) from the world to pixels of these images, free of distortion.
            centers: (B, 3) of the cuboids: about the pelvis.
            turns: (B,) angles of the cuboids about the vertical, radians; None: in training drawn from the default
                generator, else 0.

        Raises:
            ShapeError: the shapes do not fit together.
        """
        check_views(images, projections, least_views=1, method="volumetric")
        config, views = self.config, images.shape[:2]
        if centers.shape != (views[0], 3):
            raise ShapeError(f"centers: expected {(views[0], 3)}, got {tuple(centers.shape)}")
        with full_precision(centers):
            grid = self._grid(centers.to(images.dtype), turns)
        maps = _looked_at(self.backbone, images)
        features = _by_view(self.process_features(maps.features), views)
        confidences = None if maps.channel_confidence is None else maps.channel_confidence.view(*views, -1)
        if confidences is not None and config.aggregation == "conf_norm":
            confidences = confidences / confidences.sum(1, keepdim=True)
        size = (features.shape[-2], features.shape[-1])
        with full_precision(grid):
            volumes = unproject(
                features.to(grid.dtype),
                map_projections(projections, config.quirks),
                grid,
                aggregation=_AGGREGATIONS[config.aggregation],
                confidences=None if confidences is None else confidences.to(grid.dtype),
                map_scale=_stretch(size, grid) if config.quirks.stretched_sampling else None,
                skip_unseen=not config.quirks.unseen_views_vote,
            )
        logits = self.volume_net(volumes).to(grid.dtype) * config.volume_multiplier
        with full_precision(grid):
            found = soft_argmax_3d(
                logits, coordinates=grid, normalisation=config.volume_normalisation, renormalise=False
            )
            covariance = covariance_3d(found, grid)
        return VolumetricOutput(
            joints=found.positions,
            covariance=covariance * config.covariance_scale,
            features=features,
            volumes=found.distribution,
            confidences=confidences,
            grid=grid,
        )

    def _grid(self, centers: Tensor, turns: Tensor | None) -> Tensor:
        grid = cuboid_grid(centers, side=self.config.cuboid_side, size=self.config.volume_size)
        if turns is None and self.training:
            turns = torch.rand(len(centers), device=centers.device) * (2 * torch.pi)
        if turns is not None:
            grid = rotate_grid(grid, about_axis(turns.to(grid.dtype), self.config.vertical), centers)
        if self.config.cmu_axes:
            grid = grid.transpose(2, 3).flip(2)
        return grid


def about_axis(angles: Tensor, axis: Literal["y", "z"]) -> Tensor:
    """Rotations (..., 3, 3) by angles (...) about y or z, counter-clockwise seen from the axis' tip."""
    cosine, sine = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    rows = {
        "z": (cosine, -sine, zero, sine, cosine, zero, zero, zero, one),
        "y": (cosine, zero, sine, zero, one, zero, -sine, zero, cosine),
    }[axis]
    return torch.stack(rows, dim=-1).reshape(*angles.shape, 3, 3)


_AGGREGATIONS: dict[str, Aggregation] = {
    "sum": "sum",
    "mean": "mean",
    "max": "max",
    "softmax": "softmax",
    "conf": "confidence",
    "conf_norm": "confidence",
}


def _backbone(config: BackboneConfig, *, joint_confidences: bool = False, channel_confidences: int = 0) -> PoseResNet:
    return PoseResNet(
        config.depth,
        config.joints,
        style=config.style,
        joint_confidences=joint_confidences,
        channel_confidences=channel_confidences,
    )


def check_views(images: Tensor, projections: Tensor, *, least_views: int, method: str) -> None:
    """Raise what `forward` of the networks raises for images and projections that do not fit."""
    if images.ndim != 5 or images.shape[2] != 3:
        raise ShapeError(f"images: expected (B, V, 3, H, W), got {tuple(images.shape)}")
    if projections.shape != (*images.shape[:2], 3, 4):
        raise ShapeError(f"projections: expected {(*images.shape[:2], 3, 4)}, got {tuple(projections.shape)}")
    if images.shape[1] < least_views:
        raise InputError(
            f"the method {method} needs {least_views} or more calibrated views and got {images.shape[1]}; for one "
            "view use volumetric or monocular"
        )


def _by_view(maps: Tensor, views: torch.Size) -> Tensor:
    """(B V, ...) as (B, V, ...)."""
    return maps.reshape(*views, *maps.shape[1:])


def _looked_at(backbone: PoseResNet, images: Tensor) -> PoseMaps:
    maps: PoseMaps = backbone(images.flatten(0, 1))
    return maps


def _image_pixels(positions: Tensor, quirks: Quirks) -> Tensor:
    """Pixels of maps as pixels of images."""
    return (positions + 0.5) * STRIDE - 0.5 if quirks.half_pixels else positions * STRIDE


def map_projections(projections: Tensor, quirks: Quirks) -> Tensor:
    """Projections (..., 3, 4) to pixels of images as projections to pixels of maps at a quarter of their size."""
    shift = (1 - STRIDE) / (2 * STRIDE) if quirks.half_pixels else 0.0
    scaled = projections[..., :2, :] / STRIDE + shift * projections[..., 2:, :]
    return torch.cat((scaled, projections[..., 2:, :]), dim=-2)


def _stretch(size: tuple[int, int], like: Tensor) -> Tensor:
    height, width = size
    return torch.tensor([(width - 1) / height, (height - 1) / width], dtype=like.dtype, device=like.device)


def _keypoint_covariance(found: Expectation, scale: float) -> Tensor:
    """In square pixels of the image; at least that of a pixel of the map."""
    least = torch.eye(2, dtype=found.positions.dtype, device=found.positions.device) / 12
    return (covariance_2d(found) + least) * (STRIDE * STRIDE * scale)


def _maxima(heatmaps: Tensor) -> Tensor:
    """Column and row (..., 2) of the largest value of maps (..., h, w)."""
    index = heatmaps.flatten(-2).argmax(-1)
    width = heatmaps.shape[-1]
    return torch.stack((index % width, index // width), dim=-1).to(heatmaps.dtype)


def _random_pairs(views: int, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Sorted pairs of different views (*shape, 2)."""
    return torch.rand(*shape, views, device=device).topk(2, dim=-1).indices.sort(dim=-1).values

"""Learnable triangulation on the shared trunk: small heads on what one frozen network says of each view.

Stage one, images to keypoints and parts, is the trunk (`marey.nn.trunk`). Stage two is here: weights of views and
corrections of keypoints for the linear triangulation, and 3D convolutions on a volume that holds the product of the
views' heatmaps. Both learn in minutes on a processor, since the picture is not learned again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from marey.core.errors import ShapeError
from marey.geometry.small import determinant_3x3, inverse_3x3_symmetric
from marey.geometry.triangulation import Triangulation, triangulate_projections
from marey.methods.triangulation.model import (
    AlgebraicOutput,
    VolumetricOutput,
    about_axis,
    agreed_points,
    check_views,
    map_projections,
)
from marey.methods.triangulation.quirks import Quirks
from marey.nn.image_lifter import ImageJoints, ImageLifter
from marey.nn.normal_density import squared_distances
from marey.nn.precision import full_precision
from marey.nn.soft_argmax import covariance_3d, soft_argmax_3d
from marey.nn.trunk import STRIDE, Trunk, TrunkKeypoints, TrunkMaps, read_keypoints
from marey.nn.v2v import V2V
from marey.nn.volumes import cuboid_grid, rotate_grid, unproject

_REACH = 2.0
"""Deviations by which a keypoint may be moved."""
_LEAST_DEPTH = 0.05
"""Metres in front of a camera."""
_LEAST_SHARE = 1e-3
"""Weight of a view over that of the view that counts most."""
_FAR_OFF = 1e6
"""The largest squared Mahalanobis distance that is told."""
_NOWHERE = 0.05
"""Added to a density over that of an even one: the logarithm of what is impossible is then -3."""


@dataclass(frozen=True, kw_only=True)
class AlgebraicHeadConfig:
    """How views are weighted."""

    keypoints: int = 26
    features: int = 64
    """Channels of the trunk's."""
    width: int = 256
    """Of the layers that see all keypoints of a view."""
    context: int = 16
    """What each keypoint is told of the others."""
    rounds: int = 2
    """Solutions after the first, each with weights that know how far the views were off."""


@dataclass(frozen=True, kw_only=True)
class VolumetricHeadConfig:
    """The volume and its network."""

    keypoints: int = 26
    parts: int = 24
    volume_size: int = 32
    cuboid_side: float = 2.5
    """Metres."""
    width: int = 16
    """Of the V2V network: half of the published one."""
    stem: int = 32
    """Channels after its first convolution, of one voxel."""
    levels: int = 3
    """Halvings of the volume: the published five would leave one voxel."""
    trust: float = 0.5
    """First exponent of the product of heatmaps; below 1, as errors of the views are not independent."""
    center_deviation: float = 0.1
    """Metres along each axis by which the middle of the volume is first taken to lie beside the hips."""


class _Seen(NamedTuple):
    """Keypoints of B items from V views, with what the head makes of them."""

    points: Tensor
    """(B, V, K, 2) pixels."""
    factor: Tensor
    """(B, V, K, 2, 2) lower triangular."""
    trust: Tensor
    """(B, V, K) logarithm of the weight beyond that of the covariance."""
    notes: Tensor
    """(B, V, K, context)."""


class Spread(nn.Module):
    """How much wider than a network's own covariances the joints' ellipsoids are: by joint and by number of views.

    Errors of the views are not independent, so a factor that suits two of them is too small for eight.
    """

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.joints = nn.Parameter(torch.zeros(keypoints))
        self.views = nn.Parameter(torch.zeros(2))
        """With twice as many views, and with one alone."""

    def forward(self, projections: Tensor) -> Tensor:
        """Logarithms (K,) of the factors on deviations, for the number of views of projections (B, V, 3, 4)."""
        views = view_count(projections)
        return self.joints + self.views[0] * views.log2() + self.views[1] * (views == 1).to(views)


class AlgebraicHead(nn.Module):
    """Moves and weighs keypoints of the views, so that linear triangulation of them is good.

    Weights of the equations are `e^trust / (deviation depth)`: with equal trust, the solution of least reprojection
    error (Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 12.2), as the equations are in units of depth
    times pixels. After each solution the trust of a view may change by how far off it and the others were.
    """

    def __init__(self, config: AlgebraicHeadConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AlgebraicHeadConfig()
        own, hidden = 6, config.context
        self.person = nn.Sequential(
            nn.Linear(own * config.keypoints + config.features, config.width),
            nn.ReLU(),
            nn.Linear(config.width, config.width),
            nn.ReLU(),
            nn.Linear(config.width, hidden * config.keypoints),
        )
        self.joint = nn.Embedding(config.keypoints, config.features)
        self.keypoint = nn.Sequential(
            nn.Linear(config.features + own + hidden, config.features),
            nn.ReLU(),
            nn.Linear(config.features, config.features),
            nn.ReLU(),
        )
        self.said = nn.Linear(config.features, 4 + hidden)
        self.consensus = nn.Sequential(nn.Linear(hidden + 4, 32), nn.ReLU(), nn.Linear(32, 1))
        self.spread = Spread(config.keypoints)
        """Over the deviations that the keypoints' covariances give; learned from coverage alone."""
        for last in (self.said, self.consensus[-1]):  # begins as plain weighted triangulation
            assert isinstance(last, nn.Linear)
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)

    def forward(self, maps: TrunkMaps, projections: Tensor) -> AlgebraicOutput:
        """Triangulate.

        Args:
            maps: Of B V images, all views of an item after another.
            projections: (B, V, 3, 4) from the world to pixels of the images, free of distortion; metres.
        """
        with full_precision(projections):
            return self._solved(maps, projections)

    def _solved(self, maps: TrunkMaps, projections: Tensor) -> AlgebraicOutput:
        found = read_keypoints(maps)
        seen = self._seen(found, maps.features, projections.shape[:2])
        covariance = seen.factor @ seen.factor.mT
        deviation = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
        weights = seen.trust.exp() / deviation
        solved, weights = _solve(seen.points, covariance, weights, projections)
        for _ in range(self.config.rounds):
            off, depth = _off(seen, solved.positions.detach(), projections)
            agreed = torch.cat((seen.notes, _compared(off), seen.trust[..., None]), dim=-1)
            trust = seen.trust + self.consensus(agreed)[..., 0]
            solved, weights = _solve(seen.points, covariance, _bounded(trust).exp() / (deviation * depth), projections)
        return AlgebraicOutput(
            joints=solved.positions,
            covariance=_widened(solved.covariance, self.spread(projections)),
            keypoints=seen.points,
            keypoint_covariance=covariance,
            heatmaps=found.distribution.unflatten(0, projections.shape[:2]),  # type: ignore[no-untyped-call]
            confidences=weights,
        )

    def _seen(self, found: TrunkKeypoints, features: Tensor, views: torch.Size) -> _Seen:
        positions, factor = found.positions.float(), found.factor.float()
        own = _own(found, (features.shape[-2], features.shape[-1]))
        under = torch.einsum("nkhw,nchw->nkc", found.distribution.float(), features.float())
        person = self.person(torch.cat((own.flatten(1), features.float().mean((-2, -1))), dim=1))
        told = torch.cat((under, own, person.view(*own.shape[:2], -1)), dim=-1)
        numbers = torch.arange(own.shape[1], device=own.device)
        said = self.said(self.keypoint(told) + self.joint(numbers))
        moved = factor @ (_REACH * said[..., :2, None].tanh())
        wider = factor * _bounded(said[..., 2]).exp()[..., None, None]
        parts = (positions + moved[..., 0], wider, _bounded(said[..., 3]), said[..., 4:])
        return _Seen(*(part.reshape(*views, *part.shape[1:]) for part in parts))


class LiftedViews(NamedTuple):
    """What the lifter takes the joints of B people to be in each of V views, from midway between the hips."""

    joints: Tensor
    """(B, V, K, 3) metres, axes of the world."""
    covariance: Tensor
    """(B, V, K, 3, 3)."""


class VolumetricHead(nn.Module):
    """A network of 3D convolutions on the views' heatmaps, their parts and what each view is lifted to.

    It begins as a product of experts: the heatmaps, and the lifter's normal distributions about the middle of the
    volume. The network corrects that.
    """

    def __init__(self, config: VolumetricHeadConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VolumetricHeadConfig()
        channels = 3 * config.keypoints + config.parts
        self.volume_net = V2V(
            channels, config.keypoints, width=config.width, stem=config.stem, stem_kernel=1, levels=config.levels
        )
        nn.init.zeros_(self.volume_net.output_layer.weight)  # begins as the product itself
        self.trust = nn.Parameter(torch.full((config.keypoints,), config.trust))
        self.guess = LiftedDensity(config)
        self.spread = Spread(config.keypoints)
        """Over the deviations of the volumes; learned from coverage alone."""

    def forward(self, maps: TrunkMaps, lifted: LiftedViews, projections: Tensor, grid: Tensor) -> VolumetricOutput:
        """Find the joints.

        Args:
            maps: Of B V images, all views of an item after another.
            lifted: What the lifter makes of them.
            projections: (B, V, 3, 4) from the world to pixels of the images, free of distortion.
            grid: (B, S, S, S, 3) places of the voxels.
        """
        views = projections.shape[:2]
        evidence, parts = (part.reshape(*views, *part.shape[1:]) for part in _evidence(maps))
        with full_precision(grid):
            to_maps = map_projections(projections, Quirks())
            product = unproject(evidence, to_maps, grid, aggregation="sum")
            most = unproject(torch.cat((evidence, parts), dim=2), to_maps, grid, aggregation="softmax")
            guess = self.guess(lifted, grid)
        learned = self.volume_net(torch.cat((product / view_count(projections), most, guess), dim=1)).float()
        with full_precision(grid):
            known = product * self.trust[:, None, None, None] + guess
            found = soft_argmax_3d(learned + known, coordinates=grid)
            covariance = covariance_3d(found, grid)
        side = self.config.cuboid_side / (self.config.volume_size - 1)
        least = torch.eye(3, dtype=grid.dtype, device=grid.device) * (side * side / 12)
        return VolumetricOutput(
            joints=found.positions,
            covariance=_widened(covariance + least, self.spread(projections)),
            features=evidence,
            volumes=found.distribution,
            confidences=None,
            grid=grid,
        )


class LiftedDensity(nn.Module):
    """Where joints are by what the views are lifted to, as logarithms of densities at the voxels."""

    def __init__(self, config: VolumetricHeadConfig) -> None:
        super().__init__()
        self.volume = config.cuboid_side**3
        self.center = nn.Parameter(torch.tensor(config.center_deviation).log())
        """Logarithm of the deviation of the hips from the middle of the volume, metres."""
        self.dependence = nn.Parameter(torch.full((), 0.5))
        """How little more views say: what they say together is divided by this power of their number."""

    def forward(self, lifted: LiftedViews, grid: Tensor) -> Tensor:
        """(B, K, S, S, S) at voxels (B, S, S, S, 3), over the density of an even distribution; nowhere less than -3."""
        each = inverse_3x3_symmetric(lifted.covariance)
        together = each.sum(1)
        mean = torch.einsum(
            "bkij,bvkj->bki", inverse_3x3_symmetric(together), (each @ lifted.joints[..., None])[..., 0]
        )
        spread = inverse_3x3_symmetric(together) * view_count(lifted.joints) ** self.dependence
        identity = torch.eye(3, dtype=spread.dtype, device=spread.device)
        spread = spread + (2 * self.center).exp() * identity
        places = grid.flatten(1, 3) - (grid[:, :1, 0, 0] + grid[:, -1:, -1, -1]) / 2
        squared = squared_distances(places, inverse_3x3_symmetric(spread), mean)
        most = self.volume * (determinant_3x3(spread) * (2 * torch.pi) ** 3).rsqrt()
        density = most[..., None] * (-squared / 2).exp()
        return (density + _NOWHERE).log().reshape(*density.shape[:2], *grid.shape[1:4])


class TrunkAlgebraic(nn.Module):
    """Images to joints `halpe_26`: the trunk and the algebraic head."""

    def __init__(self, trunk: Trunk, head: AlgebraicHead) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, images: Tensor, projections: Tensor) -> AlgebraicOutput:
        """Estimate joints of images (B, V, 3, H, W), red green blue in 0..1, otherwise as `AlgebraicNet`."""
        check_views(images, projections, least_views=2, method="algebraic")
        output: AlgebraicOutput = self.head(looked_at(self.trunk, images), projections)
        return output


class TrunkRansac(nn.Module):
    """Images to joints `halpe_26`: the trunk, and sample consensus of its keypoints."""

    def __init__(self, trunk: Trunk, *, direct_optimization: bool = True) -> None:
        super().__init__()
        self.trunk, self.direct_optimization = trunk, direct_optimization

    def forward(self, images: Tensor, projections: Tensor) -> AlgebraicOutput:
        """Estimate joints of images (B, V, 3, H, W), red green blue in 0..1, otherwise as `RansacNet`."""
        check_views(images, projections, least_views=2, method="ransac")
        views = projections.shape[:2]
        found = read_keypoints(looked_at(self.trunk, images))
        keypoints, covariance, heatmaps = (
            part.reshape(*views, *part.shape[1:]) for part in (found.positions, found.covariance, found.distribution)
        )
        with full_precision(projections):
            return agreed_points(keypoints, covariance, projections, heatmaps, refine=self.direct_optimization)


class TrunkVolumetric(nn.Module):
    """Images to joints `halpe_26`: trunk, lifter and volumetric head. The world's vertical axis is z."""

    def __init__(self, trunk: Trunk, lifter: ImageLifter, head: VolumetricHead) -> None:
        super().__init__()
        self.trunk, self.lifter, self.head = trunk, lifter, head

    def forward(
        self, images: Tensor, projections: Tensor, centers: Tensor, turns: Tensor | None = None
    ) -> VolumetricOutput:
        """Estimate joints of images (B, V, 3, H, W), red green blue in 0..1, otherwise as `VolumetricNet`."""
        check_views(images, projections, least_views=1, method="volumetric")
        if centers.shape != (images.shape[0], 3):
            raise ShapeError(f"centers: expected {(images.shape[0], 3)}, got {tuple(centers.shape)}")
        grid = volume_grid(self.head.config, centers.to(images.dtype), turns)
        maps = looked_at(self.trunk, images)
        output: VolumetricOutput = self.head(maps, lifted(self.lifter, maps, projections), projections, grid)
        return output


def view_count(values: Tensor) -> Tensor:
    """The number of views V of values (B, V, ...), as a tensor: an exported network leaves it open."""
    return values.new_ones(values.shape[1]).sum()


def looked_at(trunk: Trunk, images: Tensor) -> TrunkMaps:
    """What the trunk says of images (B, V, 3, H, W), as those of B V images."""
    maps: TrunkMaps = trunk(images.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    return maps


def lifted(lifter: ImageLifter, maps: TrunkMaps, projections: Tensor) -> LiftedViews:
    """What a lifter makes of maps of B V images and their projections (B, V, 3, 4)."""
    found: ImageJoints = lifter(maps, projections.flatten(0, 1))
    joints, covariance = (
        part.reshape(*projections.shape[:2], *part.shape[1:]) for part in (found.positions, found.covariance)
    )
    return LiftedViews(joints, covariance)


def volume_grid(config: VolumetricHeadConfig, centers: Tensor, turns: Tensor | None) -> Tensor:
    """Places of the voxels (B, S, S, S, 3) about centres (B, 3), turned by angles (B,) about the vertical z."""
    with full_precision(centers):
        grid = cuboid_grid(centers, side=config.cuboid_side, size=config.volume_size)
        return grid if turns is None else rotate_grid(grid, about_axis(turns.to(grid.dtype), "z"), centers)


def _own(found: TrunkKeypoints, size: tuple[int, int]) -> Tensor:
    """(N, K, 6): place in the image (h, w of its maps) in -1..1, logarithms of deviations, their skew, visibility."""
    factor = found.factor.float()
    a, b, c = factor[..., 0, 0], factor[..., 1, 0], factor[..., 1, 1]
    middle = torch.tensor((size[1], size[0]), dtype=factor.dtype, device=factor.device) * (STRIDE / 2)
    place = found.positions.float() / middle - 1
    return torch.cat((place, torch.stack((a.log(), c.log(), b / c, found.seen.float().clamp(-8, 8) / 4), -1)), dim=-1)


def _evidence(maps: TrunkMaps) -> tuple[Tensor, Tensor]:
    """Logarithms (N, K, h, w) of the heatmaps' densities over an even one, and shares of the parts (N, parts, h, w).

    Zero, what a place outside of the image has, says nothing.
    """
    logits = maps.heatmaps.float()
    density = logits.flatten(2).softmax(-1).reshape(logits.shape) * logits[0, 0].numel()
    return (density + _NOWHERE).log(), maps.parts.float().softmax(1)[:, :-1]


def _solve(points: Tensor, covariance: Tensor, weights: Tensor, projections: Tensor) -> tuple[Triangulation, Tensor]:
    """The linear solution, and the weights (B, V, K) relative to the largest."""
    share = weights / weights.amax(1, keepdim=True).clamp_min(1e-9) + _LEAST_SHARE
    solved = triangulate_projections(
        points.transpose(0, 1),
        projections.transpose(0, 1),
        weights=share.transpose(0, 1),
        covariance=covariance.transpose(0, 1),
    )
    return solved, share


def _widened(covariance: Tensor, spread: Tensor) -> Tensor:
    """Covariances (B, K, 3, 3), wider by a `Spread`, which does not learn from what they are used for."""
    return covariance * (2 * spread.detach()).exp()[:, None, None]


def _off(seen: _Seen, joints: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis distances (B, V, K) of the keypoints from joints (B, K, 3), and the joints' depths.

    Of joints that are open, NaN: far off, and finite, as are their derivatives.
    """
    known = joints.isfinite().all(-1)
    joints = torch.where(known[..., None], joints, 0.0)
    moved = torch.einsum("bvij,bkj->bvki", projections[..., :3], joints) + projections[..., None, :, 3]
    depth = moved[..., 2].clamp_min(_LEAST_DEPTH)
    apart = moved[..., :2] / depth[..., None] - seen.points
    a, _, b, c = seen.factor.flatten(-2).unbind(-1)
    first = apart[..., 0] / a
    squared = first.square() + ((apart[..., 1] - b * first) / c).square()
    return torch.where(known[:, None], squared, _FAR_OFF), depth


def _compared(off: Tensor) -> Tensor:
    """(B, V, K, 3): how far a keypoint is off, all views' mean, and the mean of the view's own keypoints."""
    log = off.clamp_max(_FAR_OFF).log1p()
    return torch.stack((log, log.mean(1, keepdim=True).expand_as(log), log.mean(2, keepdim=True).expand_as(log)), -1)


def _bounded(logarithm: Tensor) -> Tensor:
    """Smoothly within -6 and 6."""
    return 6 * (logarithm / 6).tanh()

"""From one image of a person to its joints in 3D with covariance: the lifter, told what the trunk sees at the joints.

Keypoints alone leave open whether a limb points towards the camera or away from it. What the trunk sees at the place of
each keypoint, its features and which part of the body is in front there, says more: it enters the lifter
(`marey.nn.lifter`) beside the keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from marey.core import skeleton
from marey.geometry.projection_matrices import pinhole_parts
from marey.nn.lifter import JOINTS, LiftedJoints, Lifter, LifterConfig, slots_of
from marey.nn.person_view import person_view
from marey.nn.precision import full_precision
from marey.nn.trunk import KEYPOINTS, TrunkKeypoints, TrunkMaps, read_keypoints

_UNKNOWN = 1.0
"""Metres: deviation of joints of whom too little is seen."""


@dataclass(frozen=True, kw_only=True)
class ImageLifterConfig:
    """How large the network is."""

    lifter: LifterConfig = field(default_factory=LifterConfig)
    keypoints: int = 26
    features: int = 64
    """Channels of the trunk's."""
    parts: int = 24
    """Of the body, that the trunk knows."""
    width: int = 384
    """Of the layer that takes in what is seen at all keypoints."""


class ImageJoints(NamedTuple):
    """Keypoints of N images in 3D, from midway between the hips."""

    lifted: LiftedJoints
    """(N, K): in the frame of a virtual camera that looks at the person."""
    rotation: Tensor
    """(N, 3, 3) from the world to the virtual camera."""
    known: Tensor
    """(N,) boolean: enough is seen. Otherwise all joints are at the origin, a metre uncertain."""

    @property
    def positions(self) -> Tensor:
        """(N, K, 3) metres, in the axes of the world."""
        with full_precision(self.rotation):
            return self.lifted.positions @ self.rotation

    @property
    def covariance(self) -> Tensor:
        """(N, K, 3, 3) square metres, in the axes of the world."""
        with full_precision(self.rotation):
            turned = self.rotation.mT[:, None] @ self.lifted.factor
            return turned @ turned.mT


class ImageLifter(nn.Module):
    """What the trunk says of images to `ImageJoints`.

    The keypoints are the trunk's, and do not learn from what is lifted: features and parts do.
    """

    def __init__(self, config: ImageLifterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ImageLifterConfig()
        self.lifter = Lifter(config.lifter)
        seen = config.keypoints * (config.features + config.parts + 1)
        self.seen = nn.Sequential(
            nn.Linear(seen, config.width), nn.LayerNorm(config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        self.to_lifter = nn.Linear(config.width, config.lifter.width)
        nn.init.zeros_(self.to_lifter.weight)  # begins as the lifter, to which pictures are unknown
        nn.init.zeros_(self.to_lifter.bias)
        slots = slots_of(skeleton(KEYPOINTS))
        self._slots = [slot for slot in slots if slot is not None]
        assert len(self._slots) == len(slots), "the lifter knows all keypoints of the trunk"

    def forward(self, maps: TrunkMaps, projections: Tensor) -> ImageJoints:
        """Lift.

        Args:
            maps: Of N images.
            projections: (N, 3, 4) from the world to pixels of the images, free of distortion.
        """
        with full_precision(projections):
            return self._lifted(read_keypoints(maps), maps, projections.float())

    def _lifted(self, found: TrunkKeypoints, maps: TrunkMaps, projections: Tensor) -> ImageJoints:
        inverse, to_camera = pinhole_parts(projections)
        positions, factor, seen = (part.detach() for part in (found.positions, found.factor, found.seen))
        points = positions @ inverse[:, :2, :2].mT + inverse[:, None, :2, 2]
        spread = inverse[:, None, :2, :2] @ factor
        view = person_view(*(self._in_slots(part) for part in (points, spread @ spread.mT, seen.sigmoid())))
        told = self.to_lifter(self.seen(_at_keypoints(found.distribution, maps)))
        positions, factor = self.lifter(view.points, view.deviation, view.score, view.size, told=told)
        known = view.known[:, None, None]
        blind = _UNKNOWN * torch.eye(3, dtype=factor.dtype, device=factor.device)
        return ImageJoints(
            lifted=LiftedJoints(
                torch.where(known, positions[:, self._slots], 0.0),
                torch.where(known[..., None], factor[:, self._slots], blind),
            ),
            rotation=view.rotation @ to_camera,
            known=view.known,
        )

    def _in_slots(self, values: Tensor) -> Tensor:
        """Values (N, K, ...) of the keypoints as those of the lifter's joints; 0 for one that is none of them."""
        order = {slot: place for place, slot in enumerate(self._slots)}
        padded = torch.cat((values, torch.zeros_like(values[:, :1])), dim=1)
        return padded[:, [order.get(slot, len(self._slots)) for slot in range(len(JOINTS))]]


def _at_keypoints(distribution: Tensor, maps: TrunkMaps) -> Tensor:
    """(N, K (C + parts + 1)): features and shares of the parts, where the heatmaps (N, K, h, w) are."""
    seen = torch.cat((maps.features.float(), functional.softmax(maps.parts.float(), dim=1)), dim=1)
    return torch.einsum("nkhw,nchw->nkc", distribution, seen).flatten(1)

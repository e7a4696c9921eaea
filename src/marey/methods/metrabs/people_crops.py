"""What a network says of the people of many pictures: crops are made picture by picture, and looked at in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import ShapeError, Skeleton
from marey.methods.metrabs.augmented import Augmentations, SeenPoses
from marey.methods.metrabs.looks import seen_poses
from marey.methods.metrabs.model import CropNetwork, CropPoses
from marey.methods.metrabs.people_aims import Aims
from marey.methods.metrabs.virtual_cameras import CropRule, VirtualCameras
from marey.methods.metrabs.virtual_crops import draw_sheet, render_views


@dataclass(frozen=True, kw_only=True)
class CropLooks:
    """A network at work on crops."""

    network: CropNetwork
    joints: Skeleton
    """What it says."""
    mirror: Tensor
    """(J,) of each joint its counterpart on the other side."""
    device: torch.device
    """Where crops are made."""

    def poses(
        self,
        pictures: Sequence[Tensor],
        aims: Sequence[Aims],
        *,
        augmentations: Augmentations,
        rule: CropRule,
        at_once: int,
    ) -> list[SeenPoses]:
        """Poses (n, A) of the people of each picture, in double precision on the CPU.

        Memory: one picture in linear light at a time, and `at_once` crops.

        Args:
            pictures: I of `as_picture`.
            aims: At the people of each, A views.
            augmentations: The views.
            rule: Of the crops.
            at_once: Crops in one call of the network; 0: all of them.

        Raises:
            ShapeError: the network says other joints.
        """
        counts = [aim.crops for aim in aims]
        size = at_once or max(1, sum(counts))
        crops = (
            crop for picture, aim in zip(pictures, aims, strict=True) for crop in self._crops(picture, aim, rule, size)
        )
        with torch.inference_mode():
            found = [self._said(*batch) for batch in in_batches(crops, size)]
        joints, covariance = (torch.cat(parts) for parts in zip(*found, strict=True)) if found else self._nobody()
        said = zip(aims, torch.split(joints, counts), torch.split(covariance, counts), strict=True)
        return [
            seen_poses(
                CropPoses(positions, spread, None, positions),
                aim.seen.rotation,
                aim.cameras,
                mirror=self.mirror,
                augmentations=augmentations,
            )
            for aim, positions, spread in said
        ]

    def _crops(self, picture: Tensor, aims: Aims, rule: CropRule, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Crops and their intrinsic matrices, at most `size` at a time."""
        if aims.crops == 0:
            return
        sheet = draw_sheet(picture[None].to(self.device), rule)
        views = aims.crops // len(aims.boxes)
        for rows in torch.split(torch.arange(aims.crops), size):
            seen = VirtualCameras(*(part[rows].to(self.device) for part in aims.seen))
            images = render_views(sheet, seen, aims.cameras[rows // views].to(self.device), rule=rule)
            yield images, seen.intrinsics.to(torch.float32)

    def _said(self, images: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        """Joints, and covariance that is NaN where the network states none."""
        said: CropPoses = self.network(images, intrinsics)
        joints = said.joints.double().cpu()
        if joints.shape != (images.shape[0], len(self.joints), 3):
            raise ShapeError(
                f"network: expected joints {(images.shape[0], len(self.joints), 3)} of skeleton {self.joints.name}, "
                f"got {tuple(joints.shape)}"
            )
        unknown = torch.full((*joints.shape, 3), torch.nan, dtype=joints.dtype)
        return joints, unknown if said.covariance is None else said.covariance.double().cpu()

    def _nobody(self) -> tuple[Tensor, Tensor]:
        joints = torch.zeros(0, len(self.joints), 3, dtype=torch.float64)
        return joints, joints[..., None].expand(-1, -1, -1, 3)


def in_batches(pieces: Iterable[tuple[Tensor, ...]], size: int) -> Iterator[tuple[Tensor, ...]]:
    """Join tensors of equally many rows, piece by piece, to batches of `size` rows; the last one may have fewer."""
    waiting: list[tuple[Tensor, ...]] = []
    count = 0
    for piece in pieces:
        while count + piece[0].shape[0] >= size:
            first = size - count
            yield _joined([*waiting, tuple(part[:first] for part in piece)])
            waiting, count, piece = [], 0, tuple(part[first:] for part in piece)
        if piece[0].shape[0]:
            waiting.append(piece)
            count += piece[0].shape[0]
    if waiting:
        yield _joined(waiting)


def _joined(pieces: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return pieces[0] if len(pieces) == 1 else tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

"""A close look at people: what the trunk says of crops, in the pixels of the images that the crops were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import skeleton
from marey.detect.trunk_crops import to_crop, to_image
from marey.detect.trunk_search import Candidates, boxes_at, joined, nobody
from marey.nn.trunk import KEYPOINTS, STRIDE, TrunkMaps, read_keypoints

_REACH = 0.2
"""Shares of a box's sides by which its middle may be off, in the whole image against the crop."""


class Look(NamedTuple):
    """What crops of M candidates show, on the CPU."""

    candidates: Candidates
    """With the boxes and scores that the crops say."""
    positions: Tensor
    """(M, K, 2) pixels of the image."""
    covariance: Tensor
    """(M, K, 2, 2) square pixels."""
    score: Tensor
    """(M, K) probabilities of being visible."""

    def pick(self, chosen: Tensor) -> Look:
        """Some of them."""
        return Look(self.candidates.pick(chosen), self.positions[chosen], self.covariance[chosen], self.score[chosen])


def read_look(maps: TrunkMaps, candidates: Candidates, squares: Tensor) -> Look:
    """Read keypoints, and boxes and scores of people, off maps.

    Args:
        maps: of a square crop of each candidate.
        candidates: M, in pixels of the images.
        squares: (M, 4) that the crops show, see `trunk_crops`.
    """
    side = maps.centers.shape[-1] * STRIDE
    found = read_keypoints(maps)
    scale = ((squares[:, 2:] - squares[:, :2]) / side).float()
    place, score = _own_center(maps.centers, candidates.boxes, squares)
    boxes = boxes_at(maps, torch.arange(len(place), device=place.device), place).cpu()
    return Look(
        Candidates(candidates.frame, to_image(boxes.view(-1, 2, 2), squares, side).flatten(1), score.cpu()),
        to_image(found.positions.cpu(), squares, side),
        found.covariance.cpu() * (scale[:, :, None] * scale[:, None, :])[:, None],
        found.seen.sigmoid().cpu(),
    )


def joined_looks(parts: Sequence[Look]) -> Look:
    """All in a row; of none, nobody."""
    count = len(skeleton(KEYPOINTS))
    parts = [Look(nobody(), torch.zeros(0, count, 2), torch.zeros(0, count, 2, 2), torch.zeros(0, count)), *parts]
    candidates, positions, covariance, score = zip(*parts, strict=True)
    return Look(joined(candidates), torch.cat(positions), torch.cat(covariance), torch.cat(score))


def _own_center(centers: Tensor, boxes: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Place in the flattened map and score of the centre that belongs to the box that each crop was made for.

    The highest within `_REACH` of the box's sides from the middle of the box.

    Args:
        centers: (M, h, w) logits.
        boxes: (M, 4) in the image.
        squares: (M, 4).
    """
    height, width = centers.shape[-2:]
    local = (to_crop(boxes.view(-1, 2, 2), squares, width * STRIDE) + 0.5) / STRIDE - 0.5
    local = local.to(centers)
    limit = torch.tensor([width - 1, height - 1], device=centers.device)
    middle = torch.minimum(local.mean(1).clamp_min(0.0), limit)
    reach = ((local[:, 1] - local[:, 0]) * _REACH).clamp_min(1.0)
    across = (torch.arange(width, device=centers.device) - middle[:, :1]).abs() <= reach[:, :1]
    down = (torch.arange(height, device=centers.device) - middle[:, 1:]).abs() <= reach[:, 1:]
    near = torch.where(down[:, :, None] & across[:, None], centers, -torch.inf)
    logit, place = near.flatten(1).max(1)
    return place, logit.sigmoid()

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
_NEAR = 0.1
"""In the longer side of the box: a keypoint that errs by less is right."""


class Look(NamedTuple):
    """What crops of M candidates show, on the CPU."""

    candidates: Candidates
    """With the boxes that the crops say, and a score: see `certainty`."""
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
    side = maps.heatmaps.shape[-1] * STRIDE
    found = read_keypoints(maps)
    scale = ((squares[:, 2:] - squares[:, :2]) / side).float()
    positions, seen = to_image(found.positions.cpu(), squares, side), found.seen.sigmoid().cpu()
    covariance = found.covariance.cpu() * (scale[:, :, None] * scale[:, None, :])[:, None]
    place = _own_center(maps.centers, candidates.boxes, squares)
    local = boxes_at(maps, torch.arange(place.shape[0], device=place.device), place).cpu()
    boxes = to_image(local.view(-1, 2, 2), squares, side).flatten(1)
    score = certainty(positions, covariance, seen, boxes)
    return Look(Candidates(candidates.frame, boxes, score), positions, covariance, seen)


def certainty(positions: Tensor, covariance: Tensor, seen: Tensor, boxes: Tensor) -> Tensor:
    """How sure it is that there is a person (M,): the expected share of keypoints that are visible and right.

    Of the half that are surest, so that people whose legs are hidden are people. What lies outside of the box is
    another's. That says more than the map of centres: where there is nobody, the keypoints are nowhere.

    Args:
        positions: (M, K, 2) pixels.
        covariance: (M, K, 2, 2) square pixels.
        seen: (M, K) probabilities.
        boxes: (M, 4).
    """
    size = (boxes[:, 2:] - boxes[:, :2]).amax(-1)
    near = _NEAR * size[:, None]
    variance = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    right = 1 - (-near.square() / variance).exp()
    beyond = torch.maximum(boxes[:, None, :2] - positions, positions - boxes[:, None, 2:]).amax(-1)
    return (seen * right * (beyond < near)).topk(seen.shape[1] // 2, dim=1).values.mean(1)


def similarity(look: Look) -> Tensor:
    """How much people are the same one (M, M) in 0..1: the mean of Gaussians of the distances of their keypoints."""
    return likeness(look.candidates.boxes, look.positions)


def likeness(boxes: Tensor, positions: Tensor) -> Tensor:
    """See `similarity`, of people with boxes (..., M, 4) and keypoints (..., M, K, 2)."""
    size = (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    width = _NEAR * torch.minimum(size[..., :, None], size[..., None, :])[..., None]
    away = (positions[..., :, None, :, :] - positions[..., None, :, :, :]).square().sum(-1)
    return (-away / (2 * width.square())).exp().mean(-1)


def merged_with_mirrored(maps: TrunkMaps, mirrored: TrunkMaps) -> TrunkMaps:
    """Maps of keypoints, the mean of those of N images and of their mirror images; other maps stay as they are."""
    swapped = list(skeleton(KEYPOINTS).mirror)
    # turned around, a deviation is what it was, and the mixed entry of the factor has the other sign
    sign = maps.factors.new_tensor([1.0, 1.0, -1.0]).repeat(len(swapped))[:, None, None]
    places = [3 * joint + entry for joint in swapped for entry in range(3)]
    return maps._replace(
        heatmaps=(maps.heatmaps + mirrored.heatmaps[:, swapped].flip(-1)) / 2,
        factors=(maps.factors + sign * mirrored.factors[:, places].flip(-1)) / 2,
        seen=(maps.seen + mirrored.seen[:, swapped].flip(-1)) / 2,
    )


def joined_looks(parts: Sequence[Look]) -> Look:
    """All in a row; of none, nobody."""
    count = len(skeleton(KEYPOINTS))
    parts = [Look(nobody(), torch.zeros(0, count, 2), torch.zeros(0, count, 2, 2), torch.zeros(0, count)), *parts]
    candidates, positions, covariance, score = zip(*parts, strict=True)
    return Look(joined(candidates), torch.cat(positions), torch.cat(covariance), torch.cat(score))


def _own_center(centers: Tensor, boxes: Tensor, squares: Tensor) -> Tensor:
    """Place in the flattened map of the centre (M,) that belongs to the box that each crop was made for.

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
    return near.flatten(1).argmax(1)

"""A close look at people: what the trunk says of crops, in the pixels of the images that the crops were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import skeleton
from marey.detect.trunk_crops import to_image
from marey.detect.trunk_search import Candidates, joined, nobody
from marey.nn.trunk import KEYPOINTS, STRIDE, TrunkMaps, read_keypoints

_AROUND = 0.05
"""By how much a body reaches beyond its keypoints on each side, in the longer side of the box around them."""
_LEAST_SEEN = 0.3
"""Probability of being visible from which a keypoint counts for the box."""
_LEAST_KEYPOINTS = 4
_NEAR = 0.1
"""In the longer side of the box: a keypoint that errs by less is right."""


class Look(NamedTuple):
    """What crops of M candidates show, on the CPU."""

    candidates: Candidates
    """With the boxes around the keypoints, and a score: see `certainty`."""
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
    boxes = keypoint_boxes(positions, seen)
    score = certainty(covariance, seen, (boxes[:, 2:] - boxes[:, :2]).amax(-1))
    return Look(Candidates(candidates.frame, boxes, score), positions, covariance, seen)


def keypoint_boxes(positions: Tensor, seen: Tensor) -> Tensor:
    """Boxes (M, 4) of people around their keypoints (M, K, 2) that are seen (M, K); around all where hardly one is."""
    enough = (seen > _LEAST_SEEN).sum(-1, keepdim=True) >= _LEAST_KEYPOINTS
    counted = ((seen > _LEAST_SEEN) | ~enough)[..., None]
    low = torch.where(counted, positions, torch.inf).amin(1)
    high = torch.where(counted, positions, -torch.inf).amax(1)
    beyond = _AROUND * (high - low).amax(-1, keepdim=True)
    return torch.cat((low - beyond, high + beyond), -1)


def certainty(covariance: Tensor, seen: Tensor, size: Tensor) -> Tensor:
    """How sure it is that there is a person (M,): the expected share of keypoints that are visible and right.

    Of the half that are surest, so that people whose legs are hidden are people. That says more than the map of
    centres: where there is nobody, the keypoints are nowhere.

    Args:
        covariance: (M, K, 2, 2) square pixels.
        seen: (M, K) probabilities.
        size: (M,) pixels, longer side of the box.
    """
    variance = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    right = 1 - (-(_NEAR * size[:, None]).square() / variance).exp()
    return (seen * right).topk(seen.shape[1] // 2, dim=1).values.mean(1)


def similarity(look: Look) -> Tensor:
    """How much people are the same one (M, M) in 0..1: the mean of Gaussians of the distances of their keypoints."""
    size = (look.candidates.boxes[:, 2:] - look.candidates.boxes[:, :2]).amax(-1)
    width = _NEAR * torch.minimum(size[:, None], size)[..., None]
    away = (look.positions[:, None] - look.positions).square().sum(-1)
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

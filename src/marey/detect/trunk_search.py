"""Where people are, read off the trunk's maps of centres and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from marey.nn.trunk import STRIDE, TrunkMaps

_NEIGHBOURS = 3
"""Side of the square of the maps in which a centre is the highest one."""
_SAME_PLACE = 0.3
"""Intersection over union from which a person who was elsewhere in time need not be looked for."""


class Candidates(NamedTuple):
    """People that there may be in N images, M in all."""

    frame: Tensor
    """(M,) int64, which image."""
    boxes: Tensor
    """(M, 4) left, top, right, bottom in pixels."""
    score: Tensor
    """(M,) in 0..1."""

    def pick(self, chosen: Tensor) -> Candidates:
        """Some of them."""
        return Candidates(self.frame[chosen], self.boxes[chosen], self.score[chosen])


def nobody() -> Candidates:
    """No candidates."""
    return Candidates(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0))


def joined(parts: Sequence[Candidates]) -> Candidates:
    """All in a row."""
    frame, boxes, score = zip(*parts, strict=True)
    return Candidates(torch.cat(frame), torch.cat(boxes), torch.cat(score))


def read_centers(maps: TrunkMaps, *, least_score: float, most: int) -> Candidates:
    """The centres that are higher than their neighbours, and the boxes around them, in pixels of the network's input.

    Args:
        maps: of N images.
        least_score: of a centre.
        most: in one image, the highest.
    """
    score, place = highest_centers(maps, most)
    frame, rank = torch.nonzero(score > least_score, as_tuple=True)
    return Candidates(frame, boxes_at(maps, frame, place[frame, rank]), score[frame, rank])


def highest_centers(maps: TrunkMaps, most: int) -> tuple[Tensor, Tensor]:
    """Scores (N, most) of the centres that are higher than their neighbours, best first, and their places.

    Places are counted in the flattened maps; score 0 where there are no more centres.
    """
    logits = maps.centers.float()
    height, width = logits.shape[-2:]
    around = functional.max_pool2d(logits[:, None], _NEIGHBOURS, stride=1, padding=_NEIGHBOURS // 2)[:, 0]
    peaks = torch.where(logits == around, logits.sigmoid(), 0.0).flatten(1)
    score, place = peaks.topk(min(most, height * width), dim=1)
    return score, place


def boxes_at(maps: TrunkMaps, frame: Tensor, place: Tensor) -> Tensor:
    """Boxes (..., 4) that images (...) say are around places (...) of the flattened maps."""
    width = maps.centers.shape[-1]
    distance = maps.boxes.float().flatten(2)[frame, :, place]
    row = place // width
    column = place - row * width  # the remainder by an open size is what ONNX cannot hold
    middle = (torch.stack((column, row), -1) + 0.5) * STRIDE - 0.5
    return torch.cat((middle - distance[..., :2], middle + distance[..., 2:]), -1)


def suppress(candidates: Candidates, rivals: Tensor) -> Tensor:
    """Indices of candidates without those that a better one of the same image rivals, best first.

    Greedy, over all images at once.

    Args:
        candidates: M.
        rivals: (M, M) boolean, which of them cannot both be people.
    """
    order = candidates.score.argsort(descending=True, stable=True)
    frame = candidates.frame[order]
    worse = (rivals[order][:, order] & (frame[:, None] == frame)).triu(1)
    kept = torch.ones(len(order), dtype=torch.bool)
    for place in range(len(order)):
        if kept[place]:
            kept &= ~worse[place]
    return order[kept]


def kept_apart(kept: Tensor, rivals: Tensor) -> Tensor:
    """Which of N candidates stay without those that a better one of them rivals; `suppress` without a branch on data.

    Args:
        kept: (..., N) boolean, which are there at all; the best come first.
        rivals: (..., N, N) boolean.
    """
    worse = rivals.triu(1)
    for place in range(kept.shape[-1] - 1):
        kept = kept & ~(worse[..., place, :] & kept[..., place, None])
    return kept


def followed(candidates: Candidates, places: Tensor, frames: int) -> Candidates:
    """Candidates at places (P, 4) in every one of so many images where no candidate is already, with score 0."""
    near = box_overlap(places, candidates.boxes) > _SAME_PLACE
    frame = torch.arange(frames)
    taken = (near[:, None] & (candidates.frame == frame[:, None])).any(-1)
    place, missing = torch.nonzero(~taken, as_tuple=True)
    return Candidates(missing, places[place], torch.zeros(len(place)))


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and (..., M, 4); 0 where both have no area."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    common = (high - low).clamp_min(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1) for boxes in (first, second)]
    return common / (areas[0][..., :, None] + areas[1][..., None, :] - common).clamp_min(1e-9)

"""Losses of the trunk's heads; maps and keypoints as in `marey.nn.trunk`, pixels of the image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from marey.nn.trunk import STRIDE, TrunkKeypoints, TrunkMaps

_SPREAD = 1.5
"""Standard deviation of the target of a heatmap, pixels of the map."""
_CENTER_SPREAD = 0.1
"""Of the target of a centre, as a share of the box's sides."""
_FLOOR = 0.5
"""Least standard deviation of a centre's target, pixels of the map."""


def heatmap_cross_entropy(maps: TrunkMaps, keypoints: Tensor) -> Tensor:
    """Cross-entropy between heatmaps and Gaussians about the keypoints (N, K, 2) that lie in the picture, per sample.

    Nats above the entropy of the target.
    """
    logits = maps.heatmaps.flatten(2).float()
    target, known = _gaussians(keypoints, maps.heatmaps.shape[-2:])
    target = target.flatten(2)
    above = torch.where(target > 0, target * target.clamp_min(1e-12).log(), 0.0).sum(-1)
    each = above - (target * logits.log_softmax(-1)).sum(-1)
    return _per_sample(each, known)


def keypoint_likelihood(found: TrunkKeypoints, keypoints: Tensor) -> Tensor:
    """Negative log-likelihood of the keypoints in the picture, per sample; pixels of the maps, up to a constant."""
    known = _inside(keypoints, found.distribution.shape[-2:])
    residual = torch.where(known[..., None], keypoints - found.positions.float(), 0.0) / STRIDE
    a, _, b, c = (found.factor.float() / STRIDE).flatten(-2).unbind(-1)
    first = residual[..., 0] / a
    second = (residual[..., 1] - b * first) / c
    # beyond five deviations linearly: what a wrong view of the picture gives must not drown the rest
    squared = first.square() + second.square()
    bounded = torch.where(squared > 25, 10 * squared.clamp_min(25).sqrt() - 25, squared)
    return _per_sample(bounded / 2 + a.log() + c.log(), known)


def visibility_entropy(found: TrunkKeypoints, seen: Tensor, keypoints: Tensor) -> Tensor:
    """Binary cross-entropy of visibility (N, K), per sample with a person in the middle."""
    known = keypoints.isfinite().all(-1)
    each = functional.binary_cross_entropy_with_logits(found.seen.float(), seen.float(), reduction="none")
    return _per_sample(each, known)


def part_entropy(maps: TrunkMaps, parts: Tensor) -> Tensor:
    """Cross-entropy of the parts of the pixels (N, h, w), per sample; the background counts as much as the people."""
    classes = maps.parts.shape[1]
    each = functional.cross_entropy(maps.parts.float(), parts, reduction="none")
    people = parts < classes - 1
    shares = [(each * chosen).sum((1, 2)) / chosen.sum((1, 2)).clamp_min(1) for chosen in (people, ~people)]
    return (shares[0] + shares[1]).mean() / 2


def center_focal(maps: TrunkMaps, boxes: Tensor) -> Tensor:
    """Focal loss of the centres (Zhou, Wang, Kraehenbuehl, Objects as Points, 2019, equation 1), per sample."""
    target, _ = center_targets(boxes, maps.centers.shape[-2:])
    logits = maps.centers.float()
    probability = logits.sigmoid()
    peak = target >= 1
    hit = functional.logsigmoid(logits) * (1 - probability).square()
    miss = functional.logsigmoid(-logits) * probability.square() * (1 - target) ** 4
    people = peak.flatten(1).sum(1).clamp_min(1)
    return -(torch.where(peak, hit, miss).flatten(1).sum(1) / people).mean()


def box_error(maps: TrunkMaps, boxes: Tensor) -> Tensor:
    """Mean absolute logarithm of ratios of the sides' distances around the centres, per sample."""
    target, nearest = center_targets(boxes, maps.centers.shape[-2:])
    rows, columns = _grid(maps.centers)
    x, y = columns * STRIDE + (STRIDE - 1) / 2, rows * STRIDE + (STRIDE - 1) / 2
    chosen = boxes.nan_to_num().gather(1, nearest.flatten(1)[..., None].expand(-1, -1, 4)).view(*nearest.shape, 4)
    left, top, right, bottom = chosen.unbind(-1)
    truth = torch.stack((x - left, y - top, right - x, bottom - y), dim=1)
    weight = torch.where((target > 0.3) & (truth > 1).all(1), target, 0.0)
    each = (maps.boxes.float().clamp_min(1e-3).log() - truth.clamp_min(1).log()).abs().mean(1)
    return ((each * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1)).mean()


def center_targets(boxes: Tensor, size: tuple[int, int] | torch.Size) -> tuple[Tensor, Tensor]:
    """Heights (N, h, w) in 0..1 of bumps about the centres of boxes (N, P, 4), and whose box counts there (N, h, w)."""
    left, top, right, bottom = ((boxes + 0.5) / STRIDE - 0.5).unbind(-1)
    present = boxes.isfinite().all(-1)
    x, y = (left + right) / 2, (top + bottom) / 2
    height, width = size
    present = present & (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    wide = ((right - left) * _CENTER_SPREAD).clamp_min(_FLOOR)
    high = ((bottom - top) * _CENTER_SPREAD).clamp_min(_FLOOR)
    rows = torch.arange(height, device=boxes.device)[:, None]
    columns = torch.arange(width, device=boxes.device)
    across = (columns - x.round()[..., None, None]) / wide[..., None, None]
    down = (rows - y.round()[..., None, None]) / high[..., None, None]
    bumps = torch.where(present[..., None, None], (-(across.square() + down.square()) / 2).exp(), 0.0)
    return bumps.max(1)


def _gaussians(keypoints: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
    """Targets (N, K, h, w) that sum to 1, zero for keypoints outside of the picture, and which are inside (N, K)."""
    known = _inside(keypoints, size)
    place = torch.where(known[..., None], (keypoints + 0.5) / STRIDE - 0.5, 0.0)
    axes = [
        (-((torch.arange(length, device=keypoints.device) - at[..., None]) / _SPREAD).square() / 2).exp()
        for length, at in ((size[1], place[..., 0]), (size[0], place[..., 1]))
    ]
    across, down = (axis / axis.sum(-1, keepdim=True) for axis in axes)
    return torch.where(known[..., None, None], down[..., :, None] * across[..., None, :], 0.0), known


def _inside(keypoints: Tensor, size: torch.Size) -> Tensor:
    limit = torch.tensor([size[1], size[0]], device=keypoints.device) * STRIDE - 0.5
    return ((keypoints > -0.5) & (keypoints < limit)).all(-1)


def _per_sample(each: Tensor, known: Tensor) -> Tensor:
    """Mean over the samples of the mean over their known keypoints; samples without any count zero."""
    return (torch.where(known, each, 0.0).sum(1) / known.sum(1).clamp_min(1)).mean()


def _grid(maps: Tensor) -> tuple[Tensor, Tensor]:
    height, width = maps.shape[-2:]
    rows = torch.arange(height, device=maps.device, dtype=torch.float32)[:, None].expand(height, width)
    return rows, torch.arange(width, device=maps.device, dtype=torch.float32).expand(height, width)

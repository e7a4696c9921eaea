"""One offset for every view from the evidence of all pairs, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.calibrate.sync_evidence import PairEvidence

LOBE = 0.2
"""Seconds on either side of the best offset that count as the same answer."""
_SWEEPS = 20
_LONGER = 2.0
_DECISIVE = 12.0
"""Log likelihood ratio up to which differences count in full."""
_RIVAL = 0.5
"""Of the best offset's evidence: from here on another one is no chance."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoarseOffsets:
    """Offsets to a grid step."""

    offset: Tensor
    """(V,) seconds to add to a clock that is 0 at the view's first frame; 0 for the first view."""
    confidence: Tensor
    """(V,) probability, in 0..1, that the view's offset to the others is this one, not another, and not none at all."""
    pair_confidence: Tensor
    """(V, V) the same from the two views alone; 1 on the diagonal."""
    peak: Tensor
    """(V,) log likelihood ratio of the offset against none."""
    runner_up: Tensor
    """(V,) of the best offset elsewhere."""


def find_offsets(evidence: PairEvidence, views: int) -> CoarseOffsets:
    """Find the offsets that together have the most evidence.

    A view is joined to those that are placed already where the sum of its evidence with all of them peaks, the surest
    one first (Prim's order); then every view in turn may move to a better place until none does.
    """
    table = _table(evidence, evidence.log_ratio, views)
    places = _grown(table)
    for _ in range(_SWEEPS):
        before = places.clone()
        for view in range(views):
            scores, first = _scores(table, places, view, torch.arange(views) != view)
            places[view] = scores.argmax() + first
        if torch.equal(before, places):
            break
    lobe = max(1, round(LOBE / evidence.step))
    overlap = _table(evidence, evidence.overlap, views)
    judged = []
    for view in range(views):
        others = torch.arange(views) != view
        scores, first = _scores(table, places, view, others)
        shared, _ = _scores(overlap, places, view, others)
        judged.append(_judged(scores, shared, torch.arange(len(scores)) + first - places[view], lobe))
    confidence, peak, runner_up = torch.stack(judged).unbind(-1)
    return CoarseOffsets(
        offset=evidence.step * (places - places[0]).double(),
        confidence=confidence,
        pair_confidence=_pair_confidence(table, overlap, places, lobe),
        peak=peak,
        runner_up=runner_up,
    )


def _table(evidence: PairEvidence, values: Tensor, views: int) -> Tensor:
    """Values (pairs, 2S - 1) by lag as (V, V, 2S - 1) by offset of the second view less that of the first."""
    table = values.new_zeros(views, views, len(evidence.lags))
    first, second = torch.triu_indices(views, views, 1)
    # a clock that shows more at the same moment has to be put back: offset = -lag
    table[first, second] = values.flip(-1)
    table[second, first] = values
    return table


def _grown(table: Tensor) -> Tensor:
    """Offsets (V,) in steps, one view after the other placed where it fits best with those before."""
    views, half = len(table), table.shape[-1] // 2
    best = int(table.flatten().argmax())
    start, second = best // table.shape[-1] // views, best // table.shape[-1] % views
    places = torch.zeros(views, dtype=torch.long)
    placed = torch.zeros(views, dtype=torch.bool)
    places[second], placed[start], placed[second] = best % table.shape[-1] - half, True, True
    while not placed.all():
        options = [(view, *_scores(table, places, view, placed)) for view in (~placed).nonzero()[:, 0].tolist()]
        view, scores, first = max(options, key=lambda option: float(option[1].max()))
        places[view], placed[view] = int(scores.argmax()) + first, True
    return places


def _scores(table: Tensor, places: Tensor, view: int, others: Tensor) -> tuple[Tensor, int]:
    """Evidence (N,) of a view's offsets with the others' held, and the first of those offsets in steps."""
    half = table.shape[-1] // 2
    held = places[others]
    first, last = int(held.min()) - half, int(held.max()) + half
    offset = torch.arange(first, last + 1) - held[:, None] + half
    known = (offset >= 0) & (offset <= 2 * half)
    found = table[others, view].gather(1, offset.clamp(0, 2 * half))
    return torch.where(known, found, 0.0).sum(0), first


def _judged(scores: Tensor, shared: Tensor, distance: Tensor, lobe: int) -> Tensor:
    """Probability, evidence, and the evidence of the best other offset: (..., 3).

    Motion that repeats itself fits as well at other offsets, but for less time. What such rivals would have if they
    were shared for as long counts, up to twice: that two views were recorded together for longer is no evidence. And of
    much evidence a tenth is not decisive, as its model is not that right: a rival's distance counts relative to it.

    Args:
        scores: (..., N) log likelihood ratios.
        shared: (..., N) seconds in common.
        distance: (..., N) steps from the offset that is judged.
        lobe: steps from there that are the same answer.
    """
    own = distance.abs() <= lobe
    here = torch.where(distance == 0, shared, 0.0).sum(-1, keepdim=True)
    factor = (here / shared.clamp_min(1e-6)).clamp(1.0, _LONGER)
    inside = torch.where(own, scores, -torch.inf)
    peak = inside.amax(-1, keepdim=True).clamp_min(0.0)
    rival = ~own & (scores > _RIVAL * peak)
    behind = (peak - scores * factor) / (peak / _DECISIVE).clamp_min(1.0)
    evened = torch.where(rival, peak - behind, scores)
    outside = torch.where(own, -torch.inf, evened)
    none = torch.tensor(float(scores.shape[-1])).log()  # as likely beforehand as all offsets together
    total = torch.logaddexp(torch.logsumexp(evened, -1), none)
    probability = (torch.logsumexp(inside, -1) - total).exp()
    return torch.stack((probability, inside.amax(-1), outside.amax(-1)), -1).double()


def _pair_confidence(table: Tensor, overlap: Tensor, places: Tensor, lobe: int) -> Tensor:
    half = table.shape[-1] // 2
    distance = torch.arange(-half, half + 1) - (places[None] - places[:, None])[..., None]
    confidence = _judged(table, overlap, distance, lobe)[..., 0]
    return torch.where(torch.eye(len(table), dtype=torch.bool), 1.0, confidence)

"""One offset for every view from the evidence of all pairs, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.calibrate.sync_evidence import PairEvidence

LOBE = 0.2
"""Seconds on either side of the best offset that count as the same answer."""
_SWEEPS = 20


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
    table = _table(evidence, views)
    places = _grown(table)
    for _ in range(_SWEEPS):
        before = places.clone()
        for view in range(views):
            scores, first = _scores(table, places, view, torch.arange(views) != view)
            places[view] = scores.argmax() + first
        if torch.equal(before, places):
            break
    lobe = max(1, round(LOBE / evidence.step))
    judged = [
        _judged(*_scores(table, places, view, torch.arange(views) != view), places[view], lobe) for view in range(views)
    ]
    confidence, peak, runner_up = torch.tensor(judged, dtype=torch.float64).unbind(-1)
    return CoarseOffsets(
        offset=evidence.step * (places - places[0]).double(),
        confidence=confidence,
        pair_confidence=_pair_confidence(table, places, lobe),
        peak=peak,
        runner_up=runner_up,
    )


def _table(evidence: PairEvidence, views: int) -> Tensor:
    """Log ratios (V, V, 2S - 1) by offset of the second view less that of the first, symmetric."""
    length = evidence.log_ratio.shape[-1]
    table = evidence.log_ratio.new_zeros(views, views, length)
    first, second = torch.triu_indices(views, views, 1)
    # a clock that shows more at the same moment has to be put back: offset = -lag
    table[first, second] = evidence.log_ratio.flip(-1)
    table[second, first] = evidence.log_ratio
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


def _judged(scores: Tensor, first: int, place: Tensor, lobe: int) -> tuple[float, float, float]:
    """Probability, evidence and the evidence of the best other offset, for one view."""
    own = (torch.arange(len(scores)) + first - place).abs() <= lobe
    inside = torch.where(own, scores, -torch.inf)
    outside = torch.where(own, -torch.inf, scores)
    none = torch.tensor(len(scores)).log()  # as likely beforehand as all offsets together
    total = torch.logaddexp(torch.logsumexp(scores, 0), none)
    return float((torch.logsumexp(inside, 0) - total).exp()), float(inside.max()), float(outside.max())


def _pair_confidence(table: Tensor, places: Tensor, lobe: int) -> Tensor:
    half = table.shape[-1] // 2
    offset = (places[None] - places[:, None])[..., None]
    own = (torch.arange(-half, half + 1) - offset).abs() <= lobe
    inside = torch.logsumexp(torch.where(own, table, -torch.inf), -1)
    total = torch.logaddexp(torch.logsumexp(table, -1), torch.tensor(float(table.shape[-1])).log())
    return torch.where(torch.eye(len(table), dtype=torch.bool), 1.0, (inside - total).exp())

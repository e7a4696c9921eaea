"""Detections that nobody has claimed for a while: bystanders of one view, posters, mirrors."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.detect.scene import Sighting

_NEAR = 0.3
"""Of a body's size: how far its joints may move from one frame to the next, on average, and be the same."""
_DOUBT = 0.1
"""Log-likelihood for each joint and frame that a detection went unclaimed ..."""
_MOST_DOUBT = 2.0
"""... up to this, for each joint."""


class Strangers:
    """Remember, in each view, for how many frames a detection has been nobody's.

    Whoever stood unclaimed in one view for seconds does not become a person known because that person was lost nearby.
    A detection is recognised by being next to where it was in the frame before; one that vanishes is forgotten.
    """

    def __init__(self) -> None:
        self._points: Tensor | None = None
        self._age: Tensor | None = None

    def doubt(self, sighting: Sighting) -> Tensor:
        """What a detection must gain more to be given to somebody known, (V, P)."""
        points = sighting.points[:, 0]
        self._age = self._recognise(points)
        return (_DOUBT * self._age).clamp(max=_MOST_DOUBT) * points.isfinite().all(-1).sum(-1)

    def remember(self, sighting: Sighting, unclaimed: Tensor) -> None:
        """Close a frame whose detections (V, P) were claimed or not."""
        assert self._age is not None
        self._points = sighting.points[:, 0]
        self._age = torch.where(unclaimed & sighting.present, self._age + 1, 0)

    def _recognise(self, points: Tensor) -> Tensor:
        if self._points is None or self._age is None or not bool(self._age.any()):
            return torch.zeros(points.shape[:2], dtype=torch.long)
        moved = (points[:, :, None] - self._points[:, None]).square().sum(-1).sqrt().nanmean(-1)
        center = points.nanmean(-2, keepdim=True)
        size = (points - center).square().sum(-1).nanmean(-1).sqrt()
        distance, before = moved.nan_to_num(nan=torch.inf).min(-1)
        return torch.where(distance < _NEAR * size, self._age.gather(-1, before), 0)

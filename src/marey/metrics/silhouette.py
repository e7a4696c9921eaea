"""Agreement of silhouettes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError, ShapeError


@dataclass(frozen=True, kw_only=True, eq=False)
class SilhouetteCounts:
    """Pixels by what estimate and truth say of them; add them up over images."""

    true_positives: Tensor
    """(...) int64: inside both."""
    false_positives: Tensor
    """(...) inside the estimate only."""
    false_negatives: Tensor
    """(...) inside the truth only."""
    true_negatives: Tensor
    """(...) outside both."""

    def __add__(self, other: SilhouetteCounts) -> SilhouetteCounts:
        return SilhouetteCounts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def iou(self) -> Tensor:
        """Intersection over union (...), double precision; NaN where both are empty."""
        union = self.true_positives + self.false_positives + self.false_negatives
        return self.true_positives.double() / union

    def total(self) -> SilhouetteCounts:
        """The sums over all images."""
        return SilhouetteCounts(**{name: value.sum() for name, value in vars(self).items()})


def silhouette_counts(estimated: Tensor, truth: Tensor) -> SilhouetteCounts:
    """Count pixels.

    Args:
        estimated: (..., H, W) boolean.
        truth: (..., H, W) boolean; the batches broadcast, as samples against one truth.

    Raises:
        ShapeError: the images differ in size or are not boolean (soft masks need a threshold, which is yours to state).
    """
    if estimated.dtype != torch.bool or truth.dtype != torch.bool:
        raise ShapeError(
            f"silhouettes: expected boolean images, got {estimated.dtype} and {truth.dtype}; compare with 0.5"
        )
    if estimated.ndim < 2 or estimated.shape[-2:] != truth.shape[-2:]:
        raise ShapeError(
            f"silhouettes: expected (..., H, W) of one size, got {tuple(estimated.shape)} and {tuple(truth.shape)}"
        )
    both = (estimated & truth).sum((-1, -2))
    ours, theirs = (mask.sum((-1, -2)) for mask in (estimated, truth))
    pixels = truth.shape[-1] * truth.shape[-2]
    return SilhouetteCounts(
        true_positives=both,
        false_positives=ours - both,
        false_negatives=theirs - both,
        true_negatives=pixels - ours - theirs + both,
    )


def silhouette_iou(estimated: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of all pixels of all images together, a scalar in double precision.

    HierProb3D's silhouette-IOU: large people count for more than in the mean over images, which is
    `silhouette_counts(...).iou()`. Shapes and errors as in `silhouette_counts`.

    Raises:
        InputError: both are empty everywhere.
    """
    iou = silhouette_counts(estimated, truth).total().iou()
    if iou.isnan():
        raise InputError("silhouettes: expected a pixel inside one of them, got none in any image")
    return iou

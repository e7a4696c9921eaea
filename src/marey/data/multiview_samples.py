"""People at a moment in several views, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from marey.core.tensors import TensorFields, Trailing


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiViewSamples(TensorFields):
    """B people at a moment each, seen in V views."""

    images: Annotated[Tensor, Trailing("V", 3, "H", "W")]
    """uint8, red green blue, without the lens; black where the view is absent or the crop goes beyond the image."""
    present: Annotated[Tensor, Trailing("V")]
    """Boolean: whether the view shows the person."""
    projections: Annotated[Tensor, Trailing("V", 3, 4)]
    """From the world, metres, to pixels of these crops, single precision; zeros where the view is absent."""
    boxes: Annotated[Tensor, Trailing("V", 4)]
    """Left, top, width, height of what each crop shows, pixels of the whole image without its lens; NaN if absent."""
    shape_before_resize: Annotated[Tensor, Trailing("V", 2)]
    """int64, height and width of the crop at the image's own scale; 0 if absent."""
    rows: Annotated[Tensor, Trailing("V")]
    """int64, row of `MultiViewLabels.labels`; -1 if absent."""
    joints: Annotated[Tensor, Trailing("J", 3)]
    """In the world, metres, single precision; 0 where unknown."""
    valid: Annotated[Tensor, Trailing("J")]
    """Boolean: whether the joint is known."""
    centers: Annotated[Tensor, Trailing(3)]
    """About the pelvis, metres, single precision; NaN where none is known."""
    index: Annotated[Tensor, Trailing()]
    """int64, place of the sample in the data set."""

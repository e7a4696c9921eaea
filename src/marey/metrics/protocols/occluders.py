"""3DPW-AdvOcc: a textured square in every place of a grid, and the place where a method is worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError
from marey.metrics.protocols.contract import Floats

STATED = 224
"""Side of the crop that sizes and strides are stated for."""


@dataclass(frozen=True, kw_only=True)
class OccluderGrid:
    """The places of a square on a crop, as 3DNBF lays them out."""

    size: int = 80
    """Side of the square in pixels of a crop of 224; the benchmark has 40 and 80."""
    stride: int = 10
    crop: int = 320
    """Side of the crop in pixels."""

    def __post_init__(self) -> None:
        if not (0 < self.size <= STATED and self.stride > 0 and self.crop > 0):
            raise InputError(
                f"expected a size up to {STATED} and a stride in pixels, got {self.size} and {self.stride}"
            )

    @property
    def places(self) -> int:
        """Of the square along one side of the crop."""
        return -(-(STATED - self.size) // self.stride) + 1

    @property
    def count(self) -> int:
        """Of the square on one crop; sample `image * count + row * places + column` has it there."""
        return self.places**2

    def boxes(self) -> Tensor:
        """(count, 4) left, top, right, bottom in pixels of the crop, row by row; the last ones are cut off."""
        size, stride = (round(length * self.crop / STATED) for length in (self.size, self.stride))
        start = torch.arange(self.places) * stride
        end = (start + size).clamp_max(self.crop)
        top, left = torch.meshgrid(start, start, indexing="ij")
        bottom, right = torch.meshgrid(end, end, indexing="ij")
        return torch.stack([left, top, right, bottom], dim=-1).flatten(0, 1)


def hidden(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """(..., J) whether keypoints (..., J, 2) lie strictly inside boxes (..., 4) of left, top, right, bottom."""
    box = boxes[..., None, :].to(keypoints)
    return ((keypoints > box[..., :2]) & (keypoints < box[..., 2:])).all(-1)


def worst_places(per_row: Floats, grid: OccluderGrid, *, smallest: bool = False) -> Mapping[str, Tensor]:
    """For every image the place where a number is worst.

    Args:
        per_row: (images * count,) of one protocol, in the order of the samples; NaN (nothing visible) is never worst.
        grid: The places.
        smallest: Whether a small number is bad (PCKh).

    Returns:
        `place`, `row`, `column` and `value`, each (images,).

    Raises:
        InputError: there are not `count` samples an image, or an image has no number at all.
    """
    if not len(per_row) or len(per_row) % grid.count:
        raise InputError(f"per_row: expected {grid.count} samples for each image, got {len(per_row)} in all")
    values = torch.as_tensor(per_row).reshape(-1, grid.count)
    known = values.isfinite()
    if len(empty := (~known.any(1)).nonzero()[:, 0].tolist()):
        raise InputError(
            f"per_row: no number for the images {empty[:5]} ({len(empty)} in all); no joint is visible there"
        )
    ranked = torch.where(known, -values if smallest else values, -torch.inf)
    place = ranked.argmax(1)
    return {
        "place": place,
        "row": place // grid.places,
        "column": place % grid.places,
        "value": values.gather(1, place[:, None])[:, 0],
    }

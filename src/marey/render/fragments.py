"""What each pixel of a picture sees: the container that the rasteriser returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from marey.core.tensors import TensorFields, Trailing


@dataclass(frozen=True, kw_only=True, eq=False)
class Fragments(TensorFields):
    """The nearest face at every pixel centre of a batch of pictures (...) of H rows and W columns."""

    face: Annotated[Tensor, Trailing("H", "W")]
    """Row of the table of faces, int64; -1 where no face covers the centre of the pixel."""
    depth: Annotated[Tensor, Trailing("H", "W")]
    """Distance along the optical axis, metres; infinite where there is no face. Differentiable in the vertices."""
    barycentric: Annotated[Tensor, Trailing("H", "W", 3)]
    """Weights of the face's three corners, perspective-correct: in 0..1, of sum 1; zeros where there is no face.
    Differentiable in the vertices."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the pictures."""
        return self.face.shape[-2], self.face.shape[-1]

    @property
    def mask(self) -> Tensor:
        """Boolean (..., H, W), where a face was seen. Not differentiable: see `silhouette`."""
        return self.face >= 0

    @cached_property
    def covered(self) -> Tensor:
        """The pixels that see a face, (M,) int64, counted through the whole batch, row by row."""
        return torch.nonzero(self.face.reshape(-1) >= 0)[:, 0]

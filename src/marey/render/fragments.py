"""What each pixel of a picture sees: the containers that the rasteriser returns and painting works on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from marey.core.errors import ShapeError
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
    def hits(self) -> Hits:
        """The pixels that see a face, one after the other: what is computed on them costs nothing elsewhere."""
        face = self.face.reshape(-1)
        pixel = torch.nonzero(face >= 0)[:, 0]
        return Hits(
            shape=tuple(self.face.shape),
            pixel=pixel,
            view=pixel // math.prod(self.size),
            face=face.index_select(0, pixel),
            depth=self.depth.reshape(-1).index_select(0, pixel),
            barycentric=self.barycentric.reshape(-1, 3).index_select(0, pixel),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """The M pixels of a batch of pictures that see a face, in the order of the pictures, their rows and columns."""

    shape: tuple[int, ...]
    """(..., H, W) of the pictures."""
    pixel: Tensor
    """(M,) int64, counted through all pictures."""
    view: Tensor
    """(M,) int64, the picture, counted through the batch."""
    face: Tensor
    """(M,) int64."""
    depth: Tensor
    """(M,) metres."""
    barycentric: Tensor
    """(M, 3)."""

    def __len__(self) -> int:
        return len(self.pixel)

    def interpolate(self, values: Tensor, faces: Tensor) -> Tensor:
        """Interpolate values of the vertices over the faces, perspective-correct.

        Args:
            values: (N, C) shared by the pictures, or (..., N, C) of each; differentiable.
            faces: (F, 3), the rasterised faces, or as many rows of another table, as for texture coordinates.

        Returns:
            (M, C).

        Raises:
            ShapeError: the values are neither shared nor of each picture, or the table has too few faces.
        """
        corners = self.corners(values, faces)
        weights = self.barycentric.to(values.dtype).t()[..., None]
        # added one by one: a sum over a dimension may round differently from one batch to another
        return corners[0] * weights[0] + corners[1] * weights[1] + corners[2] * weights[2]

    def corners(self, values: Tensor, faces: Tensor) -> Tensor:
        """Values (3, M, C) at the three corners of the faces seen; arguments and errors as of `interpolate`."""
        flat = self.of_views(values, 2)
        corner = self.of_faces(faces).t()
        if len(flat) > 1:
            corner = corner + self.view * flat.shape[1]
        return flat.reshape(-1, flat.shape[-1]).index_select(0, corner.reshape(-1)).view(3, len(self), -1)

    def nearest(self, labels: Tensor, faces: Tensor) -> Tensor:
        """The label (M,) of the nearest corner, of labels (N,) of the vertices; the first of equally near ones."""
        corner = self.of_faces(faces).gather(1, self.barycentric.argmax(1, keepdim=True))[:, 0]
        return labels.index_select(0, corner)

    def of_faces(self, values: Tensor) -> Tensor:
        """Values (M, ...) of the faces seen, of values (F, ...) of all faces.

        Raises:
            ShapeError: there are fewer values than faces.
        """
        if values.ndim < 1 or self.last_face >= len(values):
            raise ShapeError(
                f"expected one row for each face, at least {self.last_face + 1}, got {tuple(values.shape)}"
            )
        return values.index_select(0, self.face)

    @cached_property
    def last_face(self) -> int:
        """The highest face seen; -1 if there is none."""
        return int(self.face.max()) if len(self) else -1

    def of_views(self, values: Tensor, trailing: int) -> Tensor:
        """Values of each picture (B, trailing), or (1, trailing) if all share them.

        Raises:
            ShapeError: the leading dimensions are not those of the pictures.
        """
        batch, leading = self.shape[:-2], values.shape[: values.ndim - trailing]
        if values.ndim < trailing or (any(have != 1 for have in leading) and tuple(leading) != batch):
            raise ShapeError(
                f"values: expected {trailing} dimensions, or the {batch} of the pictures before them, "
                f"got {tuple(values.shape)}"
            )
        return values.reshape(math.prod(leading), *values.shape[values.ndim - trailing :])

    def paint(self, values: Tensor, background: Tensor | float = 0.0) -> Tensor:
        """Put values (M, ...) into pictures.

        Args:
            values: of the hits.
            background: what the other pixels show: a number, or pictures (..., H, W, ...) or what spreads over them.

        Returns:
            (..., H, W, ...) of the type of the values, differentiable in them and in the background.
        """
        shape = (*self.shape, *values.shape[1:])
        ground = torch.as_tensor(background, dtype=values.dtype, device=values.device).expand(shape)
        flat = ground.reshape(-1, *values.shape[1:])
        return flat.index_copy(0, self.pixel, values).view(shape)

"""Cameras in OpenCV's convention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Self

import torch
from torch import Tensor

from marey.core.errors import CalibrationError, ShapeError
from marey.core.tensors import TensorFields, Trailing

DISTORTION_LENGTHS = (0, 4, 5, 8, 12, 14)
"""Numbers of coefficients that OpenCV's pinhole model knows; fisheye cameras have 4."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cameras(TensorFields):
    """A batch of cameras; the last batch dimension is usually the views V.

    The camera frame has x to the right, y down and z forward; `x_camera = rotation @ x_world + translation`. Pixel
    centres lie at integer coordinates: the image spans -0.5 to width - 0.5.
    """

    intrinsics: Annotated[Tensor, Trailing(3, 3)]
    """`[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]` in pixels."""
    distortion: Annotated[Tensor, Trailing("D")]
    """OpenCV order k1 k2 p1 p2 [k3 [k4 k5 k6 [s1 s2 s3 s4 [tx ty]]]]; D is 0, 4, 5, 8, 12 or 14. Fisheye: k1 k2 k3 k4,
    followed by zeros where D is larger."""
    image_size: Annotated[Tensor, Trailing(2)]
    """Width and height in pixels, floating point; NaN where the calibration does not say."""
    rotation: Annotated[Tensor, Trailing(3, 3)] | None = None
    """World to camera. None: only the intrinsics are known."""
    translation: Annotated[Tensor, Trailing(3)] | None = None
    """World to camera, metres."""
    fisheye: Annotated[Tensor, Trailing()] | None = None
    """Boolean, which cameras follow OpenCV's fisheye model. None: none of them."""
    names: tuple[str, ...] = ()
    """Of the views (the last batch dimension), or empty. Indexing and joining keep them as long as the last dimension
    of the result still counts views."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distortion.shape[-1] not in DISTORTION_LENGTHS:
            raise CalibrationError(
                f"distortion: expected {DISTORTION_LENGTHS} coefficients in OpenCV order, "
                f"got {self.distortion.shape[-1]}; pad with zeros"
            )
        if self.fisheye is not None and self.distortion.shape[-1] < 4:
            raise CalibrationError("a fisheye camera has 4 distortion coefficients; pad with zeros")
        if (self.rotation is None) != (self.translation is None):
            raise CalibrationError("give both rotation and translation, or neither")
        if self.names and self.batch_shape and len(self.names) != self.batch_shape[-1]:
            raise ShapeError(f"names: expected {self.batch_shape[-1]}, got {len(self.names)}")

    @cached_property
    def is_pinhole(self) -> bool:
        """Whether no camera distorts: pinhole model, all coefficients zero. Read once; containers do not change."""
        return self.fisheye is None and not bool(self.distortion.any())

    @property
    def has_extrinsics(self) -> bool:
        """Whether the cameras' places in the world are known."""
        return self.rotation is not None

    @property
    def centers(self) -> Tensor:
        """Optical centres in the world, (..., 3), metres: `-rotation^T translation`.

        Raises:
            CalibrationError: the extrinsics are unknown.
        """
        rotation, translation = self.extrinsics
        return -(rotation.transpose(-1, -2) @ translation[..., None])[..., 0]

    @property
    def extrinsics(self) -> tuple[Tensor, Tensor]:
        """Rotation (..., 3, 3) and translation (..., 3), world to camera.

        Raises:
            CalibrationError: they are unknown.
        """
        if self.rotation is None or self.translation is None:
            raise CalibrationError(
                "the cameras have intrinsics only; calibrate their positions or load a full calibration"
            )
        return self.rotation, self.translation

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """A copy with `function` applied to every tensor; names stay if the last batch dimension keeps its size."""
        unnamed = self if not self.names else replace(self, names=())
        mapped = super(Cameras, unnamed).map(function)
        return replace(mapped, names=self.names) if mapped.batch_shape[-1:] == self.batch_shape[-1:] else mapped

    def __getitem__(self, index: Any) -> Self:
        """Index the batch dimensions; the names follow."""
        if not self.names or not self.batch_shape:
            return super().__getitem__(index)
        picked = super(Cameras, replace(self, names=())).__getitem__(index)
        views = torch.arange(len(self.names)).expand(self.batch_shape)[index]
        rows = views[None, None].flatten(end_dim=-2)
        row = rows[0].tolist() if len(rows) else []
        if not row or (rows != rows[0]).any() or len(set(row)) < len(row):
            return picked  # the last dimension does not count views any more
        return replace(picked, names=tuple(self.names[view] for view in row))

    @classmethod
    def _join(cls, items: Sequence[Self], dim: int, join: Callable[..., Tensor], new_dims: int) -> Self:
        joined = super()._join([replace(item, names=()) for item in items], dim, join, new_dims)
        last = dim in (-1, len(joined.batch_shape) - 1)
        rows = {item.names for item in items}
        names = tuple(name for item in items for name in item.names) if last else rows.pop() if len(rows) == 1 else ()
        return replace(joined, names=names if len(names) == joined.batch_shape[-1] else ())

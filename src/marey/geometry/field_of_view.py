"""Intrinsics from a field of view, for cameras that nobody calibrated."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.core import Cameras, InputError

FILM_DIAGONAL = 43.2666
"""Millimetres of a 36 x 24 frame: focal lengths "in 35 mm film" give the same diagonal field of view on it."""


def cameras_from_field_of_view(image_size: Tensor, degrees: Tensor | float) -> Cameras:
    """Pinhole cameras without a lens whose larger side spans a field of view, the optical axis in the middle.

    Args:
        image_size: (..., 2) width and height, pixels.
        degrees: broadcastable to (...), angle between the rays through the middles of the two outermost edges.

    Raises:
        InputError: the angle is not between 0 and 180 degrees.
    """
    size = image_size if image_size.is_floating_point() else image_size.to(torch.get_default_dtype())
    angle = torch.as_tensor(degrees, dtype=size.dtype, device=size.device).expand(size.shape[:-1])
    if not bool(((angle > 0) & (angle < 180)).all()):
        raise InputError(f"field of view: expected degrees between 0 and 180, got {degrees}")
    focal = size.amax(-1) / (2 * torch.tan(torch.deg2rad(angle) / 2))
    center = (size - 1) / 2  # pixel centres at integers: the image spans -0.5 to width - 0.5
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = ((focal, zero, center[..., 0]), (zero, focal, center[..., 1]), (zero, zero, one))
    return Cameras(
        intrinsics=torch.stack([torch.stack(row, -1) for row in rows], -2),
        distortion=size.new_zeros(*size.shape[:-1], 0),
        image_size=size,
    )


def field_of_view_of_film(image_size: tuple[int, int], millimetres: float) -> float:
    """Degrees along the larger side of an image (width, height) taken at a focal length "in 35 mm film".

    Raises:
        InputError: the focal length is not positive.
    """
    if not (math.isfinite(millimetres) and millimetres > 0):
        raise InputError(f"focal length: expected millimetres above 0, got {millimetres}")
    focal = millimetres * math.hypot(*image_size) / FILM_DIAGONAL
    return math.degrees(2 * math.atan(max(image_size) / (2 * focal)))

"""A person as a virtual camera sees it that looks at the person and holds it in its picture.

What a network then sees depends neither on where in the image the person stands nor on how large it appears. The
virtual camera stands where the real one does and does not roll, so up in the image stays up; which way gravity pulls is
not known.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import ShapeError
from marey.geometry.views import turn_to

LEAST_JOINTS = 4
"""Fewer that are seen make no view."""
_NEAREST = 0.1
"""Of the cosine between a ray and the optical axis of the virtual camera; joints beside it are not seen."""
_LEAST_SIZE = 1e-4


class PersonView(NamedTuple):
    """Batch shape (...)."""

    rotation: Tensor
    """(..., 3, 3) from the real camera's frame to that of the virtual one."""
    points: Tensor
    """(..., J, 2) in units of the person's size; 0 where not seen."""
    deviation: Tensor
    """(..., J) standard deviation of the points, the same in all directions, in the same units; 1 where not seen."""
    score: Tensor
    """(..., J) in 0..1; 0 where not seen."""
    size: Tensor
    """(...) root-mean-square distance of the joints from the optical axis, focal lengths; 1 where there is no view."""
    known: Tensor
    """(...) boolean: enough joints are seen."""


def person_view(points: Tensor, covariance: Tensor, score: Tensor) -> PersonView:
    """Turn to a person and take its size.

    Turning the real camera about its y axis leaves the view as it is and is taken up by the rotation. Joints count for
    direction and size by the square of their score.

    Args:
        points: (..., J, 2) x / z and y / z in the camera's frame, lens taken out; NaN = not seen.
        covariance: (..., J, 2, 2) of the points; NaN = not seen.
        score: (..., J) in 0..1; 0 = not seen.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    if points.shape[-1:] != (2,) or covariance.shape != (*points.shape, 2) or score.shape != points.shape[:-1]:
        raise ShapeError(
            f"expected points (..., J, 2), covariances (..., J, 2, 2) and scores (..., J), got {tuple(points.shape)}, "
            f"{tuple(covariance.shape)} and {tuple(score.shape)}"
        )
    area = covariance[..., 0, 0] * covariance[..., 1, 1] - covariance[..., 0, 1] * covariance[..., 1, 0]
    seen = points.isfinite().all(-1) & (area > 0) & (score > 0)
    rays = torch.nn.functional.pad(torch.where(seen[..., None], points, 0.0), (0, 1), value=1.0)
    weight = torch.where(seen, score, 0.0).square()
    toward = (weight[..., None] * rays * _inverse_length(rays)).sum(-2)
    toward = torch.where(weight.sum(-1, keepdim=True) > 0, toward, rays.new_tensor((0.0, 0.0, 1.0)))
    rotation = turn_to(toward[..., :2] / toward[..., 2:])
    turned = rays @ rotation.mT
    seen = seen & (turned[..., 2] > _NEAREST * _length(rays))
    depth = torch.where(seen, turned[..., 2], 1.0)
    flat = torch.where(seen[..., None], turned[..., :2] / depth[..., None], 0.0)
    weight = torch.where(seen, weight, 0.0)
    size = ((weight * flat.square().sum(-1)).sum(-1) / weight.sum(-1).clamp_min(1e-9)).sqrt()
    known = (seen.sum(-1) >= LEAST_JOINTS) & (size > _LEAST_SIZE)
    size = torch.where(known, size, 1.0)
    # an area grows by the determinant of the homography, 1, over the cube of the depth
    spread = torch.where(seen, area, 1.0).sqrt().sqrt() * depth**-1.5
    return PersonView(
        rotation=rotation,
        points=flat / size[..., None, None],
        deviation=torch.where(seen, spread / size[..., None], 1.0),
        score=torch.where(seen, score, 0.0),
        size=size,
        known=known,
    )


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1).sqrt()


def _inverse_length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(-1, keepdim=True).rsqrt()

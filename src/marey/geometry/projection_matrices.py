"""Projection matrices of pinhole cameras, taken apart. Plain arithmetic: it exports, and has gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def pinhole_parts(projections: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse intrinsic matrix and the rotation of each camera.

    Rows of `K [R | t]` are made orthogonal from the last one up: Hartley and Zisserman, Multiple View Geometry, 2nd
    ed., section 6.2.4. Focal lengths are positive; a scale of the matrix, positive too, does not matter.

    Args:
        projections: (..., 3, 4), from the world to pixels.

    Returns:
        Inverses (..., 3, 3) of the intrinsic matrices, from pixels (u, v, 1) to (x / z, y / z, 1) in the camera's
        frame, and rotations (..., 3, 3) from the world to the camera's frame.
    """
    first, second, third = projections[..., :3].unbind(-2)
    scale = _length(third)
    forward, first, second = third / scale, first / scale, second / scale
    center_y = (second * forward).sum(-1, keepdim=True)
    down = second - center_y * forward
    focal_y = _length(down)
    down = down / focal_y
    right = torch.linalg.cross(down, forward)
    focal_x, skew, center_x = ((first * axis).sum(-1, keepdim=True) for axis in (right, down, forward))
    zero, one = torch.zeros_like(scale), torch.ones_like(scale)
    shear = -skew / (focal_x * focal_y)
    inverse = torch.stack(
        (
            torch.cat((1 / focal_x, shear, -center_x / focal_x - shear * center_y), -1),
            torch.cat((zero, 1 / focal_y, -center_y / focal_y), -1),
            torch.cat((zero, zero, one), -1),
        ),
        dim=-2,
    )
    return inverse, torch.stack((right, down, forward), dim=-2)


def _length(vector: Tensor) -> Tensor:
    return vector.square().sum(-1, keepdim=True).sqrt()

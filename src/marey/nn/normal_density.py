"""Normal distributions at many places at once."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(places: Tensor, precision: Tensor, mean: Tensor) -> Tensor:
    """Squared Mahalanobis distances `(x - m)^T A (x - m)` of N places from K means, as one product of matrices.

    Args:
        places: (B, N, 3)
        precision: (B, K, 3, 3) symmetric, inverses of covariances.
        mean: (B, K, 3)

    Returns:
        (B, K, N), never below 0. Terms of the size of `x^T A x` cancel: keep places near the origin.
    """
    x, y, z = places.unbind(-1)
    monomials = torch.stack((x * x, y * y, z * z, x * y, x * z, y * z, x, y, z, torch.ones_like(x)), dim=1)
    square = precision.diagonal(dim1=-2, dim2=-1)
    mixed = 2 * torch.stack((precision[..., 1, 0], precision[..., 2, 0], precision[..., 2, 1]), dim=-1)
    slope = (precision @ mean[..., None])[..., 0]
    constant = (mean * slope).sum(-1, keepdim=True)
    return (torch.cat((square, mixed, -2 * slope, constant), dim=-1) @ monomials).clamp_min(0)

"""What the lifter learns from: distances of joints, and how likely its errors are by its own covariances."""

from __future__ import annotations

import torch
from torch import Tensor

_WITHOUT = 0.2
"""What a joint counts that the skeleton of the keypoints lacks."""


def joint_weights(there: Tensor, known: Tensor) -> Tensor:
    """(M, J) what each joint counts, with a mean of 1 over the joints of each person of whom enough is known.

    No person's weight depends on the others', so that several processes learn what one would.

    Args:
        there: (M, J) boolean, the skeleton of the keypoints has the joint.
        known: (M,) boolean, enough is seen.
    """
    weights = torch.where(there, 1.0, _WITHOUT)
    return weights / weights.mean(1, keepdim=True) * known[:, None]


def distance(positions: Tensor, joints: Tensor, weights: Tensor) -> Tensor:
    """Mean distance, metres, of joints (M, J, 3), each counting by its weight (M, J)."""
    squared = (positions - joints).square().sum(-1)
    return (weights * (squared + 1e-8).sqrt()).mean()


def negative_log_likelihood(residual: Tensor, factor: Tensor, weights: Tensor) -> Tensor:
    """Mean negative logarithm of normal densities, nats up to a constant.

    The mean is learnt by `distance` alone: `residual` is a constant here, so that joints that are hard do not count
    less for being hard (Stirn et al., "Faithful heteroscedastic regression with neural networks", AISTATS 2023).

    Args:
        residual: (M, J, 3) metres.
        factor: (M, J, 3, 3) lower triangular factors of the covariances, metres.
        weights: (M, J)
    """
    log_volume = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return (weights * (log_volume + squared_deviation(residual.detach(), factor) / 2)).mean()


def squared_deviation(residual: Tensor, factor: Tensor) -> Tensor:
    """Squared Mahalanobis length (...) of residuals (..., 3) by lower triangular factors (..., 3, 3)."""
    x, y, z = residual.unbind(-1)
    u = x / factor[..., 0, 0]
    v = (y - factor[..., 1, 0] * u) / factor[..., 1, 1]
    w = (z - factor[..., 2, 0] * u - factor[..., 2, 1] * v) / factor[..., 2, 2]
    return u * u + v * v + w * w

"""How far estimated joints are from the truth, and whether their covariance says so."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.small import solve_3x3_symmetric


def joint_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """Distances between joints.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres, broadcastable to `estimated`; NaN = unknown.

    Returns:
        (..., J) metres, NaN where either is unknown.

    Raises:
        ShapeError: the joints are not as many, or not in three dimensions.
    """
    _check(estimated, truth)
    errors: Tensor = torch.linalg.vector_norm(estimated - truth, dim=-1)
    return errors


def mpjpe_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """Mean per-joint position error in millimetres over everything known in both, a scalar; NaN if nothing is."""
    return 1000.0 * joint_errors(estimated, truth).nanmean()


def known_share(estimated: Tensor, truth: Tensor) -> Tensor:
    """Share of the joints of the truth that the estimate knows, a scalar in 0..1; NaN without any truth."""
    errors = joint_errors(estimated, truth)
    true = truth.isfinite().all(dim=-1).expand(errors.shape)
    return errors.isfinite().sum() / true.sum()


def confidence_levels(estimated: Tensor, covariance: Tensor, truth: Tensor) -> Tensor:
    """The probability of the smallest ellipsoid around each estimate that holds the truth.

    The squared Mahalanobis distance of a Gaussian in three dimensions follows the chi-squared distribution with three
    degrees of freedom; this is its distribution function there. Uniform in 0..1 if the covariance is right.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        covariance: (..., J, 3, 3) square metres, positive definite; NaN = unknown.
        truth: (..., J, 3) metres.

    Returns:
        (..., J), NaN where anything is unknown.
    """
    _check(estimated, truth)
    difference = estimated - truth
    distance = (difference * solve_3x3_symmetric(covariance, difference)).sum(dim=-1)
    levels: Tensor = torch.special.gammainc(torch.full_like(distance, 1.5), distance.clamp_min(0) / 2)
    return levels


def coverage(estimated: Tensor, covariance: Tensor, truth: Tensor, *, level: float = 0.9) -> Tensor:
    """Share of the known joints whose `level` ellipsoid holds the truth, a scalar: `level` if the covariance is right.

    Shapes as in `confidence_levels`; NaN if nothing is known.

    Raises:
        InputError: the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level: expected a probability between 0 and 1, got {level}")
    levels = confidence_levels(estimated, covariance, truth)
    return (levels <= level).sum() / levels.isfinite().sum()


def _check(estimated: Tensor, truth: Tensor) -> None:
    if estimated.ndim < 2 or truth.ndim < 2 or estimated.shape[-2:] != truth.shape[-2:] or truth.shape[-1] != 3:
        raise ShapeError(
            f"expected joints (..., J, 3) of the same J, got {tuple(estimated.shape)} and {tuple(truth.shape)}"
        )

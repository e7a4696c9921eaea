"""Losses of joints with covariances, for learning: hardly known joints cannot bend them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.geometry.small import determinant_3x3, inverse_3x3_symmetric
from marey.metrics.uncertainty import CHI2_90
from marey.nn.precision import full_precision

_LEAST_DEVIATION = 0.001
"""Metres, of what is known of a joint."""
_OPEN = 4.0
"""Square metres of a covariance in all, from which on it says nothing."""
_FAR = 1.0
"""Metres off, from which on it matters less how far."""


def gaussian_likelihood(joints: Tensor, covariance: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Negative log-likelihood of joints (B, J, 3) under their covariance (B, J, 3, 3), up to a constant."""
    error = torch.where(known[..., None], joints - truth, 0.0)
    identity = torch.eye(3, dtype=covariance.dtype, device=covariance.device)
    matrix = torch.where(known[..., None, None], covariance, identity)
    mahalanobis = torch.einsum("bji,bjik,bjk->bj", error, inverse_3x3_symmetric(matrix), error)
    return ((mahalanobis + determinant_3x3(matrix).log()) / 2 * known).sum() / known.sum().clamp_min(1)


def bounded_likelihood(joints: Tensor, covariance: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Of covariances of which some are hardly defined: two cameras that face each other leave a direction open.

    Args:
        joints: (B, J, 3)
        covariance: (B, J, 3, 3)
        truth: (B, J, 3)
        known: (B, J) boolean, what is counted.
    """
    total = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    defined = (total > 0) & (total < _OPEN)  # beyond, single precision leaves a matrix that is none
    identity = torch.eye(3, dtype=torch.float64, device=total.device)
    spread = torch.where(defined[..., None, None], covariance.double(), identity)
    share = (_FAR / (joints - truth).norm(dim=-1, keepdim=True).clamp_min(_FAR)).double()
    near = truth + share * (joints - truth)  # one joint that is lost must not drown the others
    with full_precision(joints):
        spread = spread + _LEAST_DEVIATION**2 * identity
        return gaussian_likelihood(near, spread, truth.double(), known & defined).float()


def coverage_loss(error: Tensor, covariance: Tensor, spread: Tensor, known: Tensor) -> Tensor:
    """Least where 90 % of the errors are within the ellipsoids of 90 %.

    The quantile loss of Koenker and Bassett, "Regression Quantiles", Econometrica 46 (1978), of the errors' logarithms:
    errors have heavy tails, and ellipsoids that are learned by their likelihood alone hold more than they say.

    Args:
        error: (B, K, 3)
        covariance: (B, K, 3, 3), with the factor that `spread` says.
        spread: (K,) or (B, K) logarithm of the factor on deviations; it alone learns.
        known: (B, K) boolean, what is counted.
    """
    with full_precision(error):
        squared = torch.einsum("bki,bkij,bkj->bk", error, inverse_3x3_symmetric(covariance), error).detach()
    known = known & squared.isfinite() & (squared > 0)
    beyond = torch.where(known, squared / CHI2_90[3], 1.0).log() / 2 - (spread - spread.detach())
    return _ninth_decile(beyond, known)


def interval_loss(error: Tensor, deviation: Tensor, known: Tensor) -> Tensor:
    """Least where 90 % of the errors are within the intervals of 90 %: as `coverage_loss`, of single numbers.

    Args:
        error: (B,)
        deviation: (B,) of it; it alone learns.
        known: (B,) boolean.
    """
    known = known & error.isfinite() & (error != 0) & (deviation > 0)
    ratio = torch.where(known, error.detach().abs(), 1.0) / torch.where(known, deviation, 1.0)
    return _ninth_decile(ratio.log() - math.log(CHI2_90[1]) / 2, known)


def _ninth_decile(beyond: Tensor, known: Tensor) -> Tensor:
    return (torch.maximum(0.9 * beyond, -0.1 * beyond) * known).sum() / known.sum().clamp_min(1)


def bent_distance(joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean distance of joints (B, J, 3); beyond a metre it grows with its logarithm."""
    squared = torch.where(known[..., None], joints - truth, 0.0).square().sum(-1)
    apart = (squared + 1e-10).sqrt()
    bent = torch.where(apart > _FAR, _FAR * (1 + (apart.clamp_min(_FAR) / _FAR).log()), apart)
    return (bent * known).sum() / known.sum().clamp_min(1)

"""Scores of samples of a distribution: best of N, energy score, spread, coverage.

The best of N falls with N and with a spread too wide: it never stands alone. The energy score is proper, coverage says
whether the spread is right.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.small import eigh_3x3
from marey.metrics.known import mean_over_joints

RANK = 1e-6
"""Least share of the largest eigenvalue that a direction of the samples must have to be one."""


def best_of(errors: Tensor) -> Tensor:
    """The errors of the best sample of each pose: that with the smallest mean over the joints that are known.

    Align each sample before, as the metric wants (`procrustes_errors` on (..., S, J, 3)).

    Args:
        errors: (..., S, J) of S samples; NaN = unknown.

    Returns:
        (..., J): the errors of one sample, not the smallest of each joint. NaN where all are unknown.

    Raises:
        ShapeError: there is no axis of samples.
        InputError: there are no samples.
    """
    if errors.ndim < 2:
        raise ShapeError(f"errors: expected (..., S, J), got {tuple(errors.shape)}")
    if not errors.shape[-2]:
        raise InputError(f"errors: expected at least one sample, got {tuple(errors.shape)}")
    means = mean_over_joints(errors)
    best = torch.where(means.isnan(), torch.inf, means).argmin(-1)
    return errors.gather(-2, best[..., None, None].expand(*errors.shape[:-2], 1, errors.shape[-1]))[..., 0, :]


def energy_scores(samples: Tensor, truth: Tensor) -> Tensor:
    """Energy score: E|X - y| - E|X - X'| / 2, the mean distance to the truth less half that among samples.

    Gneiting and Raftery 2007, equation 22, with the unbiased mean over pairs of different samples. Proper: the right
    distribution has the lowest expectation. For a single joint D is 3; flatten joints and coordinates to score poses as
    wholes. Takes memory for S^2 distances each.

    Args:
        samples: (..., S, D); NaN = unknown.
        truth: (..., D); NaN = unknown.

    Returns:
        (...) in the unit of the samples, NaN where anything is unknown. Differentiable.

    Raises:
        ShapeError: dimensions do not match.
        InputError: fewer than two samples, which have no spread.
    """
    _check(samples, truth)
    count = samples.shape[-2]
    if count < 2:
        raise InputError(f"samples: expected at least 2, got {count}; of a point the score is its error")
    gone = samples.isnan().any(-1).any(-1) | truth.isnan().any(-1)
    clean, aim = torch.where(gone[..., None, None], 0, samples), torch.where(gone[..., None], 0, truth)
    among = torch.cdist(clean, clean, compute_mode="donot_use_mm_for_euclid_dist").sum((-1, -2)) / (count * (count - 1))
    beside = torch.linalg.vector_norm(clean - aim[..., None, :], dim=-1).mean(-1)
    return torch.where(gone, torch.nan, beside - among / 2)


def diversity(samples: Tensor) -> Tensor:
    """Mean distance of samples (..., S, J, 3) from their mean: (..., J), NaN where a sample is unknown.

    HuManiFlow's sample diversity and HierProb3D's uncertainty of a vertex.
    """
    mean = samples.mean(-3, keepdim=True)
    distances: Tensor = torch.linalg.vector_norm(samples - mean, dim=-1)
    return distances.mean(-2)


def sample_confidence_levels(samples: Tensor, truth: Tensor) -> Tensor:
    """Share of the samples that lie closer to their mean than the truth, by the distance of their own covariance.

    The counterpart of `confidence_levels` where no Gaussian is stated: uniform in 0..1 for many samples if the
    distribution is right and its levels are ellipsoids. A direction in which all samples agree is left out; where they
    agree in all of them the level is 1, or 0 for the truth itself.

    Args:
        samples: (..., S, J, 3), S at least 8; NaN = unknown.
        truth: (..., J, 3); NaN = unknown.

    Returns:
        (..., J), NaN where anything is unknown.

    Raises:
        ShapeError: dimensions do not match.
        InputError: fewer than 8 samples.
    """
    joined = samples.transpose(-2, -3)
    _check(joined, truth)
    count = joined.shape[-2]
    if count < 8:
        raise InputError(f"samples: expected at least 8 to rank the truth among, got {count}")
    gone = joined.isnan().any(-1).any(-1) | truth.isnan().any(-1)
    centred = joined - joined.mean(-2, keepdim=True)
    covariance = torch.where(gone[..., None, None], 0, centred.mT @ centred / (count - 1))
    values, vectors = eigh_3x3(covariance)
    kept = values > RANK * values[..., 2:].clamp_min(torch.finfo(values.dtype).tiny)
    weights = torch.where(kept, values, 1).reciprocal() * kept

    def distance(offset: Tensor) -> Tensor:
        return ((offset @ vectors).square() * weights[..., None, :]).sum(-1)

    off = (truth - joined.mean(-2))[..., None, :]
    closer = (distance(centred) < distance(off)).to(samples.dtype).mean(-1)
    point = ~kept.any(-1)
    closer = torch.where(point, (off.norm(dim=-1)[..., 0] > 0).to(samples.dtype), closer)
    return torch.where(gone, torch.nan, closer)


def _check(samples: Tensor, truth: Tensor) -> None:
    if samples.ndim < 2 or truth.ndim < 1 or samples.shape[-1] != truth.shape[-1]:
        raise ShapeError(
            f"samples and truth: expected (..., S, D) and (..., D), got {tuple(samples.shape)} and {tuple(truth.shape)}"
        )

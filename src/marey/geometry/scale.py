"""Metric scale from known lengths: bones, a stick of known length, measured distances between cameras.

Cameras found without a ruler, and the points they see, are right up to one factor. Every known length gives an estimate
of it; `scale_from_lengths` weighs them, distrusts those that disagree and says how well the factor is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError

TUNING = 1.345
"""Huber's constant: 95 % efficient where all lengths are right."""
ITERATIONS = 20
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A factor and how well it is known."""

    factor: Tensor
    """(...) metres per unit of length; NaN without a usable length."""
    standard_deviation: Tensor
    """(...) of the factor."""
    weights: Tensor
    """(..., K) what each length counted, in 0..1: 1 where it agrees with the others, 0 where it was missing."""


def segment_lengths(
    points: Tensor, segments: Sequence[tuple[int, int]], *, covariance: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Measure the distances between pairs of points.

    Noise across a segment makes it longer on average, by `(trace(C) - variance along it) / (2 length)`; a covariance
    corrects for that.

    Args:
        points: (..., J, 3): joints, the ends of a stick, or optical centres (`cameras.centers`); NaN = missing.
        segments: K pairs of indices into J.
        covariance: (..., J, 3, 3) of the points, errors of different points taken as independent; None: exact points.

    Returns:
        Lengths (..., K) in the unit of the points, and their standard deviations (..., K), zero without a covariance;
        NaN where an end is missing or where the length is lost in the noise.

    Raises:
        ShapeError: the points are not (..., J, 3), or the covariance does not match them.
        InputError: a segment names a point that is not there.
    """
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ShapeError(f"points: expected (..., J, 3), got {tuple(points.shape)}")
    count = points.shape[-2]
    if any(not 0 <= end < count for pair in segments for end in pair):
        raise InputError(f"segments: expected pairs of indices 0..{count - 1}, got {list(segments)}")
    first, second = torch.tensor(list(segments), device=points.device).reshape(-1, 2).unbind(-1)
    along = points[..., second, :] - points[..., first, :]
    squared = along.square().sum(-1)
    if covariance is None:
        return squared.sqrt(), torch.where(squared.isnan(), torch.nan, torch.zeros_like(squared))
    if covariance.shape != (*points.shape, 3):
        raise ShapeError(f"covariance: expected {(*points.shape, 3)} for these points, got {tuple(covariance.shape)}")
    spread = covariance[..., first, :, :] + covariance[..., second, :, :]
    variance = (along[..., None, :] @ spread @ along[..., None])[..., 0, 0] / squared
    unbiased = squared - spread.diagonal(dim1=-2, dim2=-1).sum(-1) + variance
    known = unbiased > 0
    return torch.where(known, unbiased, torch.nan).sqrt(), torch.where(known, variance, torch.nan).sqrt()


def scale_from_lengths(
    measured: Tensor,
    known: Tensor,
    *,
    measured_deviation: Tensor | None = None,
    known_deviation: Tensor | float | None = None,
) -> Scale:
    """Find the factor that makes measured lengths equal known ones.

    In two steps, because errors of two kinds must not be mixed: T measurements of one length average out, the error of
    the known length itself does not. First each length gets a robust mean over its measurements; then the K lengths
    are combined, each with both variances. Both means are of logarithms (errors of lengths are relative), Huber's,
    iteratively reweighted from the median. Where the K lengths scatter more than their deviations allow, the standard
    deviation grows accordingly (Birge ratio); it never shrinks. Measurements are taken as independent: give every tenth
    frame of a recording rather than neighbours that share their errors.

    Args:
        measured: (..., T, K) lengths in the unit of the points, K lengths measured T times; NaN = not measured.
        known: (K,) or (..., K) the same lengths in metres.
        measured_deviation: (..., T, K) standard deviations of the measurements; None or 0: from their scatter alone.
        known_deviation: (K,), (..., K) or one number, standard deviations of the known lengths in metres (tape: 0.002;
            a bone from a table: 0.05 of its length); None: known exactly.

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: a known length is not positive.
    """
    if measured.ndim < 2 or not _fits(known, (*measured.shape[:-2], measured.shape[-1])):
        raise ShapeError(
            f"known: expected one length for each column of measured (..., T, K) {tuple(measured.shape)}, "
            f"got {tuple(known.shape)}; a single measurement of each length is (1, K)"
        )
    if not (known > 0).all():
        raise InputError(f"known: expected positive lengths in metres, got {known.tolist()}")
    logs = torch.where(measured > 0, measured, torch.nan).log()
    noise = torch.zeros_like(logs) if measured_deviation is None else measured_deviation / measured
    if noise.shape != logs.shape:
        raise ShapeError(f"measured_deviation: expected {tuple(measured.shape)}, got {tuple(noise.shape)}")
    mean, variance, _ = _robust_mean(logs.transpose(-1, -2), noise.square().transpose(-1, -2), scatter=True)
    relative = torch.as_tensor(0.0 if known_deviation is None else known_deviation).to(known) / known
    factor, spread, weights = _robust_mean(known.log() - mean, variance + relative.square(), scatter=False)
    factor = factor.exp()
    return Scale(factor=factor, standard_deviation=factor * spread.sqrt(), weights=weights)


def rescale_cameras(cameras: Cameras, factor: Tensor | float) -> Cameras:
    """Multiply all distances of the cameras' world by a factor; multiply the points by it too.

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    _, translation = cameras.extrinsics
    return replace(cameras, translation=translation * factor)


def _robust_mean(values: Tensor, variance: Tensor, *, scatter: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Huber's mean of values (..., N) with known variances, its variance (...) and the weights (..., N).

    Args:
        values: NaN = missing.
        variance: (..., N) zero or more.
        scatter: judge outliers, and the mean's variance, by the scatter of the values about their mean where that is
            larger than the variances say; for many values of one kind. False: by the variances, or, where these are all
            zero, by the scatter.
    """
    used = values.isfinite() & variance.isfinite()
    count = used.sum(-1, keepdim=True)
    filled = torch.where(used, values, torch.nan)
    mean = filled.nanmedian(-1, keepdim=True).values
    away = (filled - mean).abs()
    observed = (MAD_TO_SIGMA * away.nanmedian(-1, keepdim=True).values).square()
    floor = torch.finfo(values.dtype).eps ** 2
    if scatter:
        variance = torch.maximum(variance, observed)
    else:
        variance = torch.where((torch.where(used, variance, 0.0) > 0).any(-1, keepdim=True), variance, observed)
    variance = variance.clamp_min(floor)
    base = torch.where(used, 1 / variance, 0.0)
    clean = torch.where(used, values, 0.0)
    weights = used.to(values.dtype)
    for _ in range(ITERATIONS):
        information = base * weights
        mean = (information * clean).sum(-1, keepdim=True) / information.sum(-1, keepdim=True)
        distance = ((clean - mean).square() / variance).sqrt()
        weights = torch.where(used, TUNING / distance.clamp_min(TUNING), 0.0)
    information = base * weights
    total = information.sum(-1)
    misfit = (information * (clean - mean).square()).sum(-1) / (count[..., 0] - 1).clamp_min(1)
    birge = misfit.clamp_min(1.0)
    missing = count[..., 0] == 0
    return (
        torch.where(missing, torch.nan, mean[..., 0]),
        torch.where(missing, torch.nan, birge / total),
        weights,
    )


def _fits(values: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether values broadcast to the shape, with the same last dimension."""
    if values.ndim == 0 or values.ndim > len(shape) or values.shape[-1] != shape[-1]:
        return False
    return all(have in (1, need) for have, need in zip(reversed(values.shape), reversed(shape), strict=False))

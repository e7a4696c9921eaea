"""Shares of points within a distance of the truth: PCK, PCKh, 3D PCK, AUC, CPS.

What the truth knows and the estimate does not counts as wrong: leaving joints out must not pay. Hits are 1.0, misses
0.0, and NaN where there is no truth, so they average and accumulate as errors do.

A distance equal to the threshold is a hit for some programs and a miss for others: `inclusive` says which.
MPI-INF-3DHP, MuPoTS and mmpose's 3D PCK exclude it; MPII's PCKh, 3DPW's PCK and MeTRAbs's in training include it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from marey.core import InputError
from marey.metrics.known import check_pairs, mean_of_known

AreaRule = Literal["mean", "trapezoid"]
CPS_THRESHOLDS = tuple(step / 1000 for step in range(1, 301))
"""1, 2, ... 300 mm, in metres."""


def pck_hits(estimated: Tensor, truth: Tensor, *, threshold: Tensor | float, inclusive: bool = False) -> Tensor:
    """Which points are within a distance of the truth.

    Absolute PCK is this on positions in the camera's frame, 3D PCK on root-relative ones (`root_relative`), PCK of
    keypoints on pixels.

    Args:
        estimated: (..., J, D) metres or pixels, D 2 or 3; NaN = missing.
        truth: (..., J, D) in the same unit; NaN = unknown.
        threshold: in the same unit, a number or (..., J) or whatever broadcasts to it; NaN: no hit can be told.
        inclusive: whether a distance equal to the threshold is within.

    Returns:
        (..., J) of 1.0, 0.0, and NaN where truth or threshold is unknown.

    Raises:
        ShapeError: the points do not match.
        InputError: a threshold is negative.
    """
    limit = torch.as_tensor(threshold, dtype=truth.dtype, device=truth.device)
    if (limit < 0).any():
        raise InputError(f"threshold: expected distances, got {float(limit.min())}")
    errors, known = _errors(estimated, truth)
    within = errors <= limit if inclusive else errors < limit
    return torch.where(known & ~limit.isnan(), within.to(truth.dtype), torch.nan)


def pckh_hits(
    estimated: Tensor, truth: Tensor, *, head: tuple[int, int], fraction: float = 0.5, inclusive: bool = True
) -> Tensor:
    """Which keypoints are within a fraction of the length of the head.

    Andriluka et al. 2014 (MPII) measure the head by its box; where there is none, programs take the segment between two
    joints (3DNBF: neck and top of the head), as here.

    Args:
        estimated: (..., J, 2) pixels; NaN = missing.
        truth: (..., J, 2) pixels; NaN = unknown.
        head: the two joints of the segment.
        fraction: of its true length.
        inclusive: whether a distance equal to the threshold is within.

    Returns:
        (..., J) of 1.0, 0.0, and NaN where the truth or that pose's head is unknown.

    Raises:
        ShapeError: the keypoints do not match.
        InputError: there is no such joint.
    """
    check_pairs(estimated, truth, (2, 3))
    count = truth.shape[-2]
    if not all(0 <= end < count for end in head):
        raise InputError(f"head: expected two indices of {count} joints, got {head}")
    length = torch.linalg.vector_norm(truth[..., head[0], :] - truth[..., head[1], :], dim=-1)
    return pck_hits(estimated, truth, threshold=fraction * length[..., None], inclusive=inclusive)


def auc_scores(
    estimated: Tensor,
    truth: Tensor,
    *,
    thresholds: Tensor | Sequence[float],
    rule: AreaRule = "mean",
    inclusive: bool = False,
) -> Tensor:
    """What each point adds to the area under the curve of PCK over thresholds; their mean is the AUC.

    Mehta et al. 2017 (MPI-INF-3DHP): the mean over 0, 5, ... 150 mm. The trapezoidal area over 51 thresholds from 0 to
    199 mm is MeTRAbs's for 3DPW.

    Args:
        estimated: (..., J, D); NaN = missing.
        truth: (..., J, D) in the same unit; NaN = unknown.
        thresholds: (K,) ascending, in the same unit.
        rule: the mean over the thresholds, or the area by trapezia divided by their range.
        inclusive: whether a distance equal to a threshold is within.

    Returns:
        (..., J) in 0..1, NaN where the truth is unknown.

    Raises:
        ShapeError: the points do not match.
        InputError: the thresholds do not ascend, or are too few for the rule.
    """
    errors, known = _errors(estimated, truth)
    return torch.where(known, _areas(errors, thresholds, rule, inclusive), torch.nan)


def linear_auc_scores(estimated: Tensor, truth: Tensor, *, limit: float) -> Tensor:
    """`auc_scores` over all thresholds from 0 to a limit at once: 1 - distance / limit, not below 0."""
    errors, known = _errors(estimated, truth)
    return torch.where(known, (1 - errors / limit).clamp_min(0).nan_to_num(0), torch.nan)


def cps_hits(estimated: Tensor, truth: Tensor, *, threshold: float, inclusive: bool = False) -> Tensor:
    """Which poses have every joint within a distance.

    Args:
        estimated: (..., J, 3) metres, aligned as the protocol says; NaN = missing.
        truth: (..., J, 3) metres; NaN = unknown.
        threshold: metres.
        inclusive: whether a distance equal to the threshold is within.

    Returns:
        (...) of 1.0, 0.0, and NaN where the truth knows no joint.

    Raises:
        ShapeError: the points do not match.
    """
    worst = _worst_errors(estimated, truth)
    within = worst <= threshold if inclusive else worst < threshold
    return torch.where(worst.isnan(), torch.nan, within.to(worst.dtype))


def cps_scores(
    estimated: Tensor, truth: Tensor, *, thresholds: Tensor | Sequence[float] = CPS_THRESHOLDS, inclusive: bool = False
) -> Tensor:
    """What each pose adds to the correct poses score; their mean is the score, in 0..1.

    Wandt et al. 2021 (CanonPose): the area under the share of poses whose every joint is within a distance, over 1, 2,
    ... 300 mm, after a rigid alignment. Papers print the sum over these thresholds, 300 times this.

    Args:
        estimated: (..., J, 3) metres, aligned as the protocol says; NaN = missing.
        truth: (..., J, 3) metres; NaN = unknown.
        thresholds: (K,) ascending, metres.
        inclusive: whether a distance equal to a threshold is within.

    Returns:
        (...) in 0..1, NaN where the truth knows no joint.

    Raises:
        ShapeError: the points do not match.
        InputError: the thresholds do not ascend.
    """
    worst = _worst_errors(estimated, truth)
    return torch.where(worst.isnan(), torch.nan, _areas(worst, thresholds, "mean", inclusive))


def percent(hits: Tensor, *, by_joint: bool = False) -> Tensor:
    """The mean of hits or scores (..., J) in percent, a scalar in double precision.

    Args:
        hits: NaN = no truth.
        by_joint: the mean over joints of their means (3DNBF's PCKh) in place of the mean over all points; a joint
            that was never true counts for nothing.

    Raises:
        InputError: there was no truth.
    """
    if by_joint:
        hits = hits.flatten(0, -2).double().nanmean(0)
    return 100.0 * mean_of_known(hits, "percent")


def _areas(errors: Tensor, thresholds: Tensor | Sequence[float], rule: AreaRule, inclusive: bool) -> Tensor:
    """The area under the step from 0 to 1 that each error makes."""
    steps = torch.as_tensor(thresholds, dtype=errors.dtype, device=errors.device)
    if steps.ndim != 1 or len(steps) < 1 + (rule == "trapezoid") or not (steps.diff() > 0).all():
        raise InputError(f"thresholds: expected ascending distances, got {steps.flatten().tolist()[:8]}")
    first = torch.searchsorted(steps, errors.contiguous(), right=not inclusive)  # the first threshold that it is within
    hits = torch.ones(len(steps) + 1, len(steps), dtype=errors.dtype, device=errors.device).triu()
    areas = hits.mean(-1) if rule == "mean" else torch.trapezoid(hits, steps) / (steps[-1] - steps[0])
    return areas[first]


def _worst_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """The largest distance of each pose (...), infinite where a joint is missing, NaN without truth."""
    errors, known = _errors(estimated, truth)
    worst = torch.where(known, errors, -torch.inf).amax(-1)
    return torch.where(known.any(-1), worst, torch.nan)


def _errors(estimated: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Distances, infinite where the estimate is missing, and where the truth is known."""
    check_pairs(estimated, truth, (2, 3))
    errors = torch.linalg.vector_norm(estimated - truth, dim=-1)
    known = truth.isfinite().all(-1).expand(errors.shape)
    return torch.where(errors.isnan(), torch.inf, errors), known

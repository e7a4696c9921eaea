"""Shares of joints within a distance, and the areas under such curves as each program integrates them."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.geometry.alignment import align


def aligned(estimated: Tensor, truth: Tensor) -> Tensor:
    """Poses (..., J, 3), each brought onto the truth by the best similarity without a reflection."""
    return align(estimated, truth, transform="similarity").apply(estimated)


def centred(joints: Tensor, root: int) -> Tensor:
    """Joints (..., J, 3) with one of them in the origin."""
    return joints - joints[..., root : root + 1, :]


def auc_of_31_thresholds(distances: Tensor) -> Tensor:
    """MPI-INF-3DHP: mean over 0, 5, ... 150 mm of whether a distance is below, in closed form.

    Args:
        distances: (...) of the largest threshold, so 1 is 150 mm.

    Returns:
        (...) in 0..1.
    """
    return (1 - torch.floor(30 * distances + 1) / 31).clamp_min(0)


def auc_of_50_bins(distances: Tensor) -> Tensor:
    """MeTRAbs for 3DPW: the area over 50 bins, each distance in the middle of its bin; shapes as above, 1 is 199 mm."""
    return (1 - (torch.floor(50 * distances) + 0.5) / 50).clamp_min(0)


def linear_auc(distances: Tensor) -> Tensor:
    """The exact area under the curve over all thresholds up to 1; shapes as above."""
    return (1 - distances).clamp_min(0)


def area_under_shares(errors: Tensor, thresholds: Tensor) -> float:
    """The area in 0..1 under the share of errors (N,) up to each threshold (K,), by trapezia over their whole range."""
    shares = torch.searchsorted(errors.sort().values, thresholds, right=True).double() / len(errors)
    return float(torch.trapezoid(shares, thresholds.double()) / (thresholds[-1] - thresholds[0]))

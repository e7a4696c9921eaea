"""How well a detection agrees with where a person is expected: log-likelihood ratios, blind to left and right.

A joint expected at m with covariance S either is the one detected at y, or y is clutter, uniform over the image's
area A:

    ratio = log(e + (1 - e) A N(y; m, S)),

where e is the share of keypoints that are grossly wrong even on the right person. The ratio is positive inside a gate
that needs no threshold (it closes as S grows), falls no lower than log e, so that no single joint decides, and its sum
over the joints is what a detection gains by being given to that person. A joint that is not seen says nothing: 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def with_mirrored(points: Tensor, spread: Tensor, mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Stack detections as they are and mirrored.

    Args:
        points: (..., P, J, 2).
        spread: (..., P, J, 2, 2).
        mirror: (J,) `Skeleton.mirror`.

    Returns:
        (..., 2, P, J, 2) and (..., 2, P, J, 2, 2).
    """
    return (
        torch.stack((points, points[..., mirror, :]), -4),
        torch.stack((spread, spread[..., mirror, :, :]), -5),
    )


def log_ratio(offset: Tensor, spread: Tensor, area: Tensor, outlier: float) -> Tensor:
    """The ratio of the module's head for every joint.

    Args:
        offset: (..., 2) detected minus expected; NaN where the joint was not seen.
        spread: (..., 2, 2) S, of the difference.
        area: broadcastable to (...), A in the squared unit of the offset.
        outlier: e.

    Returns:
        (...) at least log e; 0 where the joint was not seen.
    """
    a, b, d = spread[..., 0, 0], spread[..., 0, 1], spread[..., 1, 1]
    x, y = offset.unbind(-1)
    determinant = a * d - b * b
    distance = (d * x * x - 2 * b * x * y + a * y * y) / determinant
    peak = (1 - outlier) / (2 * math.pi) * area * determinant.rsqrt()
    ratio = torch.log(outlier + peak * torch.exp(-0.5 * distance))
    return torch.where(ratio.isnan(), 0.0, ratio)


def best_side(ratio: Tensor, mirror: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Take every pair of left and right joints the way that agrees better.

    Detectors exchange the sides of a whole body, but also of the legs or the arms alone: each pair decides on its own.

    Args:
        ratio: (..., 2, P, J) of `log_ratio` on what `with_mirrored` returned.
        mirror: (J,).
        penalty: what the exchanged reading of a pair must gain more than the plain one: minus the log odds of a swap.

    Returns:
        The better ratios (..., P, J) and which joints are exchanged, (..., P, J) boolean.
    """
    plain, exchanged = ratio.unbind(-3)
    swapped = exchanged + exchanged[..., mirror] > plain + plain[..., mirror] + penalty
    return torch.where(swapped, exchanged - penalty / 2, plain), swapped


def inlier(ratio: Tensor, outlier: float) -> Tensor:
    """Probability that a keypoint is the expected joint and not clutter, given its `log_ratio`."""
    return (1 - outlier * torch.exp(-ratio)).clamp(min=0.0)


def extent(positions: Tensor) -> Tensor:
    """Width and height (V, 2), pixels, that each view's image must have at least to hold (V, ..., 2); on the CPU."""
    flat = positions.detach().cpu().double().flatten(1, -2)
    floor = torch.ones(len(flat), 1, 2, dtype=torch.float64)
    return torch.cat((floor, torch.where(flat.isfinite(), flat, 1.0)), 1).amax(1)

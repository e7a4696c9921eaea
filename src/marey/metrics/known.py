"""Means over what is known: never a silent NaN, never a mean of nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError


def mean_of_known(values: Tensor, what: str) -> Tensor:
    """Average values of any shape, leaving out NaN.

    Args:
        values: NaN = unknown.
        what: their name, for the error.

    Returns:
        A scalar in double precision.

    Raises:
        InputError: there is nothing to average, or a value is infinite.
    """
    known = ~values.isnan()
    count = int(known.sum())
    if not count:
        raise InputError(
            f"{what}: expected a known value, got {tuple(values.shape)} without one; see that estimate and truth know "
            "the same joints, and that the selection is not empty"
        )
    total = torch.where(known, values, 0).double().sum()
    if not total.isfinite():
        raise InputError(f"{what}: expected finite values, got {int(values.isinf().sum())} infinite ones")
    return total / count


def mean_over_joints(values: Tensor) -> Tensor:
    """Average values (..., J) over the known joints of each pose: (...), NaN where a pose knows none."""
    return values.nanmean(dim=-1)


def check_pairs(estimated: Tensor, truth: Tensor, dimensions: tuple[int, ...] = (3,)) -> None:
    """Raise a ShapeError unless both hold as many points, (..., J, D), with a D that is allowed."""
    fits = estimated.ndim >= 2 and truth.ndim >= 2 and estimated.shape[-2:] == truth.shape[-2:]
    if not fits or truth.shape[-1] not in dimensions:
        last = " or ".join(map(str, dimensions))
        raise ShapeError(
            f"expected joints (..., J, {last}) of the same J, got {tuple(estimated.shape)} and {tuple(truth.shape)}"
        )

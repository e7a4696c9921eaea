"""Robust losses for iteratively reweighted least squares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from marey.core import InputError

LossKind = Literal["squared", "huber", "cauchy", "geman_mcclure"]


@dataclass(frozen=True)
class RobustLoss:
    """A loss of squared residual norms s: the total cost is `sum rho(s) / 2`.

    Near zero every kind equals the squared loss, `rho(s) = s`; beyond `scale` it grows more slowly, and the weight
    `rho'(s)` of a residual falls below 1. Table: Barron, "A general and adaptive robust loss function" (CVPR 2019).
    """

    kind: LossKind = "squared"
    """`squared`; `huber`: grows linearly, convex; `cauchy`: logarithmically; `geman_mcclure`: saturates at scale^2."""
    scale: float = 1.0
    """Where a residual counts as large, in the residuals' own unit (standard deviations if they are whitened)."""

    def __post_init__(self) -> None:
        if self.kind not in _LOSSES:
            raise InputError(f"loss: expected one of {', '.join(_LOSSES)}, got '{self.kind}'")
        if not self.scale > 0:
            raise InputError(f"scale of the loss: expected a positive number, got {self.scale}")

    def __call__(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate squared norms (...): the losses rho (...) and the weights rho' (...), in 0..1."""
        rho, weight, _ = _LOSSES[self.kind](squared, self.scale * self.scale)
        return rho, weight

    def influence_slope(self, squared: Tensor) -> Tensor:
        """How the influence `rho' r` of residual vectors in the plane follows them, (...): `rho' + s rho''`.

        The mean over all directions. 1 near zero, negative where a larger residual pulls less.
        """
        return _LOSSES[self.kind](squared, self.scale * self.scale)[2]


def _squared(s: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    one = torch.ones_like(s)
    return s, one, one


def _huber(s: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    weight = (bound / s.clamp_min(bound)).sqrt()
    near = s <= bound
    return torch.where(near, s, 2 * weight * s - bound), weight, torch.where(near, 1.0, weight / 2)


def _cauchy(s: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    weight = 1 / (1 + s / bound)
    return bound * torch.log1p(s / bound), weight, weight * weight


def _geman_mcclure(s: Tensor, bound: float) -> tuple[Tensor, Tensor, Tensor]:
    root = 1 / (1 + s / bound)
    weight = root * root
    return s * root, weight, weight * (2 * root - 1)


_LOSSES: dict[str, Callable[[Tensor, float], tuple[Tensor, Tensor, Tensor]]] = {
    "squared": _squared,
    "huber": _huber,
    "cauchy": _cauchy,
    "geman_mcclure": _geman_mcclure,
}

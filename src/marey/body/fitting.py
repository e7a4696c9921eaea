"""The least-squares problem of a pose: joints where they were measured, and turned as people turn them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.body.chain import Chain, moved, split
from marey.body.priors import Habits, surprise, turn_and_swing
from marey.geometry.least_squares import LeastSquaresSolution, levenberg_marquardt
from marey.geometry.robust import RobustLoss


@dataclass(frozen=True, kw_only=True)
class Poses:
    """What B poses are fitted to."""

    chain: Chain
    habits: Habits
    joints: Tensor
    """(M,) places in the tree of the measured joints."""
    offsets: Tensor
    """(B, K, 3) metres."""
    targets: Tensor
    """(B, M, 3) metres; NaN where a joint was not measured."""
    whitening: Tensor
    """(B, M, 3, 3): W with W^T W the inverse of the covariance of a target."""
    mean: Tensor
    """(B, A, 3) of the coordinates of the joints' turns, radians."""
    deviation: Tensor
    """(B, A, 3)"""

    def linearise(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations (B, M + A, 3) in standard deviations, and how they follow a step (B, M + A, 3, S)."""
        posed = self.chain.pose(parameters, self.offsets)
        offset = posed.positions[:, self.joints] - self.targets
        values = (self.whitening @ offset[..., None])[..., 0]
        slopes = self.whitening @ self.chain.by_step(posed, self.joints)
        coordinates, by_turn = turn_and_swing(split(parameters)[1], self.habits.basis)
        strange, slope = surprise(coordinates, self.habits, self.mean, self.deviation)
        count = by_turn.shape[1]
        each = torch.arange(count)
        blocks = slopes.new_zeros(len(values), count, 3, count, 3)
        blocks[:, each, :, each] = (slope[..., None] * by_turn).transpose(0, 1)
        own = torch.cat((slopes.new_zeros(len(values), count, 3, 3), blocks.flatten(-2)), -1)
        return torch.cat((values, strange), 1), torch.cat((slopes, own), 1)

    def take(self, rows: slice | Tensor) -> Poses:
        """Some of the poses."""
        names = ("offsets", "targets", "whitening", "mean", "deviation")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def to(self, dtype: torch.dtype) -> Poses:
        """The poses in another precision."""
        names = ("offsets", "targets", "whitening", "mean", "deviation")
        return replace(self, habits=self.habits.to(dtype), **{name: getattr(self, name).to(dtype) for name in names})

    def solve(self, start: Tensor, *, loss: RobustLoss, tolerance: float, max_iterations: int) -> LeastSquaresSolution:
        """Fit the poses from a start (B, 3 + 4 A)."""
        return levenberg_marquardt(
            lambda parameters: self.linearise(parameters)[0],
            start,
            linearise=self.linearise,
            retract=moved,
            steps=3 + 3 * len(self.chain.moving),
            loss=loss,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )


def whitening_of(covariance: Tensor, *, floor: float) -> Tensor:
    """W (..., 3, 3) with W^T W the inverse of covariances (..., 3, 3) plus `floor` squared; NaN where they are NaN."""
    known = covariance.isfinite().all(-1).all(-1)
    axes = torch.eye(3, dtype=covariance.dtype, device=covariance.device)
    spread = torch.where(known[..., None, None], covariance, axes) + floor**2 * axes
    factor, failed = torch.linalg.cholesky_ex(0.5 * (spread + spread.mT))
    inverse = torch.linalg.solve_triangular(factor, axes.expand_as(factor), upper=False)
    return torch.where((known & (failed == 0))[..., None, None], inverse, torch.nan)

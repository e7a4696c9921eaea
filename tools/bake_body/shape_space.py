"""Shape coefficients: principal components of adults, then of what these leave of children.

The first coefficients are standard normal over adults, so small random numbers are grown people, as users of SMPL
expect. Bodies of children lie outside; the components that follow describe what the adults' cannot, scaled to have
mean square 1 over children. A child has large values of the first (it is small) and ordinary values of the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

JOINTS_SHARE = 0.3
"""Weight of the 24 joints together, against that of all vertices, in what components explain."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeSpace:
    """Points (vertices, then joints) linear in S coefficients."""

    mean: Tensor
    """(Q, 3) of adults."""
    basis: Tensor
    """(S, Q, 3) metres a unit."""
    weights: Tensor
    """(Q,) of points, in what a fit minimises."""

    def coefficients(self, points: Tensor) -> Tensor:
        """The coefficients (B, S) of the closest shapes to points (B, Q, 3)."""
        root = self.weights.sqrt()[:, None]
        design = (self.basis * root).flatten(1)
        return torch.linalg.lstsq(design.mT, ((points - self.mean) * root).flatten(1).mT).solution.mT

    def points(self, coefficients: Tensor) -> Tensor:
        """Points (B, Q, 3) of coefficients (B, S)."""
        return self.mean + (coefficients @ self.basis.flatten(1)).unflatten(1, (-1, 3))


def shape_space(adults: Tensor, children: Tensor, counts: tuple[int, int], joints: int) -> ShapeSpace:
    """Learn the space.

    Args:
        adults: (A, Q, 3) points, the last `joints` of them joints.
        children: (C, Q, 3)
        counts: how many components describe adults and what is left of children.
        joints: how many.
    """
    points = adults.shape[1]
    weights = adults.new_ones(points)
    weights[-joints:] = JOINTS_SHARE * (points - joints) / joints
    root = weights.sqrt()[:, None]
    mean = adults.mean(0)
    grown = ((adults - mean) * root).flatten(1)
    directions, scale = _principal(grown, counts[0])
    young = ((children - mean) * root).flatten(1)
    left = young - (young @ directions.mT) @ directions
    more, more_scale = _principal(left, counts[1])
    basis = torch.cat((directions * scale[:, None], more * more_scale[:, None])).unflatten(1, (-1, 3)) / root
    return ShapeSpace(mean=mean, basis=_taller(basis, mean), weights=weights)


def _principal(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first directions (count, D) of rows (B, D) and the root mean square along each."""
    values, vectors = torch.linalg.eigh(rows @ rows.mT)
    order = values.argsort(descending=True)[:count]
    directions = vectors[:, order].mT @ rows
    return torch.nn.functional.normalize(directions, dim=1), (values[order] / len(rows)).sqrt()


def _taller(basis: Tensor, mean: Tensor) -> Tensor:
    """Signs for which more is taller: what is high goes up, what is low goes down."""
    stretch = (basis[..., 1] * mean[:, 1]).sum(1)
    return basis * torch.where(stretch < 0, -1.0, 1.0)[:, None, None].to(basis)

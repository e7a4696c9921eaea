"""Joints and landmarks as means of vertices that hold in any shape and pose.

Only vertices of the coarsest level are used, so one table serves all levels. A landmark on the skin is a mean of few
vertices near it, with weights of at least 0. A joint inside is where the skin around it is pulled about by the pose, so
its weights may be negative; they are kept small by what noise of the vertices would do to the joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

SUPPORT = 256
"""Vertices of one point, at most: those of a point of the middle are those of both sides."""
_NEAREST = 500
_ON_SKIN = (64, 32, 16)
_INSIDE = (256, SUPPORT // 2)
"""How many vertices are kept in turn."""
_NOISE = 0.003
"""Metres that a vertex may be off, when the weights of a joint are chosen."""
_SUM = 30.0
"""Metres that a deviation of 1 of the sum of weights counts as."""

Real = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Regressor:
    """One point."""

    vertices: NDArray[np.int64]
    """(SUPPORT,), filled up with the last."""
    weights: Real
    """(SUPPORT,) summing to 1."""

    def among(self, numbers: NDArray[np.int64]) -> Regressor:
        """The same, its vertices by other numbers."""
        return Regressor(vertices=numbers[self.vertices], weights=self.weights)

    def error(self, target: Tensor, vertices: Tensor) -> float:
        """Root mean square distance from the point (B, 3), by vertices (B, N, 3), metres."""
        weights = torch.from_numpy(self.weights)[:, None]
        found = (vertices[:, self.vertices] * weights).sum(1)
        return float((found - target).square().sum(-1).mean().sqrt())


def fit(target: Tensor, vertices: Tensor, order: NDArray[np.int64], *, inside: bool) -> Regressor:
    """Find the vertices and their weights.

    Args:
        target: (B, 3) the point in B shapes and poses.
        vertices: (B, N, 3) that may be used.
        order: (N,) them, the nearest first.
        inside: whether weights may be negative.
    """
    near = order[:_NEAREST]
    offsets = (vertices[:, near] - target[:, None]).mT.reshape(-1, len(near)).numpy()  # 3 B rows
    weigh = _signed if inside else _positive
    for count in _INSIDE if inside else _ON_SKIN:
        kept = np.abs(weigh(offsets)).argsort()[::-1][:count]
        near, offsets = near[kept], offsets[:, kept]
    return _filled(near, weigh(offsets))


def mirrored(one: Regressor, mirror: NDArray[np.int64]) -> Regressor:
    """The same point of the other side."""
    return Regressor(vertices=mirror[one.vertices], weights=one.weights)


def balanced(one: Regressor, mirror: NDArray[np.int64]) -> Regressor:
    """A point of the middle with the same weights on both sides."""
    total = np.zeros(len(mirror))
    np.add.at(total, one.vertices, one.weights / 2)
    total = total + total[mirror]
    kept = np.flatnonzero(total)
    return _filled(kept, total[kept])


def _filled(vertices: NDArray[np.int64], weights: Real) -> Regressor:
    short = SUPPORT - len(vertices)
    return Regressor(vertices=np.pad(vertices, (0, short), mode="edge"), weights=np.pad(weights, (0, short)))


def _signed(offsets: Real) -> Real:
    """Weights of sum 1 whose mean of the offsets is nearest to 0, for vertices with noise."""
    gram = offsets.T @ offsets / len(offsets) + _NOISE**2 * np.eye(offsets.shape[1])
    found = np.linalg.solve(gram, np.ones(len(gram)))
    return found / found.sum()


def _positive(offsets: Real) -> Real:
    """Weights of at least 0 and sum 1 whose mean of the offsets is nearest to 0."""
    gram = offsets.T @ offsets / len(offsets) + 1e-7 * np.eye(offsets.shape[1]) + _SUM**2
    root = np.linalg.cholesky(gram)
    right = np.linalg.solve(root, np.full(len(gram), _SUM**2))
    found, _ = nnls(root.T, right, maxiter=20 * len(gram))
    return found / found.sum()

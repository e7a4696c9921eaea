"""What bundle adjustment is told: observations, how far to believe them, and where the points start.

Internal to the room. Points lie along the last dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, ShapeError
from marey.geometry.bundle_cameras import FreeIntrinsics, project_rows
from marey.geometry.triangulation import Method, triangulate


@dataclass(frozen=True)
class Evidence:
    """What was observed, points last."""

    pixels: Tensor
    """(2, V, N), zero where unused."""
    whitening: Tensor
    """(3, V or 1, N or 1) entries 00, 10, 11 of the inverse Cholesky factor of the pixels' covariance."""
    prior: Tensor
    """(V, N) weights; 0 where nothing was observed."""

    def rounding(self) -> Tensor:
        """The sum of squares () of what rounding the pixels adds to the residuals."""
        size = torch.finfo(self.pixels.dtype).eps * whitened(self.pixels, self.whitening)
        return (self.prior * size.square().sum(0)).sum()


def whitened(rows: Tensor, whitening: Tensor) -> Tensor:
    """Multiply rows (2, ..., V, N) by the lower triangular whitening."""
    return torch.stack((whitening[0] * rows[0], torch.addcmul(whitening[2] * rows[1], whitening[1], rows[0])))


def initial_points(
    pixels: Tensor,
    cameras: Cameras,
    points: Tensor | None,
    covariance: Tensor | None,
    weights: Tensor | None,
    *,
    robust: bool,
) -> Tensor:
    """The points to start from, (N, 3), NaN where unknown: those given, or triangulated."""
    batch = pixels.shape[1:-1]
    if points is not None:
        if points.shape != (*batch, 3):
            raise ShapeError(f"points: expected {(*batch, 3)} as in pixels, got {tuple(points.shape)}")
        return points.detach().to(pixels).reshape(-1, 3)
    method: Method = "robust" if robust else "weighted"
    with torch.no_grad():
        found = triangulate(pixels, cameras, covariance=covariance, weights=weights, method=method)
    return found.positions.reshape(-1, 3)


def gather_evidence(
    pixels: Tensor,
    cameras: Cameras,
    points: Tensor,
    covariance: Tensor | None,
    weights: Tensor | None,
    *,
    least_views: int = 2,
) -> Evidence:
    """The observations of points that start in front of enough of the cameras which saw them."""
    views, *batch, _ = pixels.shape
    rows = pixels.reshape(views, -1, 2).permute(2, 0, 1)
    whitening = pixels.new_tensor([1.0, 0.0, 1.0])[:, None, None]
    seen = rows.isfinite().all(0) & project_rows(points, cameras, FreeIntrinsics()).pixels.isfinite().all(0)
    if covariance is not None:
        spread = _expanded(covariance.detach().to(pixels), (views, *batch, 2, 2), "covariance")
        whitening = _inverse_cholesky(spread.reshape(views, -1, 2, 2))
        seen = seen & whitening.isfinite().all(0)
        whitening = torch.where(seen, whitening, 0.0)
    prior = torch.ones_like(rows[0])
    if weights is not None:
        prior = _expanded(weights.detach().to(pixels), (views, *batch), "weights").reshape(views, -1)
    seen = seen & (prior > 0)
    seen = seen & (seen.sum(0) >= least_views)
    return Evidence(torch.where(seen, rows, 0.0), whitening, torch.where(seen, prior, 0.0))


def _expanded(values: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    try:
        return values.expand(shape)
    except RuntimeError as error:
        raise ShapeError(f"{name}: expected a shape that broadcasts to {shape}, got {tuple(values.shape)}") from error


def _inverse_cholesky(covariance: Tensor) -> Tensor:
    """The entries 00 10 11 (3, V, N) of the inverse Cholesky factors of covariances (V, N, 2, 2)."""
    first = covariance[..., 0, 0].rsqrt()
    mixed = covariance[..., 1, 0] * first
    second = (covariance[..., 1, 1] - mixed * mixed).rsqrt()
    return torch.stack((first, -first * mixed * second, second))

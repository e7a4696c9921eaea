"""Points in space from points in several images, with covariance and per-view weights.

Three estimators, one way: rows of the projection equations, then closed-form 3x3 solves.

- `dlt`: the direct linear transformation, the right singular vector of the stacked rows (Hartley and Zisserman,
  Multiple View Geometry, 2nd ed., section 12.2), found on the 3x3 block of the normal matrix, without a
  decomposition.
- `weighted`: least squares of the reprojection error in units of its covariance (section 12.3), by Gauss-Newton from
  the linear solution: the maximum-likelihood point when no view is wrong.
- `robust`: the same, each view weighted by `min(1, t / d^2)^1.5`, d its Mahalanobis reprojection error and t = 16:
  exactly least squares while all views agree within 4 sigma, a redescending influence ~ 1 / d^2 beyond. Iteratively
  reweighted, hence linear in the number of views; no subset of views is ever tried.

The kernels lie in `triangulation_kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.projection import undistort_pixels
from marey.geometry.triangulation_kernels import dlt, least_squares

Method = Literal["dlt", "weighted", "robust"]

BLOCK = 4096
"""Points handled at once without compilation: the intermediates of four views then stay in the second-level cache."""

Kernel = Callable[..., tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Triangulation:
    """Points in the world and how they were found."""

    positions: Tensor
    """(..., 3) metres; NaN with fewer than two usable views, where the rays do not fix a point, or where it would lie
    behind all cameras but one."""
    covariance: Tensor
    """(..., 3, 3) square metres; NaN where the position is."""
    weights: Tensor
    """(V, ...) in 0..1: what each view counted; 0 for a view that did not see the point."""


def triangulate(
    points: Tensor,
    cameras: Cameras,
    *,
    covariance: Tensor | None = None,
    weights: Tensor | None = None,
    method: Method = "robust",
    compiled: bool = False,
) -> Triangulation:
    """Triangulate points seen by V calibrated cameras.

    Everything is computed in the precision of the points. Lens distortion is removed first and carried over into the
    covariance. Differentiable in points, covariance, weights and cameras. Cost: linear in views and in points.

    Args:
        points: (V, ..., 2) pixels; NaN = not seen.
        cameras: (V,) with extrinsics.
        covariance: of the points in square pixels, broadcastable to (V, ..., 2, 2); None: 1 square pixel. The
            result's covariance is as good as this one, and `robust` judges outliers by it. NaN = not seen.
        weights: broadcastable to (V, ...), prior weights multiplied into the information of each view (`dlt`: into the
            rows); 0 = not seen.
        method: `robust`, `weighted` or `dlt`; see the head of this module.
        compiled: run the kernel through `torch.compile`; the first call takes tens of seconds and needs a C++ compiler.

    Raises:
        ShapeError: the shapes do not fit together.
        CalibrationError: the cameras have no extrinsics.
        InputError: there is no such method.
    """
    if not points.is_floating_point():
        raise ShapeError(f"points: expected floating-point pixels, got {points.dtype}; convert them")
    if cameras.intrinsics.dtype != points.dtype:
        cameras = cameras.to(points.dtype)
    rotation, translation = cameras.extrinsics
    views = rotation.shape[0]
    if rotation.ndim != 3 or points.ndim < 2 or points.shape[0] != views or points.shape[-1] != 2:
        raise ShapeError(
            f"points: expected (V, ..., 2) with V = {views} as in the cameras {cameras.batch_shape}, "
            f"got {tuple(points.shape)}; views come first"
        )
    if method not in _KERNELS:
        raise InputError(f"method: expected one of {', '.join(_KERNELS)}, got '{method}'")
    batch = points.shape[1:-1]
    points, covariance = _ideal_pixels(points, covariance, cameras)
    observed = points.reshape(views, -1, 2)
    spread = _flat(covariance, points.shape[:-1], trailing=2)
    prior = None if weights is None else _flat(weights.to(points.dtype), points.shape[:-1], trailing=0)
    kernel = _compiled(method) if compiled else _KERNELS[method]
    solve = partial(kernel, cameras.intrinsics, rotation, translation)
    if compiled or observed.shape[1] <= 2 * BLOCK:
        position, uncertainty, weight = solve(observed, spread, prior)
    else:
        position, uncertainty, weight = _in_blocks(solve, observed, spread, prior)
    if len(batch) != 1:
        position, uncertainty = position.reshape(*batch, 3), uncertainty.reshape(*batch, 3, 3)
        weight = weight.reshape(views, *batch)
    return Triangulation(positions=position, covariance=uncertainty, weights=weight)


def _ideal_pixels(points: Tensor, covariance: Tensor | None, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Points and covariance as a camera without distortion would have seen them."""
    if covariance is None:
        covariance = torch.eye(2, device=points.device)
    covariance = covariance.to(points.dtype)
    if cameras.is_pinhole:
        return points, covariance
    points, jacobian = undistort_pixels(points, cameras)
    return points, jacobian @ covariance @ jacobian.transpose(-1, -2)


def _flat(values: Tensor, shape: tuple[int, ...], *, trailing: int) -> Tensor:
    """Bring (V, ..., *trailing) to (V, N, *trailing); what is the same for all views or all points stays single."""
    lead = values.ndim - trailing
    per_view = lead == len(shape) and math.prod(values.shape[1:lead]) == 1
    if lead and not per_view:
        try:
            values = values.expand(*shape, *values.shape[lead:])
        except RuntimeError as error:
            raise ShapeError(
                f"expected a shape that broadcasts to {shape}, got {tuple(values.shape[:lead])}"
            ) from error
    rows = values.shape[0] if lead else 1
    return values.reshape(rows, -1, *(2,) * trailing)


def _in_blocks(
    solve: Callable[..., tuple[Tensor, Tensor, Tensor]], observed: Tensor, spread: Tensor, prior: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernel on blocks of points that fit the cache."""

    def block(values: Tensor | None, start: int) -> Tensor | None:
        return values if values is None or values.shape[1] == 1 else values[:, start : start + BLOCK]

    starts = range(0, observed.shape[1], BLOCK)
    parts = [solve(block(observed, at), block(spread, at), block(prior, at)) for at in starts]
    positions, covariances, weights = zip(*parts, strict=True)
    return torch.cat(positions), torch.cat(covariances), torch.cat(weights, dim=1)


@cache
def _compiled(method: Method) -> Kernel:
    """The kernel through `torch.compile`; sums over coordinates and views are unrolled, so that it fuses to loops."""
    options: dict[str, str | int | bool | Callable[..., object]] = {
        "unroll_reductions_threshold": 64,
        "cpp_wrapper": True,
    }
    return torch.compile(_KERNELS[method], fullgraph=True, options=options)


_KERNELS: dict[str, Kernel] = {"dlt": dlt, "weighted": partial(least_squares, robust=False), "robust": least_squares}

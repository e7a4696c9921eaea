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
from marey.geometry.triangulation_kernels import dlt, dlt_of_rows, least_squares

Method = Literal["dlt", "weighted", "robust"]

BLOCK = 4096
"""Points handled at once without compilation: the intermediates of four views then stay in the second-level cache."""

EXACT_STEPS = 16
"""Newton steps that bring the linear solution to rounding even where rays meet nowhere."""

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
        cameras: (V,) with extrinsics, or (V, B, ...) where the points' leading dimensions are (V, B, ...): then every
            item of the batch has cameras of its own.
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
    batch = cameras.batch_shape
    if not batch or points.ndim < 1 + len(batch) or points.shape[: len(batch)] != batch or points.shape[-1] != 2:
        raise ShapeError(
            f"points: expected {(*batch, '...', 2)} as the cameras {batch} have it, got {tuple(points.shape)}; views "
            "come first"
        )
    if method not in _KERNELS:
        raise InputError(f"method: expected one of {', '.join(_KERNELS)}, got '{method}'")
    views, free = batch[0], points.shape[1:-1]
    points, covariance = _ideal_pixels(points, covariance, cameras)
    observed = points.reshape(views, -1, 2)
    spread = _flat(covariance, points.shape[:-1], trailing=2)
    prior = None if weights is None else _flat(weights.to(points.dtype), points.shape[:-1], trailing=0)
    kernel = _compiled(method) if compiled else _KERNELS[method]
    poses: tuple[Tensor, ...] = (cameras.intrinsics, *cameras.extrinsics)
    if len(batch) > 1:
        poses = tuple(_per_point(part, batch, free) for part in poses)
    if compiled or observed.shape[1] <= 2 * BLOCK:
        position, uncertainty, weight = kernel(*poses, observed, spread, prior)
    else:
        position, uncertainty, weight = _in_blocks(kernel, poses, observed, spread, prior)
    if len(free) != 1:
        position, uncertainty = position.reshape(*free, 3), uncertainty.reshape(*free, 3, 3)
        weight = weight.reshape(views, *free)
    return Triangulation(positions=position, covariance=uncertainty, weights=weight)


def triangulate_projections(
    points: Tensor, projections: Tensor, *, weights: Tensor | None = None, covariance: Tensor | None = None
) -> Triangulation:
    """Triangulate by the direct linear transformation from projection matrices: what a network learns through.

    Nothing branches on data and nothing is decomposed, so that it exports, and its derivative is finite wherever the
    points are determined. Solved in double precision, whatever the inputs have: the result has theirs.

    Args:
        points: (V, B, J, 2) pixels without distortion; NaN = not seen.
        projections: (V, B, 3, 4) from the world to pixels.
        weights: (V, B, J) factors of the equations of each view; 0 = not seen. None: 1.
        covariance: (V, B, J, 2, 2) of the points in square pixels; None: 1 square pixel.

    Returns:
        Positions (B, J, 3), their covariance (B, J, 3, 3) and the weights (V, B, J). NaN only where fewer than two
        views count or leave the point open: early in training points lie behind their cameras, and are learned from
        too.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    views, batch, joints = points.shape[:-1] if points.ndim == 4 else (-1, -1, -1)
    if points.shape[-1] != 2 or projections.shape != (views, batch, 3, 4):
        raise ShapeError(
            f"expected points (V, B, J, 2) and projections (V, B, 3, 4), got {tuple(points.shape)} and "
            f"{tuple(projections.shape)}"
        )
    double = torch.float64  # squares of the equations lose half of the digits
    matrices = projections.to(double).permute(3, 2, 0, 1)[..., None]  # (4, 3, V, B, 1)
    pixels = points.to(double).movedim(-1, 0)
    rows = torch.addcmul(matrices[:, :2], matrices[:, 2:], pixels, value=-1).flatten(-2)
    position, uncertainty, weight = dlt_of_rows(
        matrices[:, 2].expand(4, views, batch, joints).flatten(-2),
        rows,
        None if covariance is None else _flat(covariance.to(double), points.shape[:-1], trailing=2),
        None if weights is None else _flat(weights.to(double), points.shape[:-1], trailing=0),
        steps=EXACT_STEPS,
    )
    return Triangulation(
        positions=position.view(batch, joints, 3).to(points.dtype),
        covariance=uncertainty.view(batch, joints, 3, 3).to(points.dtype),
        weights=weight.view(views, batch, joints).to(points.dtype),
    )


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


def _per_point(part: Tensor, batch: torch.Size | tuple[int, ...], free: tuple[int, ...]) -> Tensor:
    """Repeat what belongs to a batch of cameras (V, B, ...) for each of its points: (V, N, ...)."""
    trailing = part.shape[len(batch) :]
    spread = part.reshape(*batch, *(1,) * (len(free) - len(batch) + 1), *trailing)
    return spread.expand(batch[0], *free, *trailing).reshape(batch[0], -1, *trailing)


def _in_blocks(
    kernel: Kernel, poses: tuple[Tensor, ...], observed: Tensor, spread: Tensor, prior: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the kernel on blocks of points that fit the cache."""
    per_point = poses[0].ndim > 3

    def block(values: Tensor | None, start: int) -> Tensor | None:
        return values if values is None or values.shape[1] == 1 else values[:, start : start + BLOCK]

    parts = [
        kernel(
            *(block(part, start) if per_point else part for part in poses),
            *(block(values, start) for values in (observed, spread, prior)),
        )
        for start in range(0, observed.shape[1], BLOCK)
    ]
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

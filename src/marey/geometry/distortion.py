"""Lens distortion in OpenCV's models: the maps, their derivatives, where they fold, and their inverses.

Internal to the room: everything works on the components x, y (..., N) of normalised image coordinates and on the
coefficients of the cameras as tensors (..., 1). `projection` holds the public functions.

Sources: OpenCV, "Camera Calibration and 3D Reconstruction" (rational, thin prism and tilted model) and "Fisheye camera
model" (Kannala and Brandt 2006).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Cameras

NEWTON_STEPS = 8
"""At most. Usual lenses need 2 or 3; the rest is for the rim of the image near a fold."""

BLOCK = 4096
"""Points of each view solved at once without compilation."""

_FOLD_ANGLES = torch.linspace(0.0, torch.pi / 2, 129, dtype=torch.float64)[1:-1]
_SMALL_RADIUS_SQUARED = 1e-8

# The factor of each coefficient in twice the derivative of its polynomial with respect to s = r^2.
_SLOPES = torch.tensor([2.0, 4, 2, 2, 6, 2, 4, 6, 2, 4, 2, 4, 0, 0], dtype=torch.float64)
_ANGULAR_SLOPES = torch.tensor([2.0, 4, 6, 8], dtype=torch.float64)


class Series(NamedTuple):
    """A polynomial 1 + k1 s + k2 s^2 + ... of s = r^2 whose coefficients (..., 1) broadcast over points."""

    value: tuple[Tensor, ...]
    """1, k1, k2, ..."""
    slope: tuple[Tensor, ...]
    """2 k1, 4 k2, ...: twice the derivative, so that d/dx = slope x."""


class Fisheye(NamedTuple):
    """The lenses of the batch that follow the fisheye model."""

    mask: Tensor
    """(..., 1) boolean."""
    series: Series
    """k1 k2 k3 k4 over s = theta^2."""


class Lens(NamedTuple):
    """The coefficients of cameras, each (..., 1) so that it broadcasts over points; terms that nobody has are None."""

    radial: Series | None
    """k1 k2 k3; None: no camera of the batch has any lens."""
    denominator: Series | None
    """k4 k5 k6."""
    tangential: tuple[Tensor, ...]
    """p1, p2, 2 p1, 2 p2."""
    prism: tuple[Series, Series] | None
    """s1 s2 along x and s3 s4 along y, without the leading 1."""
    tilt: Tensor | None
    """(..., 1, 3, 3) homography of the tilted sensor."""
    fisheye: Fisheye | None
    """Where its mask holds, the polynomial terms above are zero."""


class Warp(NamedTuple):
    """A warped point (x, y) and its derivative [[xx, xy], [yx, yy]] with respect to the point before the warp."""

    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yx: Tensor
    yy: Tensor


def lens_of(cameras: Cameras, dtype: torch.dtype, *, detach: bool = False) -> Lens:
    """Split the coefficients of cameras with the batch shape (...) into their parts."""
    coefficients = cameras.distortion.to(dtype)
    if detach:
        coefficients = coefficients.detach()
    terms = coefficients.shape[-1]
    if terms == 0:
        return Lens(None, None, (), None, None, None)
    fisheye = None
    if cameras.fisheye is not None:
        mask = cameras.fisheye[..., None]
        fisheye = Fisheye(mask, Series(*_split(coefficients[..., :4], _ANGULAR_SLOPES)))
        coefficients = torch.where(mask, 0.0, coefficients)
    (one, *k), slope = _split(coefficients, _SLOPES[:terms])
    places = [0, 1, 4] if terms > 4 else [0, 1]
    return Lens(
        radial=Series((one, *(k[i] for i in places)), tuple(slope[i] for i in places)),
        denominator=Series((one, *k[5:8]), slope[5:8]) if terms >= 8 else None,
        tangential=(*k[2:4], *slope[2:4]),
        prism=(Series(tuple(k[8:10]), slope[8:10]), Series(tuple(k[10:12]), slope[10:12])) if terms >= 12 else None,
        tilt=tilt_homography(k[12], k[13]) if terms == 14 else None,
        fisheye=fisheye,
    )


def _split(coefficients: Tensor, factors: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """1 and the coefficients, and the coefficients times `factors`, as tensors (..., 1)."""
    value = torch.nn.functional.pad(coefficients, (1, 0), value=1.0)[..., None, :].unbind(-1)
    return value, (coefficients * factors.to(coefficients))[..., None, :].unbind(-1)


def tilt_homography(tau_x: Tensor, tau_y: Tensor) -> Tensor:
    """Build the homography (..., 3, 3) of a sensor tilted by `tau_x`, then `tau_y`, radians (...) each."""
    sx, cx, sy, cy = tau_x.sin(), tau_x.cos(), tau_y.sin(), tau_y.cos()
    zero, one = torch.zeros_like(sx), torch.ones_like(sx)
    # rotation = Ry Rx; the homography projects rotation @ (x, y, 1) back to the plane z = 1 along the optical axis
    rows = (
        (cy, sy * sx, -sy * cx),
        (zero, cx, sx),
        (sy, -cy * sx, cy * cx),
    )
    rotation = torch.stack([torch.stack(row, -1) for row in rows], -2)
    r02, r12, r22 = rotation[..., 0, 2], rotation[..., 1, 2], rotation[..., 2, 2]
    back = ((r22, zero, -r02), (zero, r22, -r12), (zero, zero, one))
    return torch.stack([torch.stack(row, -1) for row in back], -2) @ rotation


def distort_components(x: Tensor, y: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Warp ideal to distorted normalised coordinates."""
    if lens.radial is None:
        return x, y
    s = torch.addcmul(x * x, y, y)
    _, xd, yd = _polynomial(x, y, s, lens)
    if lens.fisheye is not None:
        mask, series = lens.fisheye
        scale, _ = _angular_scale(s, series)
        xd, yd = torch.where(mask, x * scale, xd), torch.where(mask, y * scale, yd)
    if lens.tilt is not None:
        tilted = _homography_warp(xd, yd, lens.tilt)
        xd, yd = tilted.x, tilted.y
    return xd, yd


def distort_warp(x: Tensor, y: Tensor, lens: Lens) -> Warp:
    """Warp ideal to distorted normalised coordinates, with the derivative."""
    if lens.radial is None:
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        return Warp(x, y, one, zero, zero, one)
    s = torch.addcmul(x * x, y, y)
    warp = _polynomial_warp(x, y, s, lens)
    if lens.fisheye is not None:
        mask, series = lens.fisheye
        angular = _fisheye_warp(x, y, s, series)
        warp = Warp(*(torch.where(mask, a, b) for a, b in zip(angular, warp, strict=True)))
    return warp if lens.tilt is None else _chain(_homography_warp(warp.x, warp.y, lens.tilt), warp)


def undistort_warp(xd: Tensor, yd: Tensor, cameras: Cameras) -> tuple[Warp, Tensor]:
    """Invert `distort_components`: the ideal point, the derivative of the inverse (a constant), and where it is valid.

    Newton's iteration runs outside of the graph; one further step inside it carries the derivatives with respect to
    the point and to the coefficients (implicit function theorem).
    """
    lens = lens_of(cameras, xd.dtype)
    if lens.radial is None:
        return distort_warp(xd, yd, lens), xd.isfinite() & yd.isfinite()
    flat = None
    if lens.tilt is not None:
        flat = _homography_warp(xd, yd, _inverse_homography(lens.tilt))
        xd, yd = flat.x, flat.y
        lens = lens._replace(tilt=None)
    outside = lens_of(cameras, xd.dtype, detach=True)._replace(tilt=None) if torch.is_grad_enabled() else lens
    x, y = _newton_in_blocks(xd.detach(), yd.detach(), outside)
    valid = torch.addcmul(x * x, y, y) < fold_radius(outside).square()
    x, y = torch.where(valid, x, 0.0), torch.where(valid, y, 0.0)
    warp = distort_warp(x, y, lens)
    xx, xy, yx, yy, determinant = _inverse_derivative(warp)
    dx, dy = xd - warp.x, yd - warp.y
    step_x, step_y = torch.addcmul(xx * dx, xy, dy), torch.addcmul(yx * dx, yy, dy)
    small = torch.maximum(step_x.abs(), step_y.abs()) < _tolerance(x)
    solved = Warp(x + step_x, y + step_y, xx, xy, yx, yy)
    return (solved if flat is None else _chain(solved, flat)), valid & small & (determinant > 0)


def fold_radius(lens: Lens) -> Tensor:
    """The largest ideal radius (..., 1) up to which the radial map grows; inf where it never folds.

    Beyond it the model is no lens: two ideal points share one image point, and an inverse would be arbitrary. Sampled
    over the angle to the optical axis, so it is good to 1 %; the sign of the exact determinant decides at the rim.
    """
    assert lens.radial is not None
    angle = _FOLD_ANGLES.to(lens.radial.value[0])
    radius = angle.tan()
    s = radius * radius
    # d(r N/D)/dr = (N D + 2 s (N' D - N D')) / D^2
    value = _sum(s, lens.radial.value)
    growth = torch.addcmul(value, s, _sum(s, lens.radial.slope))
    if lens.denominator is not None:
        below = _sum(s, lens.denominator.value)
        growth = torch.where(below > 0, growth * below - s * value * _sum(s, lens.denominator.slope), -1.0)
    if lens.fisheye is not None:
        mask, series = lens.fisheye
        t = angle * angle
        growth = torch.where(mask, torch.addcmul(_sum(t, series.value), t, _sum(t, series.slope)), growth)
    return torch.where(growth > 0, torch.inf, radius).amin(-1, keepdim=True)


def _newton_in_blocks(xd: Tensor, yd: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Run `_newton` on blocks of points that fit the cache, each with as many steps as it needs."""
    if torch.compiler.is_compiling() or xd.shape[-1] <= BLOCK:
        return _newton(xd, yd, lens)
    blocks = zip(torch.split(xd, BLOCK, dim=-1), torch.split(yd, BLOCK, dim=-1), strict=True)
    x, y = zip(*(_newton(x, y, lens) for x, y in blocks), strict=True)
    return torch.cat(x, -1), torch.cat(y, -1)


def _newton(xd: Tensor, yd: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """Solve for the ideal point, one step short of full precision."""
    x, y = xd, yd
    if lens.fisheye is not None:
        mask, series = lens.fisheye
        radius = torch.addcmul(xd * xd, yd, yd).sqrt()
        scale = _angle_to_radius(radius, series) / radius
        scale = torch.where(mask & (radius > _SMALL_RADIUS_SQUARED), scale, 1.0)
        x, y = xd * scale, yd * scale
    tolerance = _tolerance(x)
    for _ in range(NEWTON_STEPS):
        warp = distort_warp(x, y, lens)
        xx, xy, yx, yy, _ = _inverse_derivative(warp)
        dx, dy = xd - warp.x, yd - warp.y
        step_x, step_y = torch.addcmul(xx * dx, xy, dy), torch.addcmul(yx * dx, yy, dy)
        x, y = x + step_x, y + step_y
        # A graph has a fixed number of steps; eager code stops when every point is there.
        if not torch.compiler.is_compiling() and not (torch.maximum(step_x.abs(), step_y.abs()) > tolerance).any():
            break
    return x, y


def _tolerance(x: Tensor) -> float:
    """A step of Newton's below this makes the next one exact: its square is below the rounding."""
    return float(torch.finfo(x.dtype).eps ** (1 / 3))


def _inverse_derivative(warp: Warp) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The inverse of the derivative, as constants, and its determinant; zero where it is singular."""
    xx, xy, yx, yy = (value.detach() for value in warp[2:])
    determinant = torch.addcmul(xx * yy, xy, yx, value=-1)
    inverse = determinant.reciprocal()
    minus = -inverse
    return yy * inverse, xy * minus, yx * minus, xx * inverse, determinant


def _angle_to_radius(distorted: Tensor, series: Series) -> Tensor:
    """Fisheye: the ideal radius tan(theta) of a distorted radius; NaN beyond a right angle."""
    theta = distorted
    for _ in range(NEWTON_STEPS):
        t = theta * theta
        value = _sum(t, series.value)
        theta = theta - (theta * value - distorted) / torch.addcmul(value, t, _sum(t, series.slope))
    return torch.where((theta >= 0) & (theta < torch.pi / 2), theta.tan(), torch.nan)


def _polynomial(x: Tensor, y: Tensor, s: Tensor, lens: Lens) -> tuple[Tensor, Tensor, Tensor]:
    """The factor of (x, y), and the distorted point."""
    assert lens.radial is not None
    gain = _sum(s, lens.radial.value)
    if lens.denominator is not None:
        gain = gain / _sum(s, lens.denominator.value)
    p1, p2, twice_p1, twice_p2 = lens.tangential
    gain = torch.addcmul(torch.addcmul(gain, twice_p2, x), twice_p1, y)
    xd, yd = torch.addcmul(p2 * s, x, gain), torch.addcmul(p1 * s, y, gain)
    if lens.prism is not None:
        along_x, along_y = lens.prism
        xd, yd = torch.addcmul(xd, s, _sum(s, along_x.value)), torch.addcmul(yd, s, _sum(s, along_y.value))
    return gain, xd, yd


def _polynomial_warp(x: Tensor, y: Tensor, s: Tensor, lens: Lens) -> Warp:
    assert lens.radial is not None
    gain, xd, yd = _polynomial(x, y, s, lens)
    slope = _sum(s, lens.radial.slope)
    if lens.denominator is not None:
        below = _sum(s, lens.denominator.value)
        ratio = _sum(s, lens.radial.value) / below
        slope = (slope - ratio * _sum(s, lens.denominator.slope)) / below
    # with v = (x, y), p = (p2, p1): J = gain I + slope v v^T + 2 v p^T + 2 p v^T
    _, _, twice_p1, twice_p2 = lens.tangential
    xx = torch.addcmul(gain, x, torch.addcmul(twice_p2 + twice_p2, slope, x))
    yy = torch.addcmul(gain, y, torch.addcmul(twice_p1 + twice_p1, slope, y))
    xy = yx = torch.addcmul(twice_p2 * y, x, torch.addcmul(twice_p1, slope, y))
    if lens.prism is not None:
        # d/dx of s1 s + s2 s^2 is x (2 s1 + 4 s2 s)
        bend_x, bend_y = _sum(s, lens.prism[0].slope), _sum(s, lens.prism[1].slope)
        xx, xy = torch.addcmul(xx, bend_x, x), torch.addcmul(xy, bend_x, y)
        yx, yy = torch.addcmul(yx, bend_y, x), torch.addcmul(yy, bend_y, y)
    return Warp(xd, yd, xx, xy, yx, yy)


def _fisheye_warp(x: Tensor, y: Tensor, s: Tensor, series: Series) -> Warp:
    scale, slope = _angular_scale(s, series)
    cross = slope * x * y
    return Warp(x * scale, y * scale, torch.addcmul(scale, slope * x, x), cross, cross, scale + slope * y * y)


def _angular_scale(s: Tensor, series: Series) -> tuple[Tensor, Tensor]:
    """theta_d / r as a function of s = r^2, and twice its derivative."""
    near = s < _SMALL_RADIUS_SQUARED
    safe = torch.where(near, 1.0, s)
    radius = safe.sqrt()
    theta = radius.atan()
    t = theta * theta
    value = _sum(t, series.value)
    scale = theta * value / radius
    slope = (torch.addcmul(value, t, _sum(t, series.slope)) / (1 + safe) - scale) / safe
    first = series.value[1] - 1 / 3  # theta_d / r = 1 + (k1 - 1/3) s + ...
    return torch.where(near, 1 + first * s, scale), torch.where(near, 2 * first, slope)


def _homography_warp(x: Tensor, y: Tensor, h: Tensor) -> Warp:
    w = h[..., 2, 0] * x + h[..., 2, 1] * y + h[..., 2, 2]
    u = (h[..., 0, 0] * x + h[..., 0, 1] * y + h[..., 0, 2]) / w
    v = (h[..., 1, 0] * x + h[..., 1, 1] * y + h[..., 1, 2]) / w
    return Warp(
        u,
        v,
        (h[..., 0, 0] - u * h[..., 2, 0]) / w,
        (h[..., 0, 1] - u * h[..., 2, 1]) / w,
        (h[..., 1, 0] - v * h[..., 2, 0]) / w,
        (h[..., 1, 1] - v * h[..., 2, 1]) / w,
    )


def _inverse_homography(h: Tensor) -> Tensor:
    """Up to scale: the adjugate, whose columns are cross products of the rows."""
    a, b, c = h.unbind(-2)
    crosses = (torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b))
    return torch.stack(crosses, -1)


def _chain(outer: Warp, inner: Warp) -> Warp:
    """The derivative of `outer` after `inner`, at the point of `outer`."""
    return Warp(
        outer.x,
        outer.y,
        outer.xx * inner.xx + outer.xy * inner.yx,
        outer.xx * inner.xy + outer.xy * inner.yy,
        outer.yx * inner.xx + outer.yy * inner.yx,
        outer.yx * inner.xy + outer.yy * inner.yy,
    )


def _sum(s: Tensor, coefficients: tuple[Tensor, ...]) -> Tensor:
    """c0 + c1 s + c2 s^2 + ... by Horner's rule."""
    total = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        total = torch.addcmul(coefficient, total, s)
    return total

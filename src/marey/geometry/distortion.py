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
"""Quadratic convergence needs 3 to 5 for usual lenses; the rest is for the rim of the image near a fold."""

_FOLD_SAMPLES = 128
_SMALL_RADIUS_SQUARED = 1e-8


class Lens(NamedTuple):
    """The coefficients of cameras, each (..., 1) so that it broadcasts over points; terms that nobody has are empty."""

    radial: tuple[Tensor, ...]
    """k1 k2 k3 of the numerator; missing ones left out."""
    denominator: tuple[Tensor, ...]
    """k4 k5 k6."""
    tangential: tuple[Tensor, ...]
    """p1 p2."""
    prism: tuple[Tensor, ...]
    """s1 s2 s3 s4."""
    tilt: Tensor | None
    """(..., 1, 3, 3) homography of the tilted sensor."""
    fisheye: Tensor | None
    """(..., 1) boolean."""
    angular: tuple[Tensor, ...]
    """k1 k2 k3 k4 of the fisheye model."""

    @property
    def is_identity(self) -> bool:
        """Whether no camera of the batch has any distortion model."""
        return not self.radial and self.fisheye is None

    def detach(self) -> Lens:
        """The same lens outside of the graph."""

        def cut(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(value.detach() for value in values)

        return Lens(
            cut(self.radial),
            cut(self.denominator),
            cut(self.tangential),
            cut(self.prism),
            None if self.tilt is None else self.tilt.detach(),
            self.fisheye,
            cut(self.angular),
        )


class Warp(NamedTuple):
    """A warped point (x, y) and its derivative [[xx, xy], [yx, yy]] with respect to the point before the warp."""

    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yx: Tensor
    yy: Tensor


def lens_of(cameras: Cameras, dtype: torch.dtype) -> Lens:
    """Split the coefficients of cameras with the batch shape (...) into their parts."""
    coefficients = cameras.distortion.to(dtype)
    fisheye = None
    angular: tuple[Tensor, ...] = ()
    if cameras.fisheye is not None:
        angular = coefficients[..., None, :4].unbind(-1)
        coefficients = torch.where(cameras.fisheye[..., None], 0.0, coefficients)
        fisheye = cameras.fisheye[..., None]
    k = coefficients[..., None, :].unbind(-1)
    return Lens(
        radial=(*k[:2], *k[4:5]),
        denominator=k[5:8],
        tangential=k[2:4],
        prism=k[8:12],
        tilt=tilt_homography(*k[12:14]) if len(k) == 14 else None,
        fisheye=fisheye,
        angular=angular,
    )


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
    if lens.is_identity:
        return x, y
    xd, yd = _polynomial(x, y, lens)
    if lens.fisheye is not None:
        scale, _ = _angular_scale(torch.addcmul(x * x, y, y), lens)
        xd, yd = torch.where(lens.fisheye, x * scale, xd), torch.where(lens.fisheye, y * scale, yd)
    if lens.tilt is not None:
        h = lens.tilt
        w = h[..., 2, 0] * xd + h[..., 2, 1] * yd + h[..., 2, 2]
        xd, yd = (
            (h[..., 0, 0] * xd + h[..., 0, 1] * yd + h[..., 0, 2]) / w,
            (h[..., 1, 0] * xd + h[..., 1, 1] * yd + h[..., 1, 2]) / w,
        )
    return xd, yd


def distort_warp(x: Tensor, y: Tensor, lens: Lens) -> Warp:
    """Warp ideal to distorted normalised coordinates, with the derivative."""
    if lens.is_identity:
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        return Warp(x, y, one, zero, zero, one)
    warp = _polynomial_warp(x, y, lens)
    if lens.fisheye is not None:
        warp = Warp(*(torch.where(lens.fisheye, a, b) for a, b in zip(_fisheye_warp(x, y, lens), warp, strict=True)))
    return warp if lens.tilt is None else _chain(_homography_warp(warp.x, warp.y, lens.tilt), warp)


def undistort_warp(xd: Tensor, yd: Tensor, lens: Lens) -> tuple[Warp, Tensor]:
    """Invert `distort_components`: the ideal point, the derivative of the inverse (a constant), and where it is valid.

    Newton's iteration runs outside of the graph; one further step inside it carries the derivatives with respect to
    the point and to the coefficients (implicit function theorem).
    """
    flat = None
    if lens.tilt is not None:
        flat = _homography_warp(xd, yd, _inverse_homography(lens.tilt))
        xd, yd = flat.x, flat.y
    plain = lens._replace(tilt=None)
    x, y, valid = _newton(xd.detach(), yd.detach(), plain.detach())
    zero = torch.zeros_like(x)
    x, y = torch.where(valid, x, zero), torch.where(valid, y, zero)
    warp = distort_warp(x, y, plain)
    determinant = (warp.xx * warp.yy - warp.xy * warp.yx).detach()
    valid = valid & (determinant > 0)
    inverse = torch.where(valid, determinant, 1.0).reciprocal()
    xx, xy = warp.yy.detach() * inverse, -warp.xy.detach() * inverse
    yx, yy = -warp.yx.detach() * inverse, warp.xx.detach() * inverse
    dx, dy = xd - warp.x, yd - warp.y
    solved = Warp(x + xx * dx + xy * dy, y + yx * dx + yy * dy, xx, xy, yx, yy)
    return (solved if flat is None else _chain(solved, flat)), valid


def fold_radius(lens: Lens) -> Tensor:
    """The largest ideal radius (..., 1) up to which the radial map grows; inf where it never folds.

    Beyond it the model is no lens: two ideal points share one image point, and an inverse would be arbitrary. Sampled
    over the angle to the optical axis, so it is good to 1 %; the sign of the exact determinant decides at the rim.
    """
    k = lens.radial
    angle = torch.linspace(0.0, torch.pi / 2, _FOLD_SAMPLES + 1, dtype=k[0].dtype, device=k[0].device)[1:-1]
    s = angle.tan().square()
    numerator, slope = _series(s, k), _series_slope(s, k)
    denominator, denominator_slope = _series(s, lens.denominator), _series_slope(s, lens.denominator)
    # d(r N/D)/dr = (N D + 2 s (N' D - N D')) / D^2
    growth = numerator * denominator + 2 * s * (slope * denominator - numerator * denominator_slope)
    grows = (growth > 0) & (denominator > 0)
    if lens.fisheye is not None:
        t = angle.square()
        turn = _series(t, lens.angular) + 2 * t * _series_slope(t, lens.angular)
        grows = torch.where(lens.fisheye, turn > 0, grows)
    folded = (~grows).cummax(-1).values
    first = torch.where(folded, angle, torch.pi).amin(-1, keepdim=True)
    return torch.where(first > torch.pi / 2, torch.inf, first.tan())


def _newton(xd: Tensor, yd: Tensor, lens: Lens) -> tuple[Tensor, Tensor, Tensor]:
    """Solve for the ideal point; valid where the last step was small and the point lies before the fold."""
    x, y = xd, yd
    if lens.fisheye is not None:
        radius = (xd * xd + yd * yd).sqrt()
        scale = _angle_to_radius(radius, lens) / radius.clamp(min=_SMALL_RADIUS_SQUARED)
        scale = torch.where(lens.fisheye & (radius > _SMALL_RADIUS_SQUARED), scale, 1.0)
        x, y = xd * scale, yd * scale
    step = torch.zeros_like(x)
    for _ in range(NEWTON_STEPS):
        warp = distort_warp(x, y, lens)
        dx, dy = xd - warp.x, yd - warp.y
        inverse = (warp.xx * warp.yy - warp.xy * warp.yx).reciprocal()
        step_x = (warp.yy * dx - warp.xy * dy) * inverse
        step_y = (warp.xx * dy - warp.yx * dx) * inverse
        x, y = x + step_x, y + step_y
        step = torch.maximum(step_x.abs(), step_y.abs())
    radius_squared = x * x + y * y
    small = torch.finfo(x.dtype).eps ** 0.5 * (1 + radius_squared)
    return x, y, (step < small) & (radius_squared < fold_radius(lens).square())


def _angle_to_radius(distorted: Tensor, lens: Lens) -> Tensor:
    """Fisheye: the ideal radius tan(theta) of a distorted radius; NaN beyond a right angle."""
    theta = distorted
    for _ in range(NEWTON_STEPS):
        t = theta * theta
        value = _series(t, lens.angular)
        slope = value + 2 * t * _series_slope(t, lens.angular)
        theta = theta - (theta * value - distorted) / slope
    return torch.where((theta >= 0) & (theta < torch.pi / 2), theta.tan(), torch.nan)


def _polynomial(x: Tensor, y: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    s = torch.addcmul(x * x, y, y)
    ratio = _series(s, lens.radial)
    if lens.denominator:
        ratio = ratio / _series(s, lens.denominator)
    p1, p2 = lens.tangential
    gain = ratio + 2 * torch.addcmul(p2 * x, p1, y)
    xd, yd = torch.addcmul(p2 * s, x, gain), torch.addcmul(p1 * s, y, gain)
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        xd, yd = xd + s * (s1 + s * s2), yd + s * (s3 + s * s4)
    return xd, yd


def _polynomial_warp(x: Tensor, y: Tensor, lens: Lens) -> Warp:
    s = torch.addcmul(x * x, y, y)
    ratio, slope = _series(s, lens.radial), _series_slope(s, lens.radial)
    if lens.denominator:
        below = _series(s, lens.denominator)
        ratio = ratio / below
        slope = (slope - ratio * _series_slope(s, lens.denominator)) / below
    p1, p2 = lens.tangential
    gain = ratio + 2 * torch.addcmul(p2 * x, p1, y)
    xd, yd = torch.addcmul(p2 * s, x, gain), torch.addcmul(p1 * s, y, gain)
    # J = gain I + v a^T + 2 p v^T with v = (x, y), p = (p2, p1), a = 2 slope v + 2 p
    ax, ay = 2 * torch.addcmul(p2, slope, x), 2 * torch.addcmul(p1, slope, y)
    xx, xy = torch.addcmul(gain, x, ax + 2 * p2), torch.addcmul(2 * p2 * y, x, ay)
    yx, yy = torch.addcmul(2 * p1 * x, y, ax), torch.addcmul(gain, y, ay + 2 * p1)
    if lens.prism:
        s1, s2, s3, s4 = lens.prism
        xd, yd = xd + s * (s1 + s * s2), yd + s * (s3 + s * s4)
        bend_x, bend_y = 2 * (s1 + 2 * s * s2), 2 * (s3 + 2 * s * s4)
        xx, xy = torch.addcmul(xx, bend_x, x), torch.addcmul(xy, bend_x, y)
        yx, yy = torch.addcmul(yx, bend_y, x), torch.addcmul(yy, bend_y, y)
    return Warp(xd, yd, xx, xy, yx, yy)


def _fisheye_warp(x: Tensor, y: Tensor, lens: Lens) -> Warp:
    scale, slope = _angular_scale(torch.addcmul(x * x, y, y), lens)
    cross = 2 * slope * x * y
    return Warp(x * scale, y * scale, scale + 2 * slope * x * x, cross, cross, scale + 2 * slope * y * y)


def _angular_scale(s: Tensor, lens: Lens) -> tuple[Tensor, Tensor]:
    """theta_d / r as a function of s = r^2, and its derivative."""
    near = s < _SMALL_RADIUS_SQUARED
    safe = torch.where(near, 1.0, s)
    radius = safe.sqrt()
    theta = radius.atan()
    t = theta * theta
    value = _series(t, lens.angular)
    scale = theta * value / radius
    slope = ((value + 2 * t * _series_slope(t, lens.angular)) / (1 + safe) - scale) / (2 * safe)
    first = lens.angular[0] - 1 / 3
    return torch.where(near, 1 + first * s, scale), torch.where(near, first, slope)


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


def _series(s: Tensor, k: tuple[Tensor, ...]) -> Tensor:
    """1 + k1 s + k2 s^2 + ..."""
    if not k:
        return torch.ones_like(s)
    total = k[-1]
    for coefficient in reversed(k[:-1]):
        total = torch.addcmul(coefficient, total, s)
    return 1 + total * s


def _series_slope(s: Tensor, k: tuple[Tensor, ...]) -> Tensor:
    """The derivative of `_series` with respect to s."""
    if not k:
        return torch.zeros_like(s)
    total = len(k) * k[-1]
    for power in range(len(k) - 1, 0, -1):
        total = torch.addcmul(power * k[power - 1], total, s)
    return total

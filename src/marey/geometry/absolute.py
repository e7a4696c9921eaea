"""From root-relative joints and their pixels to absolute joints in the camera's frame.

A camera sees `x_j = pi(P_j + t)`, P_j being a body of known size in an unknown place t. Multiplied out, the projection
is linear in t: with ideal normalised coordinates n_j,

    t_x - n_x t_z = n_x P_z - P_x,    t_y - n_y t_z = n_y P_z - P_y,

two rows a joint, three unknowns: the start (`perspective="full"`; with means and spreads instead, "weak"). Gauss-Newton
steps then lower the true reprojection error, each joint weighted by the covariance of its pixels and of P_j carried
into the image, `S_j + G_j C_j G_j^T`. Every system is 3x3 and is solved in closed form. The steps move along the mean
ray and across it rather than along the axes, so that the systems stay well conditioned for people far away, in single
precision too.

`absolute_joints` goes on to the posterior of every joint: given t, a joint is its prior `P_j + t` with the covariance
C_j, measured by its pixels (a Kalman update with two numbers); the uncertainty of t is added to all.

Two unknowns leave no trace in the pixels and come in by their priors alone. A body larger by a factor s stands s times
further away and looks exactly the same; a focal length longer by a factor s puts a body nearly s times further away.
Either way the covariance gains `(sd(s)/s)^2 X X^T`, along the ray through the joint. (For the focal length that is too
much across the optical axis, where the two effects of a longer lens cancel; it keeps the joints on their pixels.)

Full-perspective placement with weights: Sarandi et al., MeTRAbs (2021), section 3.3, there without covariances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.projection import pixels_to_normalised, project_from_camera, undistort_pixels
from marey.geometry.small import inverse_2x2, inverse_3x3_symmetric, solve_3x3_symmetric

Perspective = Literal["full", "weak"]

STEPS = 6
"""Of Gauss-Newton; from the linear solution two or three suffice."""
_TOLERATED = 9.0
"""Squared Mahalanobis distance up to which a joint counts fully."""
_NEAREST = 0.05
"""Metres in front of the camera; what is nearer does not count."""
_LEAST_JOINTS = 2
_LARGEST_CHANGE = 0.5
"""Of the mean depth in one step."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the bodies stand, in the camera's frame."""

    translation: Tensor
    """(..., 3) metres, to be added to the relative joints; NaN with fewer than two usable joints, where their pixels
    coincide, or where the body would lie behind the camera."""
    covariance: Tensor
    """(..., 3, 3) square metres; NaN where the translation is."""
    residuals: Tensor
    """(..., J) distance in pixels from the keypoint to the joint as placed; NaN where either is missing."""
    weights: Tensor
    """(..., J) in 0..1, what each joint counted; 0 for one that is missing."""


@dataclass(frozen=True, kw_only=True)
class AbsoluteJoints:
    """Joints in the camera's frame."""

    positions: Tensor
    """(..., J, 3) metres; NaN where the relative joint or the placement is unknown."""
    covariance: Tensor
    """(..., J, 3, 3) square metres, what all joints share (place, size, focal length) included."""
    placement: Placement
    """Of the relative joints, before each was moved towards its own pixels."""


def place_by_projection(
    relative: Tensor,
    pixels: Tensor,
    cameras: Cameras,
    *,
    pixel_covariance: Tensor | None = None,
    relative_covariance: Tensor | None = None,
    weights: Tensor | None = None,
    perspective: Perspective = "full",
    robust: bool = True,
    steps: int = STEPS,
) -> Placement:
    """Find the translation that projects relative joints onto their pixels.

    Differentiable in joints, pixels and cameras, the robust weights being constants. Cost: linear in the joints, the
    steps and the batch.

    Args:
        relative: (..., J, 3) metres in axes parallel to the camera's, of any origin; NaN = missing. The leading
            dimensions begin with the cameras' batch dimensions.
        pixels: (..., J, 2); NaN = not seen.
        cameras: intrinsics suffice.
        pixel_covariance: broadcastable to (..., J, 2, 2), square pixels; None: 1. NaN = not seen.
        relative_covariance: broadcastable to (..., J, 3, 3), square metres, of errors that are independent from joint
            to joint; None: 0.
        weights: broadcastable to (..., J), multiplied into the information of each joint; 0 = not used.
        perspective: how the start is found. With `steps=0` it is the result.
        robust: let joints farther off than 3 sigma count less, by `min(1, 9 / d^2)^1.5`.
        steps: of Gauss-Newton.

    Raises:
        ShapeError: the shapes do not fit together, or the joints are no floating-point numbers.
        InputError: there is no such perspective.
    """
    problem = _Problem.of(relative, pixels, cameras, pixel_covariance, relative_covariance, weights)
    if perspective not in get_args(Perspective):
        raise InputError(f"perspective: expected one of {', '.join(get_args(Perspective))}, got '{perspective}'")
    place = problem.linear_start() if perspective == "full" else problem.weak_start()
    weight = torch.ones_like(problem.share)
    for _ in range(steps):
        system = problem.linearised(place)
        if robust:
            weight = _robust_weight(system.distance)
        place = problem.improved(place, system, weight)
    system = problem.linearised(place)
    if robust:
        weight = _robust_weight(system.distance)
    counted = torch.where(system.used, weight * problem.share, 0.0)
    known = _is_known(place, counted, problem)
    missing = torch.where(known, 0.0, torch.nan)
    joints = relative + place[..., None, :]
    residuals = (project_from_camera(joints + missing[..., None, None], cameras) - pixels).square().sum(-1).sqrt()
    return Placement(
        translation=place + missing[..., None],
        covariance=problem.covariance(system, weight) + missing[..., None, None],
        residuals=residuals,
        weights=torch.where(known[..., None], torch.where(system.used, weight, 0.0), 0.0),
    )


def absolute_joints(
    relative: Tensor,
    pixels: Tensor,
    cameras: Cameras,
    *,
    relative_covariance: Tensor,
    pixel_covariance: Tensor | None = None,
    weights: Tensor | None = None,
    distance_deviation: Tensor | float = 0.0,
    robust: bool = True,
) -> AbsoluteJoints:
    """Place relative joints by their pixels, and move each by its own pixels as far as its covariance allows.

    Args:
        relative: (..., J, 3) metres, as of `place_by_projection`.
        pixels: (..., J, 2); a joint that is not seen keeps its place relative to the others.
        cameras: intrinsics suffice.
        relative_covariance: broadcastable to (..., J, 3, 3), square metres, of errors that are independent from joint
            to joint.
        pixel_covariance: broadcastable to (..., J, 2, 2), square pixels; None: 1.
        weights: broadcastable to (..., J), multiplied into the information of the pixels.
        distance_deviation: broadcastable to (...), relative standard deviation of the distance by what the pixels do
            not show: the size of the whole body, the focal length.
        robust: as of `place_by_projection`.

    Raises:
        ShapeError: the shapes do not fit together, or the joints are no floating-point numbers.
    """
    placement = place_by_projection(
        relative,
        pixels,
        cameras,
        pixel_covariance=pixel_covariance,
        relative_covariance=relative_covariance,
        weights=weights,
        robust=robust,
    )
    problem = _Problem.of(relative, pixels, cameras, pixel_covariance, relative_covariance, weights)
    prior = relative + placement.translation[..., None, :]
    at = prior
    for _ in range(2):
        at, gain, jacobian = problem.updated(prior, at, placement.weights)
    kept = torch.eye(3, dtype=at.dtype, device=at.device) - gain @ jacobian
    own = kept @ problem.spread
    shared = kept @ placement.covariance[..., None, :, :] @ kept.mT
    further = torch.as_tensor(distance_deviation, dtype=at.dtype, device=at.device)[..., None, None, None].square()
    covariance = (own + own.mT) / 2 + shared + further * at[..., None] * at[..., None, :]
    return AbsoluteJoints(positions=at, covariance=covariance, placement=placement)


@dataclass(frozen=True)
class _System:
    """The projection of the joints at one place: residuals and derivatives in normalised coordinates."""

    residual: Tensor
    """(..., J, 2) seen minus projected; 0 where unused."""
    jacobian: Tensor
    """(..., J, 2, 3) by the step along (across, across, mean ray)."""
    information: Tensor
    """(..., J, 2, 2), prior weights included; 0 where unused."""
    distance: Tensor
    """(..., J) squared Mahalanobis length of the residuals."""
    used: Tensor
    """(..., J)"""


@dataclass(frozen=True)
class _Problem:
    """Relative joints and normalised points, zeros where missing."""

    relative: Tensor
    """(..., J, 3)"""
    points: Tensor
    """(..., J, 2) ideal normalised coordinates."""
    noise: Tensor
    """(..., J, 2, 2) of the points."""
    spread: Tensor
    """(..., J, 3, 3) of the relative joints."""
    share: Tensor
    """(..., J) prior weights; 0 where anything is missing."""
    ray: Tensor
    """(..., 3) mean of the points, with depth 1."""

    @classmethod
    def of(
        cls,
        relative: Tensor,
        pixels: Tensor,
        cameras: Cameras,
        pixel_covariance: Tensor | None,
        relative_covariance: Tensor | None,
        weights: Tensor | None,
    ) -> _Problem:
        _check(relative, pixels)
        shape, dtype = relative.shape[:-1], relative.dtype
        points, carry = ideal_points(pixels.to(dtype), cameras)
        eye = torch.eye(3, dtype=dtype, device=points.device)
        noise = eye[:2, :2] if pixel_covariance is None else pixel_covariance
        noise = carry @ _spread_over(noise.to(dtype), (*shape, 2, 2)) @ carry.mT
        spread = torch.zeros_like(eye) if relative_covariance is None else relative_covariance
        spread = _spread_over(spread.to(dtype), (*shape, 3, 3))
        share = _spread_over(eye[0, 0] if weights is None else weights.to(dtype), shape)
        there = points.isfinite().all(-1) & relative.isfinite().all(-1) & (share > 0)
        there = there & noise.isfinite().all(-1).all(-1) & spread.isfinite().all(-1).all(-1)
        share = torch.where(there, share, 0.0)
        points = torch.where(there[..., None], points, 0.0)
        center = (share[..., None] * points).sum(-2) / _positive(share.sum(-1))[..., None]
        return cls(
            relative=torch.where(there[..., None], relative, 0.0),
            points=points,
            noise=torch.where(there[..., None, None], noise, eye[:2, :2]),
            spread=torch.where(spread.isfinite(), spread, 0.0),
            share=share,
            ray=torch.cat((center, torch.ones_like(center[..., :1])), -1).detach(),
        )

    def linear_start(self) -> Tensor:
        """The translation (..., 3) that fits the linear equations of the module's head best."""
        offset = self.points - self.ray[..., None, :2]
        one, zero = torch.ones_like(offset[..., 0]), torch.zeros_like(offset[..., 0])
        rows = torch.stack(
            (torch.stack((one, zero, -offset[..., 0]), -1), torch.stack((zero, one, -offset[..., 1]), -1)), -2
        )
        right = self.points * self.relative[..., 2:] - self.relative[..., :2]
        trust = (2 * self.share / _trace(self.noise))[..., None, None] * rows
        trust = trust / _positive(trust[..., 0, 0].sum(-1))[..., None, None, None]
        matrix = (trust.mT @ rows).sum(-3)
        solved = solve_3x3_symmetric(_solvable(matrix), (trust.mT @ right[..., None]).sum(-3)[..., 0])
        return self._along_ray(solved)

    def weak_start(self) -> Tensor:
        """The translation (..., 3) by which mean and spread across the optical axis agree with those of the points."""
        share = self.share / _positive(self.share.sum(-1))[..., None]
        mean = (share[..., None] * self.relative).sum(-2)
        size, seen = (
            (share * values.square().sum(-1)).sum(-1)
            for values in (self.relative[..., :2] - mean[..., None, :2], self.points - self.ray[..., None, :2])
        )
        depth = torch.where((size > 0) & (seen > 0), _positive(size).sqrt() / _positive(seen).sqrt(), 0.0)
        return self.ray * depth[..., None] - mean

    def linearised(self, place: Tensor) -> _System:
        joints = self.relative + place[..., None, :]
        used = (self.share > 0) & (joints[..., 2] > _NEAREST)
        depth = torch.where(used, joints[..., 2], 1.0)
        projected = torch.where(used[..., None], joints[..., :2], 0.0) / depth[..., None]
        near = depth.reciprocal()
        across = _derivative(projected, near)
        noise = self.noise + across @ self.spread @ across.mT
        information = inverse_2x2(noise) * torch.where(used, self.share, 0.0)[..., None, None]
        residual = torch.where(used[..., None], self.points - projected, 0.0)
        # along the mean ray the projection moves by the offset from that ray only
        jacobian = _derivative(projected - self.ray[..., None, :2], near)
        distance = (residual[..., None, :] @ inverse_2x2(noise) @ residual[..., None])[..., 0, 0]
        return _System(residual, jacobian, information, distance, used)

    def improved(self, place: Tensor, system: _System, weight: Tensor) -> Tensor:
        """After one Gauss-Newton step."""
        pull = system.jacobian.mT @ (system.information * weight[..., None, None])
        matrix, right = (pull @ system.jacobian).sum(-3), (pull @ system.residual[..., None]).sum(-3)[..., 0]
        step = solve_3x3_symmetric(_solvable(matrix), right)
        step = torch.where(step.isfinite().all(-1, keepdim=True), step, 0.0)
        limit = _LARGEST_CHANGE * place[..., 2:].detach().abs()
        share = (limit / step[..., 2:].detach().abs().clamp_min(torch.finfo(step.dtype).tiny)).clamp(max=1.0)
        return place + self._along_ray(step * share)

    def covariance(self, system: _System, weight: Tensor) -> Tensor:
        """Of the translation, (..., 3, 3)."""
        pull = system.jacobian.mT @ (system.information * weight[..., None, None])
        inverse = inverse_3x3_symmetric(_solvable((pull @ system.jacobian).sum(-3)))
        turn = torch.eye(3, dtype=inverse.dtype, device=inverse.device).expand(inverse.shape).clone()
        turn[..., :2, 2] = self.ray[..., :2]
        return turn @ inverse @ turn.mT

    def updated(self, prior: Tensor, at: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One iterated Kalman update of every joint by its own pixels: joints, gain (..., 3, 2) and derivative."""
        use = (weight > 0) & (self.share > 0) & (at[..., 2] > _NEAREST)
        depth = torch.where(use, at[..., 2], 1.0)
        projected = torch.where(use[..., None], at[..., :2], 0.0) / depth[..., None]
        jacobian = _derivative(projected, depth.reciprocal())
        trust = torch.where(use, weight * self.share, 1.0)[..., None, None]
        total = jacobian @ self.spread @ jacobian.mT + self.noise / trust
        gain = torch.where(use[..., None, None], self.spread @ jacobian.mT @ inverse_2x2(total), 0.0)
        offset = torch.where(use[..., None], prior - at, 0.0)
        missed = self.points - projected - (jacobian @ offset[..., None])[..., 0]
        missed = torch.where(use[..., None], missed, 0.0)
        return prior + (gain @ missed[..., None])[..., 0], gain, jacobian

    def _along_ray(self, step: Tensor) -> Tensor:
        """A step (across, across, along the mean ray) in the camera's axes."""
        return torch.cat((step[..., :2] + self.ray[..., :2] * step[..., 2:], step[..., 2:]), -1)


def _check(relative: Tensor, pixels: Tensor) -> None:
    if not relative.is_floating_point():
        raise ShapeError(f"relative: expected floating-point metres, got {relative.dtype}; convert them")
    if relative.ndim < 2 or relative.shape[-1] != 3 or pixels.shape != (*relative.shape[:-1], 2):
        raise ShapeError(
            f"expected relative joints (..., J, 3) and their pixels (..., J, 2) of the same shape, got "
            f"{tuple(relative.shape)} and {tuple(pixels.shape)}"
        )


def ideal_points(pixels: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Where an ideal camera of focal length 1 sees what pixels (..., J, 2) show, lens taken out.

    Returns:
        x / z and y / z in the camera's frame, (..., J, 2), NaN where `undistort` gives NaN; and their derivative
        (..., J, 2, 2) by the pixels, a constant to autograd, which carries a covariance: `D C D^T`.
    """
    ideal, warp = undistort_pixels(pixels, cameras)
    batch = cameras.batch_shape
    scale = inverse_2x2(cameras.intrinsics[..., :2, :2].to(pixels.dtype))
    scale = scale.reshape(*batch, *(1,) * (ideal.ndim - 1 - len(batch)), 2, 2)
    return pixels_to_normalised(ideal, cameras), scale @ warp


def _spread_over(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    try:
        return values.expand(shape)
    except RuntimeError as error:
        raise ShapeError(
            f"covariances and weights: expected shapes that broadcast to the joints, {shape}, got {tuple(values.shape)}"
        ) from error


def _derivative(projected: Tensor, near: Tensor) -> Tensor:
    """The derivative d (x / z, y / z) / d (x, y, z) of points (..., 2) at the inverse depth (...): (..., 2, 3)."""
    x, y = projected.unbind(-1)
    zero = torch.zeros_like(near)
    return torch.stack((torch.stack((near, zero, -x * near), -1), torch.stack((zero, near, -y * near), -1)), -2)


def _robust_weight(distance: Tensor) -> Tensor:
    return (_TOLERATED / distance.detach().clamp_min(_TOLERATED)) ** 1.5


def _is_known(place: Tensor, counted: Tensor, problem: _Problem) -> Tensor:
    """Whether enough joints in front of the camera, at different pixels, fix the place, (...)."""
    total = _positive(counted.sum(-1))
    center = (counted[..., None] * problem.points).sum(-2, keepdim=True) / total[..., None, None]
    extent = ((counted[..., None] * (problem.points - center).square()).sum((-1, -2)) / total).sqrt()
    enough = ((counted > 0).sum(-1) >= _LEAST_JOINTS) & (extent > 64 * torch.finfo(place.dtype).eps)
    return enough & place.isfinite().all(-1)


def _solvable(matrix: Tensor) -> Tensor:
    """Normal matrices (..., 3, 3), those that determine nothing replaced by the identity: their result is discarded."""
    determinate = matrix.diagonal(dim1=-2, dim2=-1).amin(-1) > 0
    eye = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    return torch.where(determinate[..., None, None], matrix, eye)


def _positive(values: Tensor) -> Tensor:
    return torch.where(values > 0, values, 1.0)


def _trace(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1)

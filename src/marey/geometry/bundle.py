"""Bundle adjustment: refine cameras and points together until they agree with what the cameras saw.

Levenberg-Marquardt with analytic derivatives and the Schur complement over the points; no loop over points or views.
Time and memory grow with the points times the free parameters of all cameras: with 4 cameras about 5 kB a point. A few
thousand points, spread over the volume, fix the cameras; give a sample of a long recording, not all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.bundle_cameras import (
    EXTRINSIC_NAMES,
    FreeIntrinsics,
    camera_difference,
    move_cameras,
    project_rows,
)
from marey.geometry.bundle_evidence import Evidence, gather_evidence, initial_points
from marey.geometry.bundle_iteration import minimise, variance_factor
from marey.geometry.bundle_system import Linearisation, NormalEquations
from marey.geometry.robust import RobustLoss


@dataclass(frozen=True, kw_only=True)
class CameraPrior:
    """How far the cameras may be from the given ones: standard deviations. inf: anywhere.

    It weighs against the covariance of the pixels, so give that too.
    """

    rotation: float = torch.inf
    """Radians, about each axis."""
    center: float = torch.inf
    """Metres, along each axis."""
    focal: float = torch.inf
    """Relative."""
    aspect: float = torch.inf
    """Relative, of fy over fx."""
    principal_point: float = torch.inf
    """Pixels."""
    distortion: float = torch.inf
    """Of each coefficient."""

    @property
    def places_cameras(self) -> bool:
        """Whether it fixes the world's frame and scale."""
        return max(self.rotation, self.center) < torch.inf

    def information(self, free: FreeIntrinsics, like: Tensor) -> Tensor:
        """The inverse variances (6 + K,) of the parameters of a camera."""
        deviations = [self.rotation] * 3 + [self.center] * 3
        deviations += [self.focal] * free.focal + [self.aspect] * free.aspect
        deviations += [self.principal_point] * (2 * free.principal_point) + [self.distortion] * free.distortion
        return like.new_tensor(deviations).square().reciprocal()

    def pull(self, cameras: Cameras, given: Cameras, free: FreeIntrinsics) -> tuple[Tensor, Tensor, Tensor]:
        """Towards the given cameras: its information (V, 6 + K), gradient along a step (V, 6 + K) and cost ()."""
        rotation, _ = cameras.extrinsics
        difference = camera_difference(cameras, given, free)
        information = self.information(free, difference).expand_as(difference)
        pull = information * difference
        # a step moves the centre by -R^T d; that of a rotation vector by its own logarithm changes nothing along it
        turned = -(rotation @ pull[:, 3:6, None])[..., 0]
        gradient = torch.cat((pull[:, :3], turned, pull[:, 6:]), dim=-1)
        return information, gradient, (pull * difference).sum() / 2


@dataclass(frozen=True, kw_only=True)
class BundleSettings:
    """What is adjusted, how residuals count, and what holds the world in place."""

    free: FreeIntrinsics = field(default_factory=FreeIntrinsics)
    """The intrinsics to adjust beside all extrinsics."""
    loss: RobustLoss = field(default_factory=RobustLoss)
    """Of the norm of each whitened residual: its scale counts standard deviations (pixels without a covariance)."""
    prior: CameraPrior = field(default_factory=CameraPrior)
    held_views: tuple[int, ...] = (0,)
    """Views whose rotation and translation do not change. If there is one and no prior on centres, the mean distance
    of the other cameras from it keeps the scale. None may be held if the prior places the cameras."""
    tolerance: float = 1e-6
    """Relative change of the cost that ends the iteration."""
    max_iterations: int = 200


@dataclass(frozen=True, kw_only=True)
class BundleAdjustment:
    """The adjusted cameras and points, and how well they are known."""

    cameras: Cameras
    """(V,)"""
    points: Tensor
    """(..., 3) metres; NaN where fewer than two views saw the point."""
    point_covariance: Tensor
    """(..., 3, 3) square metres, the cameras' uncertainty included."""
    camera_covariance: Tensor
    """(V, C, V, C) of the parameters `parameter_names`; zero for what was held, NaN where the views leave cameras
    undetermined. A camera's rotation vector is in its own frame (radians) and its translation moves its centre by
    `-R^T` (metres). Scaled by `variance_factor` if no covariance of the pixels was given."""
    parameter_names: tuple[str, ...]
    """Of the C parameters of a camera."""
    residuals: Tensor
    """(V, ..., 2) seen minus projected, pixels; NaN where nothing was seen."""
    weights: Tensor
    """(V, ...) what each observation counted: robust weight times given weight; 0 where unused."""
    rms: Tensor
    """(V,) root of the weighted mean squared residual distance of each view, pixels; NaN for one that saw nothing."""
    variance_factor: Tensor
    """() by which the residuals would scale the covariances: 1 if the given covariance of the pixels is right, 4 if the
    pixels are twice as far off."""
    cost_history: Tensor
    """(iterations + 1,) cost after each step tried, half the sum of the losses (the prior's included)."""
    converged: bool
    """False: out of iterations, or no step lowered the cost further although the tolerance was not met."""

    @property
    def center_covariance(self) -> Tensor:
        """Of the optical centres in the world, (V, 3, 3), square metres."""
        rotation, _ = self.cameras.extrinsics
        views = torch.arange(len(rotation))
        block = self.camera_covariance[views, 3:6, views, 3:6]
        return rotation.transpose(-1, -2) @ block @ rotation


def adjust_bundle(
    pixels: Tensor,
    cameras: Cameras,
    *,
    points: Tensor | None = None,
    covariance: Tensor | None = None,
    weights: Tensor | None = None,
    settings: BundleSettings | None = None,
) -> BundleAdjustment:
    """Refine V cameras and the points that they see.

    Works in float64 whatever it is given and returns the precision of `pixels`; detached. The result's scale is that
    of the given cameras (see `BundleSettings.held_views`): `marey.geometry.scale` makes it metric from known lengths.

    Args:
        pixels: (V, ..., 2) as seen, lens included; NaN = not seen.
        cameras: (V,) with extrinsics, the start.
        points: (..., 3) start in the world, metres; None: triangulated from the given cameras.
        covariance: of the pixels, broadcastable to (V, ..., 2, 2), square pixels; None: 1, and the result's
            covariance is scaled by what the residuals tell.
        weights: broadcastable to (V, ...), prior weights of the observations; 0 = not seen.
        settings: None: extrinsics only, squared loss, the first camera held.

    Raises:
        ShapeError: the shapes do not fit together.
        CalibrationError: the cameras have no extrinsics, or their lenses cannot be adjusted as asked.
        InputError: fewer than two views, fewer observations than unknowns, or nothing holds the world in place.
    """
    settings = settings or BundleSettings()
    start = cameras.to(torch.float64)
    _check(pixels, start, settings)
    seen = pixels.detach().to(torch.float64)
    initial = initial_points(seen, start, points, covariance, weights, robust=settings.loss.kind != "squared")
    evidence = gather_evidence(seen, start, initial, covariance, weights)
    problem = _Problem(start, evidence, settings)
    state = problem.at(start, torch.where(initial.isfinite(), initial, 0.0))
    _check_evidence(problem)
    state, history, converged = minimise(
        state,
        problem.proposed,
        rounding=evidence.rounding(),
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    if problem.keeps_scale:
        state = problem.rescaled(state)
    return _result(problem, state, history, converged, pixels, estimated_noise=covariance is None)


@dataclass(frozen=True)
class _State:
    """One place of the iteration, linearised."""

    cameras: Cameras
    points: Tensor
    equations: NormalEquations
    cost: Tensor


@dataclass(frozen=True)
class _Problem:
    """What does not change during the iteration."""

    start: Cameras
    evidence: Evidence
    settings: BundleSettings

    @property
    def keeps_scale(self) -> bool:
        """Whether the scale is free in the evidence and has to be held."""
        return len(self.settings.held_views) == 1 and not self.settings.prior.center < torch.inf

    @property
    def unknowns(self) -> int:
        """How many numbers the observations have to fix: a prior that places the cameras fixes theirs."""
        points = 3 * int((self.evidence.prior > 0).any(0).sum())
        return points if self.settings.prior.places_cameras else points + self.basis(self.start).shape[1]

    def at(self, cameras: Cameras, points: Tensor) -> _State:
        """Linearise at cameras and points (N, 3)."""
        rotation, _ = cameras.extrinsics
        free = self.settings.free
        linear = Linearisation.build(project_rows(points, cameras, free), rotation, self.evidence, self.settings.loss)
        information, gradient, cost = self.settings.prior.pull(cameras, self.start, free)
        equations = NormalEquations.build(linear).plus(information, gradient)
        return _State(cameras, points, equations, linear.cost + cost)

    def proposed(self, state: _State, damping: Tensor) -> tuple[_State, Tensor] | None:
        """Linearise where a damped step leads; with the decrease of the cost that the linear model promises."""
        step = state.equations.reduce(damping).step(self.basis(state.cameras))
        if step is None:
            return None
        rows = step[0].reshape(len(self.start.intrinsics), -1)
        moved = self.at(move_cameras(state.cameras, rows, self.settings.free), state.points + step[1].T)
        return moved, _predicted(state.equations, step, damping)

    def basis(self, cameras: Cameras) -> Tensor:
        """Directions (V C, G) in which the cameras may move: orthonormal, perpendicular to what is held."""
        rotation, _ = cameras.extrinsics
        views, size = len(rotation), len(EXTRINSIC_NAMES) + len(self.settings.free.names)
        moving = self.settings.free.moving(cameras)
        moving[list(self.settings.held_views), :6] = False
        constraints = torch.eye(views * size, dtype=rotation.dtype, device=rotation.device)[~moving.flatten()]
        if self.keeps_scale:
            lever = cameras.centers - cameras.centers[self.settings.held_views[0]]
            direction = -(rotation @ torch.nn.functional.normalize(lever, dim=-1)[..., None])[..., 0]
            row = torch.nn.functional.pad(direction, (3, size - 6)).reshape(1, -1)
            constraints = torch.cat((constraints, row))
        complete: Tensor = torch.linalg.qr(constraints.T, mode="complete")[0]
        return complete[:, len(constraints) :]

    def rescaled(self, state: _State) -> _State:
        """About the held camera, so that the mean distance of the others is exactly what it was at the start."""
        held = self.settings.held_views[0]
        rotation, _ = state.cameras.extrinsics
        centers, before = state.cameras.centers, self.start.centers
        factor = (before - before[held]).norm(dim=-1).sum() / (centers - centers[held]).norm(dim=-1).sum()
        centers = centers[held] + factor * (centers - centers[held])
        cameras = replace(state.cameras, translation=-(rotation @ centers[..., None])[..., 0])
        return self.at(cameras, centers[held] + factor * (state.points - centers[held]))


def _predicted(equations: NormalEquations, step: tuple[Tensor, Tensor], damping: Tensor) -> Tensor:
    """The decrease of the cost that the linear model promises for a damped step."""
    cameras, points = step
    diagonal = equations.cameras.diagonal(dim1=-2, dim2=-1).flatten()
    spread = equations.points.diagonal(dim1=0, dim2=1).T
    drag = (diagonal * cameras.square()).sum() + (spread * points.square()).sum()
    slope = equations.cameras_gradient.flatten() @ cameras + (equations.points_gradient * points).sum()
    return (damping * drag - slope) / 2


def _check(pixels: Tensor, cameras: Cameras, settings: BundleSettings) -> None:
    rotation, _ = cameras.extrinsics
    views = rotation.shape[0]
    if rotation.ndim != 3 or pixels.ndim < 2 or pixels.shape[0] != views or pixels.shape[-1] != 2:
        raise ShapeError(
            f"pixels: expected (V, ..., 2) with the V views of the cameras {cameras.batch_shape} first, "
            f"got {tuple(pixels.shape)}"
        )
    if views < 2:
        raise InputError("bundle adjustment: expected at least two views, got one")
    held = settings.held_views
    if not all(0 <= view < views for view in held) or len(set(held)) < len(held):
        raise InputError(f"held_views: expected different views of 0..{views - 1}, got {held}")
    if not held and not settings.prior.places_cameras:
        raise InputError(
            "held_views: nothing holds the world in place; hold a view, or give a prior on rotation and centre"
        )
    if not (cameras.intrinsics.isfinite().all() and rotation.isfinite().all()):
        raise CalibrationError("cameras: expected finite parameters in every view; leave out views without calibration")
    settings.free.check(cameras)


def _check_evidence(problem: _Problem) -> None:
    used, settings = problem.evidence.prior > 0, problem.settings
    alone = [view for view, seen in enumerate(used.any(1).tolist()) if not seen and view not in settings.held_views]
    if alone and not settings.prior.places_cameras:
        raise InputError(f"views {alone} share no point with another view; leave them out")
    if 2 * used.sum() <= problem.unknowns:
        raise InputError(
            f"bundle adjustment: {int(used.sum())} usable observations (2 numbers each) for {problem.unknowns} "
            "unknowns; give more points or adjust less"
        )


def _result(
    problem: _Problem,
    state: _State,
    history: Tensor,
    converged: bool,
    pixels: Tensor,
    *,
    estimated_noise: bool,
) -> BundleAdjustment:
    views, *batch, _ = pixels.shape
    evidence, linear = problem.evidence, state.equations.linear
    used = evidence.prior > 0
    basis = problem.basis(state.cameras)
    camera_covariance, point_covariance = state.equations.reduce(0.0).covariance(basis)
    factor = variance_factor(evidence, linear, problem.settings.loss, problem.unknowns)
    scale = factor if estimated_noise else torch.ones_like(factor)
    size = camera_covariance.shape[0] // views
    known = used.any(0)
    seen = pixels.detach().to(torch.float64).reshape(views, -1, 2)
    projected = project_rows(state.points, state.cameras, FreeIntrinsics()).pixels.permute(1, 2, 0)
    residuals = torch.where(known[:, None], seen - projected, torch.nan)
    squared = torch.where(used, residuals.square().sum(-1), 0.0)
    rms = ((linear.weights * squared).sum(-1) / linear.weights.sum(-1)).sqrt()

    def like(values: Tensor) -> Tensor:
        return values.to(pixels.dtype)

    return BundleAdjustment(
        cameras=state.cameras.to(pixels.dtype),
        points=like(torch.where(known[:, None], state.points, torch.nan)).reshape(*batch, 3),
        point_covariance=like(
            torch.where(known, scale * point_covariance, torch.nan).permute(2, 0, 1).reshape(*batch, 3, 3)
        ),
        camera_covariance=like(scale * camera_covariance.reshape(views, size, views, size)),
        parameter_names=(*EXTRINSIC_NAMES, *problem.settings.free.names),
        residuals=like(residuals.reshape(pixels.shape)),
        weights=like(linear.weights.reshape(views, *batch)),
        rms=like(rms),
        variance_factor=like(factor),
        cost_history=like(history),
        converged=converged,
    )

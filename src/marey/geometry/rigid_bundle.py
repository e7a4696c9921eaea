"""Bundle adjustment with a rigid target: refine cameras and the poses of a board of known points at many moments.

The board's points do not move against each other, so a moment has six unknowns instead of three a point, one view that
sees the board fixes them, and the board's size is the scale. Levenberg-Marquardt with analytic derivatives and the
Schur complement over the poses, all moments at once. With one view, its place held and its intrinsics free, it is
camera calibration from a board.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, InputError, ShapeError
from marey.geometry.bundle import BundleSettings
from marey.geometry.bundle_cameras import EXTRINSIC_NAMES, FreeIntrinsics, move_cameras, project_rows
from marey.geometry.bundle_evidence import Evidence, gather_evidence
from marey.geometry.bundle_iteration import minimise, variance_factor
from marey.geometry.bundle_system import Linearisation, padded_diagonal
from marey.geometry.planar_pose import locate_target
from marey.geometry.rigid_system import ReducedRigidSystem, RigidEquations, by_moment
from marey.geometry.rotations import rotvec_to_matrix

LOOSEST_POSE = 1e-11
"""Smallest eigenvalue of a pose's normal matrix with unit diagonal: below, what was seen does not fix the pose."""

LEAST_MOMENTS = 10
"""Whose scatter tells a covariance."""
BLOCK = 10_000_000
"""Numbers handled at once by the jackknife."""


@dataclass(frozen=True, kw_only=True)
class RigidBundleAdjustment:
    """The adjusted cameras and poses, and how well they are known."""

    cameras: Cameras
    """(V,)"""
    rotation: Tensor
    """(M, 3, 3) target to world; NaN where what was seen at that moment does not fix a pose."""
    translation: Tensor
    """(M, 3) metres."""
    pose_covariance: Tensor
    """(M, 6, 6) of a rotation vector in the world about the target's origin (radians) and of the translation (metres),
    the cameras' uncertainty included."""
    camera_covariance: Tensor
    """(V, S, V, S) of the parameters `parameter_names`, as in `BundleAdjustment`."""
    clustered_covariance: Tensor
    """(V, S, V, S) the same where the errors of one moment belong together (blur, a bent board, clocks that are not
    quite the same): from what leaving out each moment changes. NaN with fewer than ten moments, or where all hangs on
    one of them."""
    parameter_names: tuple[str, ...]
    """Of the S parameters of a camera."""
    residuals: Tensor
    """(V, M, C, 2) seen minus projected, pixels; NaN where nothing was seen or the pose is unknown."""
    weights: Tensor
    """(V, M, C) what each observation counted: robust weight times given weight; 0 where unused."""
    rms: Tensor
    """(V,) root of the weighted mean squared residual distance of each view, pixels; NaN for one that saw nothing."""
    variance_factor: Tensor
    """() as in `BundleAdjustment`."""
    cost_history: Tensor
    """(iterations + 1,)"""
    converged: bool

    @property
    def center_covariance(self) -> Tensor:
        """Of the optical centres in the world, (V, 3, 3), square metres, from `clustered_covariance` where known."""
        rotation, _ = self.cameras.extrinsics
        views = torch.arange(len(rotation))
        known = self.clustered_covariance if self.clustered_covariance.isfinite().all() else self.camera_covariance
        return rotation.mT @ known[views, 3:6, views, 3:6] @ rotation


def adjust_rigid_bundle(
    pixels: Tensor,
    target: Tensor,
    cameras: Cameras,
    *,
    poses: tuple[Tensor, Tensor] | None = None,
    covariance: Tensor | None = None,
    weights: Tensor | None = None,
    held_moment: int | None = None,
    settings: BundleSettings | None = None,
) -> RigidBundleAdjustment:
    """Refine V cameras and the M poses of a rigid target that they see.

    Works in float64 whatever it is given and returns the precision of `pixels`; detached. The scale is the target's.
    Held views keep their place in the world; none needs to be held if the settings' prior places the cameras, or if the
    target at one moment keeps its place. Moments
    at which the points seen, by all views together, do not fix a pose are left out. Cost an iteration: linear in
    V M C, each entry of `pixels` counted whether seen or not.

    Args:
        pixels: (V, M, C, 2) as seen, lens included; NaN = not seen.
        target: (C, 3) the points in the target's frame, metres; flat or not.
        cameras: (V,) with extrinsics, the start.
        poses: start, target to world, rotations (M, 3, 3) and translations (M, 3), NaN = leave the moment out. None: a
            flat target is located by `locate_target`.
        covariance: of the pixels, broadcastable to (V, M, C, 2, 2), square pixels; None: 1, and the result's covariance
            is scaled by what the residuals tell.
        weights: broadcastable to (V, M, C), prior weights of the observations; 0 = not seen.
        held_moment: place in 0..M-1 of a moment whose pose keeps its value, and so defines the world.
        settings: None: extrinsics only, squared loss, the first camera held.

    Raises:
        ShapeError: the shapes do not fit together.
        CalibrationError: the cameras have no extrinsics, or their lenses cannot be adjusted as asked.
        InputError: a view to be placed shares no moment with others, there are fewer observations than unknowns, or
            nothing holds the world in place.
    """
    settings = settings or BundleSettings()
    start, known = cameras.to(torch.float64), target.detach().to(torch.float64)
    _check(pixels, known, start, settings, held_moment)
    seen = pixels.detach().to(torch.float64)
    if poses is None:
        found = locate_target(seen, known, start)
        poses = found.rotation, found.translation
    rotation, translation = _checked_poses(poses, seen)
    points = (known @ rotation.mT + translation[:, None]).reshape(-1, 3)
    evidence = gather_evidence(seen, start, points, covariance, weights, least_views=1)
    moving = torch.ones(len(rotation), dtype=torch.bool, device=rotation.device)
    if held_moment is not None:
        moving[held_moment] = False
    problem = _Problem(start, known, evidence, moving, settings)
    state, problem = _without_loose_poses(problem, rotation, translation)
    _check_evidence(problem)
    state, history, converged = minimise(
        state,
        problem.proposed,
        rounding=problem.evidence.rounding(),
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    return _result(problem, state, history, converged, pixels, estimated_noise=covariance is None)


@dataclass(frozen=True)
class _State:
    """One place of the iteration, linearised."""

    cameras: Cameras
    rotation: Tensor
    translation: Tensor
    equations: RigidEquations
    cost: Tensor


@dataclass(frozen=True)
class _Problem:
    """What does not change during the iteration."""

    start: Cameras
    target: Tensor
    evidence: Evidence
    moving: Tensor
    """(M,) boolean, the poses that may change."""
    settings: BundleSettings

    @property
    def used_moments(self) -> Tensor:
        """(M,) boolean."""
        return (self.evidence.prior > 0).any(0).reshape(-1, len(self.target)).any(-1)

    @property
    def free(self) -> Tensor:
        """Places (F,) of the parameters that may move among the V S."""
        moving = self.settings.free.moving(self.start)
        moving[list(self.settings.held_views), :6] = False
        return moving.flatten().nonzero()[:, 0]

    @property
    def unknowns(self) -> int:
        """How many numbers the observations have to fix: a prior that places the cameras fixes theirs."""
        poses = 6 * int((self.used_moments & self.moving).sum())
        return poses if self.settings.prior.places_cameras else poses + len(self.free)

    def at(self, cameras: Cameras, rotation: Tensor, translation: Tensor) -> _State:
        """Linearise at cameras and poses (M, 3, 3), (M, 3)."""
        turn, _ = cameras.extrinsics
        free = self.settings.free
        arms = self.target @ rotation.mT
        rows = project_rows((arms + translation[:, None]).reshape(-1, 3), cameras, free)
        linear = Linearisation.build(rows, turn, self.evidence, self.settings.loss)
        information, gradient, cost = self.settings.prior.pull(cameras, self.start, free)
        equations = RigidEquations.build(linear, arms, self.moving).plus(information, gradient)
        return _State(cameras, rotation, translation, equations, linear.cost + cost)

    def proposed(self, state: _State, damping: Tensor) -> tuple[_State, Tensor] | None:
        """Linearise where a damped step leads; with the decrease of the cost that the linear model promises."""
        step = state.equations.reduce(damping).step(self.free)
        if step is None:
            return None
        cameras = move_cameras(state.cameras, step[0].reshape(len(self.start.intrinsics), -1), self.settings.free)
        turned = rotvec_to_matrix(step[1][:, :3]) @ state.rotation
        moved = self.at(cameras, turned, state.translation + step[1][:, 3:])
        return moved, state.equations.predicted(*step, damping)


def _without_loose_poses(problem: _Problem, rotation: Tensor, translation: Tensor) -> tuple[_State, _Problem]:
    """The start, without the moments whose pose nothing fixes."""
    known = rotation.isfinite().all(-1).all(-1) & translation.isfinite().all(-1)
    # nothing was gathered at the other moments; their poses only have to be finite
    rotation = torch.where(known[:, None, None], rotation, torch.eye(3).to(rotation))
    translation = torch.where(known[:, None], translation, 0.0)
    state = problem.at(problem.start, rotation, translation)
    blocks = state.equations.poses
    scale = padded_diagonal(blocks).rsqrt()
    unit = scale[:, :, None] * blocks * scale[:, None]
    fixed = torch.linalg.eigvalsh(unit.nan_to_num(0.0))[:, 0] > LOOSEST_POSE
    fixed = fixed | ~problem.moving
    if fixed.all():
        return state, problem
    evidence = problem.evidence
    kept = torch.where(fixed.repeat_interleave(len(problem.target)), evidence.prior, 0.0)
    problem = replace(problem, evidence=Evidence(evidence.pixels, evidence.whitening, kept))
    return problem.at(problem.start, rotation, translation), problem


def _check(pixels: Tensor, target: Tensor, cameras: Cameras, settings: BundleSettings, held_moment: int | None) -> None:
    rotation, _ = cameras.extrinsics
    views = rotation.shape[0]
    if target.ndim != 2 or target.shape[-1] != 3:
        raise ShapeError(f"target: expected (C, 3), got {tuple(target.shape)}")
    if rotation.ndim != 3 or pixels.ndim != 4 or pixels.shape[0] != views or pixels.shape[2:] != (len(target), 2):
        raise ShapeError(
            f"pixels: expected (V, M, C, 2) with the V views of the cameras {cameras.batch_shape} and the "
            f"C = {len(target)} points of the target, got {tuple(pixels.shape)}"
        )
    if not target.isfinite().all():
        raise InputError("target: expected finite points")
    held = settings.held_views
    if not all(0 <= view < views for view in held) or len(set(held)) < len(held):
        raise InputError(f"held_views: expected different views of 0..{views - 1}, got {held}")
    if held_moment is not None and not 0 <= held_moment < pixels.shape[1]:
        raise InputError(f"held_moment: expected one of 0..{pixels.shape[1] - 1}, got {held_moment}")
    if not held and held_moment is None and not settings.prior.places_cameras:
        raise InputError(
            "held_views: nothing holds the world in place; hold a view or a moment, or give a prior on rotation and "
            "centre"
        )
    if not (cameras.intrinsics.isfinite().all() and rotation.isfinite().all()):
        raise CalibrationError("cameras: expected finite parameters in every view; leave out views without calibration")
    settings.free.check(cameras)


def _checked_poses(poses: tuple[Tensor, Tensor], pixels: Tensor) -> tuple[Tensor, Tensor]:
    rotation, translation = (part.detach().to(pixels) for part in poses)
    moments = pixels.shape[1]
    if rotation.shape != (moments, 3, 3) or translation.shape != (moments, 3):
        raise ShapeError(
            f"poses: expected rotations ({moments}, 3, 3) and translations ({moments}, 3) for these pixels, "
            f"got {tuple(rotation.shape)} and {tuple(translation.shape)}"
        )
    return rotation, translation


def _check_evidence(problem: _Problem) -> None:
    settings = problem.settings
    used = (problem.evidence.prior > 0).reshape(len(problem.start.intrinsics), -1, len(problem.target)).any(-1)
    shared = (used & (used.sum(0) >= 2)).any(1)
    alone = [view for view, seen in enumerate(shared.tolist()) if not seen and view not in settings.held_views]
    if alone and not settings.prior.places_cameras:
        raise InputError(f"views {alone} share no moment with another view; leave them out")
    observations = int((problem.evidence.prior > 0).sum())
    if 2 * observations <= problem.unknowns:
        raise InputError(
            f"bundle adjustment: {observations} usable observations (2 numbers each) for {problem.unknowns} unknowns; "
            "show the target more often or adjust less"
        )


def _result(
    problem: _Problem, state: _State, history: Tensor, converged: bool, pixels: Tensor, *, estimated_noise: bool
) -> RigidBundleAdjustment:
    views, moments, count, _ = pixels.shape
    evidence, linear = problem.evidence, state.equations.linear
    reduced = state.equations.reduce(0.0)
    camera_covariance, pose_covariance = reduced.covariance(problem.free)
    factor = variance_factor(evidence, linear, problem.settings.loss, problem.unknowns)
    scale = factor if estimated_noise else torch.ones_like(factor)
    size = camera_covariance.shape[0] // views
    known = problem.used_moments
    points = problem.target @ state.rotation.mT + state.translation[:, None]
    projected = project_rows(points.reshape(-1, 3), state.cameras, FreeIntrinsics()).pixels
    projected = projected.permute(1, 2, 0).reshape(pixels.shape)
    residuals = torch.where(known[:, None, None], pixels.detach().to(projected) - projected, torch.nan)
    squared = torch.where(evidence.prior > 0, residuals.square().sum(-1).flatten(1), 0.0)
    rms = ((linear.weights * squared).sum(-1) / linear.weights.sum(-1)).sqrt()

    def like(values: Tensor, mask: Tensor | None = None) -> Tensor:
        kept = values if mask is None else torch.where(mask.reshape(-1, *[1] * (values.ndim - 1)), values, torch.nan)
        return kept.to(pixels.dtype)

    clustered = _clustered(problem, state, reduced)
    return RigidBundleAdjustment(
        cameras=state.cameras.to(pixels.dtype),
        rotation=like(state.rotation, known),
        translation=like(state.translation, known),
        pose_covariance=like(scale * pose_covariance * problem.moving[:, None, None], known),
        camera_covariance=like(scale * camera_covariance.reshape(views, size, views, size)),
        clustered_covariance=like(clustered.reshape(views, size, views, size)),
        parameter_names=(*EXTRINSIC_NAMES, *problem.settings.free.names),
        residuals=like(residuals),
        weights=like(linear.weights.reshape(views, moments, count)),
        rms=like(rms),
        variance_factor=like(factor),
        cost_history=like(history),
        converged=converged,
    )


def _clustered(problem: _Problem, state: _State, reduced: ReducedRigidSystem) -> Tensor:
    """The covariance (V S, V S) by the jackknife over moments, one Newton step each.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11.

    Without the moment m the optimum moves by `(H - H_m)^-1 g_m`, g_m and H_m being the moment's share of the gradient
    and of the normal matrix after its pose is eliminated. The matrix of a robust loss has the mean slope of the
    influence where H has the weights.
    """
    linear, free = state.equations.linear, problem.free
    result = torch.full_like(reduced.matrix, torch.nan)
    moments = int(problem.used_moments.sum())
    if moments < LEAST_MOMENTS:
        return result
    H = reduced.matrix[free][:, free]
    camera_rows = by_moment(linear.camera_rows, len(state.rotation))
    residuals = by_moment(linear.residuals[:, :, None], len(state.rotation))
    gradients = (camera_rows @ residuals.mT)[..., 0].flatten(1)[:, free]
    size = max(1, BLOCK // (len(free) * reduced.matrix.shape[0]))
    scatter = torch.zeros_like(H)
    for at in range(0, len(gradients), size):
        block = slice(at, at + size)
        others = H - reduced.shares(camera_rows[block], block)[:, free][:, :, free]
        factor, failed = torch.linalg.cholesky_ex(others)
        move = torch.cholesky_solve(gradients[block, :, None], factor)[..., 0]
        move = torch.where((failed == 0)[:, None], move, torch.nan)
        scatter = scatter + move.T @ move
    used = problem.evidence.prior > 0
    _, robust = problem.settings.loss(linear.squared[used])
    softness = robust.sum() / problem.settings.loss.influence_slope(linear.squared[used]).sum()
    result = torch.zeros_like(result)
    result[free[:, None], free] = softness.square() * scatter * (moments - 1) / moments
    return result

"""What each moment of a rigid bundle adjustment says about the cameras: for tests of what the adjustment assumed.

A camera that was knocked over half-way, or one whose clock is late, leaves residuals that a better model would explain.
Whether it does is told by one Newton step from the optimum of the simpler model (a score test), without another
adjustment. `moment_shares` gives the pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, ShapeError
from marey.geometry.bundle_cameras import FreeIntrinsics, project_rows
from marey.geometry.bundle_evidence import gather_evidence
from marey.geometry.bundle_system import Linearisation
from marey.geometry.rigid_system import RigidEquations, by_moment, pose_rows
from marey.geometry.robust import RobustLoss


@dataclass(frozen=True, kw_only=True)
class MomentShares:
    """Normal matrices and gradients of single moments, their poses eliminated, at given cameras and poses."""

    matrix: Tensor
    """(M, V S, V S)"""
    gradient: Tensor
    """(M, V S)"""
    size: int
    """S: the six of a step of a camera, and the seventh, its clock, if velocities were given."""


def moment_shares(
    pixels: Tensor,
    target: Tensor,
    cameras: Cameras,
    poses: tuple[Tensor, Tensor],
    *,
    weights: Tensor,
    velocity: Tensor | None = None,
) -> MomentShares:
    """Linearise a rigid bundle adjustment of extrinsics, moment by moment.

    Args:
        pixels: (V, M, C, 2), lens included; NaN = not seen.
        target: (C, 3) metres.
        cameras: (V,) with extrinsics.
        poses: target to world, rotations (M, 3, 3) and translations (M, 3); NaN: the moment says nothing.
        weights: (V, M, C) what each observation counts.
        velocity: (M, 6) rotation vector and shift of the target in the world per unit of time; then each camera has a
            seventh parameter, by how much later than the others it sees.

    Raises:
        ShapeError: the shapes do not fit together.
    """
    rotation, translation = poses
    known = rotation.isfinite().all(-1).all(-1) & translation.isfinite().all(-1)
    if velocity is not None and velocity.shape != (len(known), 6):
        raise ShapeError(f"velocity: expected ({len(known)}, 6), got {tuple(velocity.shape)}")
    rotation = torch.where(known[:, None, None], rotation, torch.eye(3).to(rotation))
    arms = target @ rotation.mT
    points = (arms + torch.where(known[:, None], translation, 0.0)[:, None]).reshape(-1, 3)
    evidence = gather_evidence(pixels, cameras, points, None, weights * known[None, :, None], least_views=1)
    rows = project_rows(points, cameras, FreeIntrinsics())
    linear = Linearisation.build(rows, cameras.extrinsics[0], evidence, RobustLoss())
    if velocity is not None:
        moving = pose_rows(linear, arms)
        along = velocity.repeat_interleave(len(target), dim=0).T
        clock = (moving * along).sum(2, keepdim=True)
        linear = Linearisation(
            linear.cost,
            linear.squared,
            linear.weights,
            linear.residuals,
            torch.cat((linear.camera_rows, clock), dim=2),
            linear.point_rows,
        )
    equations = RigidEquations.build(linear, arms, torch.ones_like(known))
    reduced = equations.reduce(1e-9)
    camera_rows = by_moment(linear.camera_rows, len(arms))
    residuals = by_moment(linear.residuals[:, :, None], len(arms))
    own = (camera_rows @ residuals.mT)[..., 0].flatten(1)
    gradient = own - (reduced.coupling.mT @ reduced.poses_right[..., None])[..., 0]
    return MomentShares(
        matrix=reduced.shares(camera_rows, slice(None)), gradient=gradient, size=linear.camera_rows.shape[2]
    )


@dataclass(frozen=True, kw_only=True)
class Knock:
    """A camera that stands elsewhere from some moment on."""

    view: int
    moment: int
    """The first one after it, in 0..M-1."""
    step: Tensor
    """(6,) rotation vector and shift in the camera's frame."""
    gain: float
    """By how much it lowers the weighted sum of squared residuals."""


def likeliest_knock(shares: MomentShares, seen: Tensor, *, least_moments: int = 5) -> Knock | None:
    """Try a change of each camera's place before each moment, and return the one that explains most.

    One Newton step each from the optimum without a change, everything else free to follow, the first view held.

    Args:
        shares: of M moments in the order of time, at that optimum, without clocks.
        seen: (V, M) boolean, whether a view saw the target.
        least_moments: at which the view saw it on either side; None is returned if no view has that many.
    """
    views, moments = seen.shape
    matrix, gradient = shares.matrix, shares.gradient
    free = torch.arange(shares.size, shares.size * views, device=matrix.device)
    whole, failed = torch.linalg.cholesky_ex(matrix.sum(0)[free][:, free])
    count = seen.long().cumsum(1)
    before = torch.nn.functional.pad(count, (1, -1))
    allowed = (before >= least_moments) & (count[:, -1:] - before >= least_moments)
    if failed or not allowed.any():
        return None
    # of the moments from each one on: (M, V, S, ...)
    later = matrix.flip(0).cumsum(0).flip(0).reshape(moments, views, shares.size, -1)
    slope = gradient.flip(0).cumsum(0).flip(0).reshape(moments, views, -1)
    cross = later[..., free]
    own = later.reshape(moments, views, shares.size, views, -1).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    rest = torch.cholesky_solve(gradient.sum(0)[free][:, None], whole)[:, 0]
    pull = slope - cross @ rest
    followed = torch.linalg.solve_triangular(whole, cross.flatten(0, 2).T, upper=False).T.reshape_as(cross)
    inner, singular = torch.linalg.cholesky_ex(own - followed @ followed.mT)
    step = -torch.cholesky_solve(pull[..., None], inner)[..., 0]
    gain = -(step * pull).sum(-1).T
    gain = torch.where(allowed & (singular == 0).T & gain.isfinite(), gain, -torch.inf)
    view, moment = divmod(int(gain.argmax()), moments)
    if not gain[view, moment].isfinite():
        return None
    return Knock(view=view, moment=moment, step=step[moment, view], gain=float(gain[view, moment]))

"""The normal equations of cameras and the poses of a rigid target, reduced to the cameras.

Internal to the room. As `bundle_system`, with blocks of six unknowns, the pose of the target at a moment, in place of
points. A step of a pose is (rotation vector w, shift d) in the world: a point of the target moves from R p + t to
`exp(w) R p + t + d`. With S parameters a camera, M moments and C points, points lie along the last dimension of the
rows, moment by moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.geometry.bundle_system import Linearisation, block_diagonal, padded_diagonal


@dataclass(frozen=True)
class RigidEquations:
    """The blocks of the normal matrix and of the gradient."""

    cameras: Tensor
    """(V, S, S)"""
    cameras_gradient: Tensor
    """(V, S)"""
    poses: Tensor
    """(M, 6, 6)"""
    poses_gradient: Tensor
    """(M, 6)"""
    coupling: Tensor
    """(M, V S, 6)"""
    linear: Linearisation

    @classmethod
    def build(cls, linear: Linearisation, arms: Tensor, moving: Tensor) -> RigidEquations:
        """Accumulate the blocks.

        Args:
            linear: of the points of all moments.
            arms: (M, C, 3) the points of the turned target from its origin.
            moving: (M,) boolean, the poses that may change.
        """
        moments = len(arms)
        J, r = by_moment(linear.camera_rows, moments), by_moment(linear.residuals[:, :, None], moments)
        P = by_moment(pose_rows(linear, arms), moments) * moving[:, None, None, None]
        flat = P.transpose(1, 2).flatten(2)
        return cls(
            cameras=(J @ J.mT).sum(0),
            cameras_gradient=(J @ r.mT).sum(0)[..., 0],
            poses=flat @ flat.mT,
            poses_gradient=(flat @ r.flatten(1)[..., None])[..., 0],
            coupling=(J @ P.mT).flatten(1, 2),
            linear=linear,
        )

    def plus(self, information: Tensor, gradient: Tensor) -> RigidEquations:
        """With a prior on the cameras added: its information (V, S) along the parameters and its gradient (V, S)."""
        return replace(
            self,
            cameras=self.cameras + torch.diag_embed(information),
            cameras_gradient=self.cameras_gradient + gradient,
        )

    def reduce(self, damping: float | Tensor) -> ReducedRigidSystem:
        """Eliminate the poses, the diagonal enlarged by the factor 1 + damping."""
        diagonal = padded_diagonal(self.poses)
        floor = torch.where(self.poses.diagonal(dim1=-2, dim2=-1) > 0, 0.0, 1.0)
        factor = torch.linalg.cholesky_ex(self.poses + torch.diag_embed(damping * diagonal + floor))[0]
        coupling = torch.linalg.solve_triangular(factor, self.coupling.mT, upper=False)
        right = torch.linalg.solve_triangular(factor, self.poses_gradient[..., None], upper=False)[..., 0]
        blocks = self.cameras + torch.diag_embed(damping * padded_diagonal(self.cameras))
        flat = coupling.flatten(0, 1)
        return ReducedRigidSystem(
            matrix=block_diagonal(blocks) - flat.mT @ flat,
            gradient=self.cameras_gradient.flatten() - flat.mT @ right.flatten(),
            factor=factor,
            coupling=coupling,
            poses_right=right,
        )

    def predicted(self, cameras: Tensor, poses: Tensor, damping: Tensor) -> Tensor:
        """The decrease of the cost () that the linear model promises for a damped step (V S,), (M, 6)."""
        drag = (self.cameras.diagonal(dim1=-2, dim2=-1).flatten() * cameras.square()).sum()
        drag = drag + (self.poses.diagonal(dim1=-2, dim2=-1) * poses.square()).sum()
        slope = self.cameras_gradient.flatten() @ cameras + (self.poses_gradient * poses).sum()
        return (damping * drag - slope) / 2


@dataclass(frozen=True)
class ReducedRigidSystem:
    """The system of the cameras alone, and the way back to the poses."""

    matrix: Tensor
    """(V S, V S)"""
    gradient: Tensor
    """(V S,)"""
    factor: Tensor
    """(M, 6, 6) lower triangular"""
    coupling: Tensor
    """(M, 6, V S) whitened by the factor"""
    poses_right: Tensor
    """(M, 6) the gradient, whitened by the factor"""

    def step(self, free: Tensor) -> tuple[Tensor, Tensor] | None:
        """The step of the cameras (V S,), of which `free` (F,) names the entries that may move, and the poses' (M, 6).

        None where the system is not positive definite.
        """
        inner, failed = torch.linalg.cholesky_ex(self.matrix[free][:, free])
        if failed or not self.factor.isfinite().all():
            return None
        cameras = torch.zeros_like(self.gradient)
        cameras[free] = -torch.cholesky_solve(self.gradient[free, None], inner)[:, 0]
        shifted = self.poses_right + self.coupling @ cameras
        return cameras, -torch.linalg.solve_triangular(self.factor.mT, shifted[..., None], upper=True)[..., 0]

    def shares(self, camera_rows: Tensor, moments: slice) -> Tensor:
        """What some moments, whose rows (M, V, S, 2 C) are given, add to the matrix: (M, V S, V S)."""
        blocks = camera_rows @ camera_rows.mT
        coupling = self.coupling[moments]
        count, views, size, _ = blocks.shape
        full = blocks.new_zeros(count, views, size, views, size)
        places = torch.arange(views, device=blocks.device)
        full[:, places, :, places] = blocks.transpose(0, 1)
        return full.reshape(count, views * size, -1) - coupling.mT @ coupling

    def covariance(self, free: Tensor) -> tuple[Tensor, Tensor]:
        """Invert an undamped system: the covariance of the cameras (V S, V S) and of each pose (M, 6, 6).

        The poses' includes the cameras' share. NaN where the system is singular, zero for cameras that are not free.
        """
        inner, failed = torch.linalg.cholesky_ex(self.matrix[free][:, free])
        if failed:
            inner = torch.full_like(inner, torch.nan)
        cameras = torch.zeros_like(self.matrix)
        cameras[free[:, None], free] = torch.cholesky_inverse(inner)
        spread = self.coupling @ cameras @ self.coupling.mT
        middle = spread + torch.eye(6, dtype=spread.dtype, device=spread.device)
        half = torch.linalg.solve_triangular(self.factor.mT, middle, upper=True)
        return cameras, torch.linalg.solve_triangular(self.factor.mT, half.mT, upper=True)


def pose_rows(linear: Linearisation, arms: Tensor) -> Tensor:
    """The derivatives (2, V, 6, N) of the residuals with respect to the poses; `arms` as in `RigidEquations.build`."""
    rows = linear.point_rows
    lever = arms.reshape(-1, 3).T[None, None].expand_as(rows)
    return torch.cat((torch.linalg.cross(lever, rows, dim=2), rows), dim=2)


def by_moment(rows: Tensor, moments: int) -> Tensor:
    """Rows (2, V, S, M C) as (M, V, S, 2 C)."""
    _, views, size, _ = rows.shape
    return rows.reshape(2, views, size, moments, -1).permute(3, 1, 2, 0, 4).flatten(3)

"""The normal equations of bundle adjustment, reduced to the cameras by the Schur complement over the points.

Internal to the room. With C parameters a camera, V cameras and N points, the normal matrix is [[A, E], [E^T, B]]: A is
block-diagonal in the cameras (C x C), B in the points (3 x 3). Eliminating the points with the Cholesky factors
B = L L^T and F = E L^-T leaves `(A - F F^T) x = F L^-1 b - a` (Triggs et al., Bundle Adjustment - A Modern Synthesis,
2000, section 6.1). Points lie along the last dimension, so the work is one product of (V C, 3 N) matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.geometry.bundle_cameras import CameraRows
from marey.geometry.bundle_evidence import Evidence, whitened
from marey.geometry.robust import RobustLoss


@dataclass(frozen=True)
class Linearisation:
    """Whitened, weighted residuals and their derivatives at one place."""

    cost: Tensor
    """() half the sum of the losses; NaN where an observed point lies behind its camera."""
    squared: Tensor
    """(V, N) squared norm of the whitened residual; 0 where unused."""
    weights: Tensor
    """(V, N) robust weight times prior weight."""
    residuals: Tensor
    """(2, V, N) times the root of the weights, like the rows"""
    camera_rows: Tensor
    """(2, V, C, N)"""
    point_rows: Tensor
    """(2, V, 3, N)"""

    @classmethod
    def build(cls, rows: CameraRows, rotation: Tensor, evidence: Evidence, loss: RobustLoss) -> Linearisation:
        """Weigh the projections of points against what was observed of them."""
        used = evidence.prior > 0
        residuals = whitened(torch.where(used, rows.pixels - evidence.pixels, 0.0), evidence.whitening)
        squared = residuals.square().sum(0)
        rho, robust = loss(squared)
        weights = evidence.prior * robust
        root = weights.sqrt()
        by_position = whitened(torch.where(used, rows.by_position, 0.0), evidence.whitening) * root
        by_intrinsics = whitened(torch.where(used, rows.by_intrinsics, 0.0), evidence.whitening) * root
        moment = torch.linalg.cross(rows.in_camera.expand_as(by_position), by_position, dim=1)
        camera_rows = torch.cat((moment, by_position, by_intrinsics), dim=1).transpose(1, 2)
        point_rows = rotation.transpose(-1, -2) @ by_position.transpose(1, 2)
        return cls((evidence.prior * rho).sum() / 2, squared, weights, residuals * root, camera_rows, point_rows)


@dataclass(frozen=True)
class NormalEquations:
    """The blocks of the normal matrix and of the gradient."""

    cameras: Tensor
    """(V, C, C), A"""
    cameras_gradient: Tensor
    """(V, C)"""
    points: Tensor
    """(3, 3, N), B"""
    points_gradient: Tensor
    """(3, N)"""
    linear: Linearisation

    @classmethod
    def build(cls, linear: Linearisation) -> NormalEquations:
        """Accumulate the blocks."""
        J, P, r = linear.camera_rows, linear.point_rows, linear.residuals
        flat = P.flatten(0, 1)
        return cls(
            cameras=(J @ J.transpose(-1, -2)).sum(0),
            cameras_gradient=(J @ r[..., None]).sum(0)[..., 0],
            points=(flat[:, :, None] * flat[:, None]).sum(0),
            points_gradient=(flat * r.flatten(0, 1)[:, None]).sum(0),
            linear=linear,
        )

    def plus(self, information: Tensor, gradient: Tensor) -> NormalEquations:
        """With a prior on the cameras added: its information (V, C) along the parameters and its gradient (V, C)."""
        return NormalEquations(
            self.cameras + torch.diag_embed(information),
            self.cameras_gradient + gradient,
            self.points,
            self.points_gradient,
            self.linear,
        )

    def reduce(self, damping: float | Tensor) -> ReducedSystem:
        """Eliminate the points, the diagonal enlarged by the factor 1 + damping."""
        return ReducedSystem.build(self, damping)


@dataclass(frozen=True)
class ReducedSystem:
    """The system of the cameras alone, and the way back to the points."""

    matrix: Tensor
    """(V C, V C)"""
    gradient: Tensor
    """(V C,)"""
    factor: Tensor
    """(6, N) the entries 00 10 11 20 21 22 of L"""
    coupling: Tensor
    """(V C, 3, N), F"""
    points_right: Tensor
    """(3, N), L^-1 b"""

    @classmethod
    def build(cls, equations: NormalEquations, damping: float | Tensor) -> ReducedSystem:
        """See `NormalEquations.reduce`."""
        J, P = equations.linear.camera_rows, equations.linear.point_rows
        factor = _cholesky(equations.points, damping)
        Q = torch.stack(_forward(factor, P.unbind(2)), dim=2)
        views, size, count = J.shape[1:]
        coupling = (J[0][:, :, None] * Q[0][:, None]).addcmul_(J[1][:, :, None], Q[1][:, None])
        flat = coupling.reshape(views * size, 3 * count)
        right = torch.stack(_forward(factor, equations.points_gradient.unbind(0)))
        blocks = equations.cameras + torch.diag_embed(damping * padded_diagonal(equations.cameras))
        return cls(
            matrix=block_diagonal(blocks) - flat @ flat.T,
            gradient=equations.cameras_gradient.flatten() - flat @ right.flatten(),
            factor=factor,
            coupling=coupling.reshape(views * size, 3, count),
            points_right=right,
        )

    def step(self, basis: Tensor) -> tuple[Tensor, Tensor] | None:
        """The step of the cameras (V C,) within the columns of `basis` (V C, G), and that of the points (3, N).

        None where the system is not positive definite.
        """
        inner, failed = torch.linalg.cholesky_ex(basis.T @ self.matrix @ basis)
        if failed:
            return None
        cameras = -(basis @ torch.cholesky_solve((basis.T @ self.gradient)[:, None], inner))[:, 0]
        shifted = self.points_right + (cameras @ self.coupling.flatten(1)).reshape_as(self.points_right)
        return cameras, -torch.stack(_backward(self.factor, shifted.unbind(0)))

    def covariance(self, basis: Tensor) -> tuple[Tensor, Tensor]:
        """Invert an undamped system: the covariance of the cameras (V C, V C) and of each point (3, 3, N).

        The points' includes the cameras' share: `L^-T (I + F^T Sigma F) L^-1`. NaN where the system is singular.
        """
        inner, failed = torch.linalg.cholesky_ex(basis.T @ self.matrix @ basis)
        if failed:
            inner = torch.full_like(inner, torch.nan)
        half = torch.linalg.solve_triangular(inner, basis.T, upper=False)
        spread = (half @ self.coupling.flatten(1)).reshape(-1, *self.coupling.shape[1:])
        middle = (spread[:, :, None] * spread[:, None]).sum(0)
        middle = middle + torch.eye(3, dtype=middle.dtype, device=middle.device)[..., None]
        columns = torch.stack(_backward(self.factor, middle.unbind(0)))
        return half.T @ half, torch.stack(_backward(self.factor, columns.unbind(1)))


def padded_diagonal(blocks: Tensor) -> Tensor:
    """The diagonals of (V, C, C); 1 for a parameter without evidence, which then stays where it is."""
    diagonal = blocks.diagonal(dim1=-2, dim2=-1)
    return torch.where(diagonal > 0, diagonal, 1.0)


def block_diagonal(blocks: Tensor) -> Tensor:
    """Blocks (V, C, C) along the diagonal of a matrix (V C, V C)."""
    views, size, _ = blocks.shape
    full = blocks.new_zeros(views, size, views, size)
    places = torch.arange(views, device=blocks.device)
    full[places, :, places] = blocks
    return full.reshape(views * size, views * size)


def _cholesky(blocks: Tensor, damping: float | Tensor) -> Tensor:
    """Factor damped blocks (3, 3, N); a point without evidence gets the identity, a flat one a floor at rounding."""
    epsilon = torch.finfo(blocks.dtype).eps
    xx, yy, zz = (torch.where(d > 0, d, 1.0) * (1 + damping) for d in (blocks[0, 0], blocks[1, 1], blocks[2, 2]))
    l00 = xx.sqrt()
    l10, l20 = blocks[1, 0] / l00, blocks[2, 0] / l00
    l11 = torch.maximum(yy - l10 * l10, epsilon * yy).sqrt()
    l21 = (blocks[2, 1] - l20 * l10) / l11
    l22 = torch.maximum(zz - l20 * l20 - l21 * l21, epsilon * zz).sqrt()
    return torch.stack((l00, l10, l11, l20, l21, l22))


def _forward(factor: Tensor, right: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Solve L x = b; each entry (..., N)."""
    l00, l10, l11, l20, l21, l22 = factor
    x = right[0] / l00
    y = (right[1] - l10 * x) / l11
    return x, y, (right[2] - l20 * x - l21 * y) / l22


def _backward(factor: Tensor, right: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Solve L^T x = b; each entry (..., N)."""
    l00, l10, l11, l20, l21, l22 = factor
    z = right[2] / l22
    y = (right[1] - l21 * z) / l11
    return (right[0] - l10 * y - l20 * z) / l00, y, z

"""Many small nonlinear least-squares problems at once.

Levenberg-Marquardt in which every problem of the batch has its own damping, accepts or rejects its own step and stops
on its own (Madsen, Nielsen and Tingleff, Methods for Non-Linear Least Squares Problems, 2nd ed., 2004, algorithm 3.16,
with the damping relative to the diagonal as in More, 1978). Robust losses by iterative reweighting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.geometry.robust import RobustLoss

Residuals = Callable[[Tensor], Tensor]
"""Parameters (..., P) -> residual vectors (..., M, D): M terms of D components each, NaN where a term is missing."""

Linearise = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Parameters (..., P) -> residuals (..., M, D) and their derivative with respect to the step (..., M, D, S)."""

LARGEST_DAMPING = 1e12
SMALLEST_DAMPING = 1e-12


@dataclass(frozen=True, kw_only=True)
class LeastSquaresSolution:
    """Where the problems ended."""

    parameters: Tensor
    """(..., P)"""
    cost: Tensor
    """(...) half the sum of the losses; NaN where the start had no finite residual at all."""
    weights: Tensor
    """(..., M) what each term counted at the end, in 0..1; 0 where it was missing."""
    information: Tensor
    """(..., S, S) J^T W J at the end: its inverse is the covariance of the step if the residuals are whitened."""
    converged: Tensor
    """(...) boolean: no step along a coordinate would lower the cost by more than the tolerance. False: out of
    iterations, stuck, or nothing to solve."""
    iterations: Tensor
    """(...) integer, steps tried until the problem stopped."""


def levenberg_marquardt(
    residuals: Residuals,
    start: Tensor,
    *,
    linearise: Linearise | None = None,
    retract: Callable[[Tensor, Tensor], Tensor] = torch.add,
    steps: int | None = None,
    loss: RobustLoss | None = None,
    damping: float = 1e-3,
    tolerance: float = 1e-8,
    max_iterations: int = 50,
) -> LeastSquaresSolution:
    """Minimise `sum rho(|r|^2) / 2` for a batch of independent problems.

    A term that is NaN at the start is missing and stays so; a trial step that makes another term NaN or infinite is
    rejected. The batch runs until its last problem stops; those that stopped earlier stay as they are. The result is
    detached: no gradient flows through the iterations. Cost an iteration: one evaluation of residuals and derivative,
    and one S x S Cholesky solve.

    Args:
        residuals: function of the parameters; problem i may depend on row i only.
        start: (..., P), floating point.
        linearise: residuals and derivative together; None: forward-mode automatic differentiation of `residuals`,
            S passes.
        retract: (parameters (..., P), step (..., S)) -> parameters, for parameters that are no vector space
            (rotations); the derivative is that at step 0.
        steps: S, the size of the step; None: P.
        loss: of the norm of each term; None: squared.
        damping: at the start, relative to the diagonal of J^T J; 0 begins with Gauss-Newton steps.
        tolerance: relative change of the cost that ends a problem; at least what the precision resolves.
        max_iterations: steps tried.

    Raises:
        ShapeError: the residuals are not (..., M, D) with the batch dimensions of the start.
        InputError: `damping` or `tolerance` is negative.
    """
    if damping < 0 or tolerance < 0:
        raise InputError(f"damping and tolerance: expected non-negative numbers, got {damping} and {tolerance}")
    loss = loss or RobustLoss()
    if linearise is None:
        linearise = _forward_mode(residuals, retract, steps or start.shape[-1])
    tolerance = max(tolerance, 8 * torch.finfo(start.dtype).eps)
    with torch.no_grad():
        parameters = start.detach().clone()
        values, jacobian = _checked(linearise(parameters), parameters)
        used = values.isfinite().all(-1) & jacobian.isfinite().all(-1).all(-1)
        state = _System.build(values, jacobian, used, loss)
        control = Damping.start(state.cost, damping)
        active = state.cost.isfinite()
        converged = torch.zeros_like(active)
        iterations = torch.zeros_like(active, dtype=torch.long)
        for _ in range(max_iterations):
            if not active.any():
                break
            step, predicted = state.step(control.value)
            trial = retract(parameters, step)
            proposed = _System.build(*linearise(trial), used, loss)
            actual = state.cost - proposed.cost
            better = active & (actual > 0)
            iterations = iterations + active
            resolution = cost_resolution(state.cost, state.rounding(parameters))
            bound = torch.maximum(tolerance * state.cost, resolution)
            done = active & (actual.abs() <= bound) & (predicted <= bound)
            converged = converged | (done & (state.decrement() <= 2 * bound))
            parameters = torch.where(better[..., None], trial, parameters)
            state = state.where(better, proposed)
            control = control.update(actual / predicted)
            active = active & ~done & (control.value < LARGEST_DAMPING)
    return LeastSquaresSolution(
        parameters=parameters,
        cost=state.cost,
        weights=state.weights,
        information=state.hessian,
        converged=converged,
        iterations=iterations,
    )


@dataclass(frozen=True)
class Damping:
    """Nielsen's rule for the damping, element by element."""

    value: Tensor
    """(...) relative to the diagonal of the normal matrix."""
    growth: Tensor
    """(...) factor of the next rejection."""

    @classmethod
    def start(cls, like: Tensor, value: float) -> Damping:
        """One value for every problem."""
        return cls(torch.full_like(like, value), torch.full_like(like, 2.0))

    def update(self, gain: Tensor) -> Damping:
        """Shrink by up to 3 after a step that gained (actual over predicted) what was predicted, else grow faster."""
        good = gain > 0
        shrunk = self.value * (1 - (2 * gain - 1) ** 3).clamp_min(1 / 3)
        grown = self.value.clamp_min(SMALLEST_DAMPING) * self.growth
        value = torch.where(good, shrunk, grown)
        return Damping(value, torch.where(good, 2.0, 2 * self.growth))


def cost_resolution(cost: Tensor, rounding: Tensor) -> Tensor:
    """Differences of the cost below this are noise, `rounding` being the sum of squared errors of the residuals.

    The cost |r|^2 / 2 of residuals with the error e is off by up to |r| |e| (Cauchy and Schwarz) + |e|^2 / 2. The
    second term matters where the data are exact; there e counts eightfold, being an estimate.
    """
    return (2 * cost * rounding).sqrt() + 32 * rounding


@dataclass(frozen=True)
class _System:
    """The normal equations of a batch at one place."""

    cost: Tensor
    weights: Tensor
    hessian: Tensor
    gradient: Tensor

    @classmethod
    def build(cls, values: Tensor, jacobian: Tensor, used: Tensor, loss: RobustLoss) -> _System:
        values = torch.where(used[..., None], values, 0.0)
        jacobian = torch.where(used[..., None, None], jacobian, 0.0)
        rho, weights = loss(values.square().sum(-1))
        weights = torch.where(used, weights, 0.0)
        weighted = (jacobian * weights[..., None, None]).flatten(-3, -2).transpose(-1, -2)
        cost = torch.where(used.any(-1), rho.sum(-1) / 2, torch.nan)
        gradient = (weighted @ values.flatten(-2)[..., None])[..., 0]
        return cls(cost, weights, weighted @ jacobian.flatten(-3, -2), gradient)

    def step(self, damping: Tensor) -> tuple[Tensor, Tensor]:
        """The damped step (..., S) and the decrease of the cost that the linear model predicts (...); else 0, inf."""
        diagonal = self.hessian.diagonal(dim1=-2, dim2=-1)
        # a parameter that no residual depends on stays where it is
        diagonal = torch.where(diagonal > 0, diagonal, 1.0)
        factor, failed = torch.linalg.cholesky_ex(self.hessian + torch.diag_embed(diagonal * damping[..., None]))
        solvable = (failed == 0) & self.gradient.isfinite().all(-1)
        identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        factor = torch.where(solvable[..., None, None], factor, identity)
        step = -torch.cholesky_solve(self.gradient[..., None], factor)[..., 0]
        step = torch.where(solvable[..., None], step, 0.0)
        predicted = (step * (damping[..., None] * diagonal * step - self.gradient)).sum(-1) / 2
        return step, torch.where(solvable, predicted, torch.inf)

    def decrement(self) -> Tensor:
        """The most that a step along one coordinate alone gains, (...)."""
        diagonal = self.hessian.diagonal(dim1=-2, dim2=-1)
        gains = torch.where(diagonal > 0, self.gradient.square() / diagonal, 0.0)
        return gains.amax(-1) / 2

    def rounding(self, parameters: Tensor) -> Tensor:
        """The sum of squares (...) of what rounding the parameters adds to the residuals."""
        size = torch.finfo(parameters.dtype).eps * parameters.abs().amax(-1)
        return self.hessian.diagonal(dim1=-2, dim2=-1).sum(-1) * size.square()

    def where(self, better: Tensor, other: _System) -> _System:
        """`other` for the problems that are better there."""
        return _System(
            torch.where(better, other.cost, self.cost),
            torch.where(better[..., None], other.weights, self.weights),
            torch.where(better[..., None, None], other.hessian, self.hessian),
            torch.where(better[..., None], other.gradient, self.gradient),
        )


def _forward_mode(residuals: Residuals, retract: Callable[[Tensor, Tensor], Tensor], size: int) -> Linearise:
    """The derivative by S forward passes: the problems are independent, so one tangent serves the whole batch."""

    def linearise(parameters: Tensor) -> tuple[Tensor, Tensor]:
        origin = parameters.new_zeros(*parameters.shape[:-1], size)
        basis = torch.eye(size, dtype=origin.dtype, device=origin.device)
        tangents = basis.reshape(size, *(1,) * (origin.ndim - 1), size).expand(size, *origin.shape)

        def along(tangent: Tensor) -> Tensor:
            column: Tensor = torch.func.jvp(lambda step: residuals(retract(parameters, step)), (origin,), (tangent,))[1]
            return column

        return residuals(parameters), torch.func.vmap(along, out_dims=-1)(tangents)

    return linearise


def _checked(linearised: tuple[Tensor, Tensor], parameters: Tensor) -> tuple[Tensor, Tensor]:
    values, jacobian = linearised
    batch = parameters.shape[:-1]
    if values.ndim != len(batch) + 2 or values.shape[: len(batch)] != batch:
        raise ShapeError(
            f"residuals: expected {(*batch, 'M', 'D')} for parameters {tuple(parameters.shape)}, got "
            f"{tuple(values.shape)}; scalar residuals are (..., M, 1)"
        )
    if jacobian.shape[:-1] != values.shape:
        raise ShapeError(
            f"derivative: expected {(*values.shape, 'S')} for these residuals, got {tuple(jacobian.shape)}"
        )
    return values, jacobian

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares as scipy_least_squares

from marey.core import InputError, ShapeError
from marey.geometry.least_squares import levenberg_marquardt
from marey.geometry.robust import RobustLoss

TIMES = torch.linspace(0, 3, 20, dtype=torch.float64)


def decay(parameters):
    """a exp(-b t) + c"""
    a, b, c = parameters[..., None, :].unbind(-1)
    return a * torch.exp(-b * TIMES.to(parameters)) + c


def observations(*batch, seed=0, noise=0.05):
    rng = torch.Generator().manual_seed(seed)
    truth = torch.tensor([2.0, 1.2, 0.5], dtype=torch.float64) * (
        1 + 0.2 * torch.randn(*batch, 3, generator=rng, dtype=torch.float64)
    )
    return truth, decay(truth) + noise * torch.randn(*batch, len(TIMES), generator=rng, dtype=torch.float64)


def residuals_of(observed):
    return lambda parameters: (decay(parameters) - observed)[..., None]


START = torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
@pytest.mark.parametrize(("kind", "name"), [("squared", "linear"), ("huber", "huber"), ("cauchy", "cauchy")])
def test_levenberg_marquardt__equals_scipy(batch, kind, name):
    _, observed = observations(*batch)
    observed[..., 4] += 3.0
    solution = levenberg_marquardt(
        residuals_of(observed), START.expand(*batch, 3), loss=RobustLoss(kind, 0.1), tolerance=1e-14, max_iterations=200
    )
    assert solution.parameters.shape == (*batch, 3)
    assert solution.cost.shape == solution.converged.shape == solution.iterations.shape == batch
    assert solution.converged.all()
    for row, cost, parameters in zip(
        observed.reshape(-1, len(TIMES)),
        solution.cost.reshape(-1),
        solution.parameters.reshape(-1, 3),
        strict=True,
    ):
        twin = scipy_least_squares(
            lambda x, row=row: (decay(torch.from_numpy(x)) - row).numpy(),
            START.numpy(),
            loss=name,
            f_scale=0.1,
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        assert cost.item() <= twin.cost * (1 + 1e-9)
        np.testing.assert_allclose(parameters.numpy(), twin.x, rtol=2e-5)


def test_levenberg_marquardt__analytic_derivative_gives_the_same():
    _, observed = observations(7)

    def linearise(parameters):
        a, b, _ = parameters[..., None, :].unbind(-1)
        fall = torch.exp(-b * TIMES)
        jacobian = torch.stack((fall, -a * TIMES * fall, torch.ones_like(fall)), -1)
        return residuals_of(observed)(parameters), jacobian[..., None, :]

    automatic = levenberg_marquardt(residuals_of(observed), START.expand(7, 3))
    analytic = levenberg_marquardt(residuals_of(observed), START.expand(7, 3), linearise=linearise)
    torch.testing.assert_close(analytic.parameters, automatic.parameters)
    assert (analytic.iterations == automatic.iterations).all()


def test_levenberg_marquardt__each_problem_goes_its_own_way():
    _, observed = observations(5)
    together = levenberg_marquardt(residuals_of(observed), START.expand(5, 3))
    for index in range(5):
        alone = levenberg_marquardt(residuals_of(observed[index]), START)
        torch.testing.assert_close(alone.parameters, together.parameters[index], rtol=1e-12, atol=0)
        assert alone.iterations == together.iterations[index]


def test_levenberg_marquardt__rosenbrock_from_the_usual_start():
    def rosenbrock(x):
        return torch.stack((10 * (x[..., 1] - x[..., 0] ** 2), 1 - x[..., 0]), -1)[..., None]

    start = torch.tensor([[-1.2, 1.0], [1.0, 1.0], [30.0, -40.0]], dtype=torch.float64)
    for damping in (0.0, 1e-3, 1e3):
        solution = levenberg_marquardt(rosenbrock, start, damping=damping, max_iterations=100)
        torch.testing.assert_close(solution.parameters, torch.ones_like(start))
        assert solution.converged.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levenberg_marquardt__exact_data_converges_to_rounding(dtype):
    truth, observed = observations(50, noise=0.0)
    solution = levenberg_marquardt(residuals_of(observed.to(dtype)), START.to(dtype).expand(50, 3))
    assert solution.converged.all()
    assert (solution.parameters - truth).abs().max() < 1e3 * torch.finfo(dtype).eps


def test_levenberg_marquardt__missing_terms_do_not_count():
    _, observed = observations(3)
    full = levenberg_marquardt(residuals_of(observed), START.expand(3, 3))
    gaps = observed.clone()
    gaps[0, ::3] = torch.nan
    gaps[1] = torch.nan
    solution = levenberg_marquardt(residuals_of(gaps), START.expand(3, 3))
    assert solution.converged.tolist() == [True, False, True]
    assert (solution.weights[0, ::3] == 0).all()
    assert solution.cost[1].isnan()
    torch.testing.assert_close(solution.parameters[2], full.parameters[2])
    kept = torch.arange(20) % 3 > 0
    alone = levenberg_marquardt(lambda x: (decay(x) - observed[0])[kept][:, None], START)
    torch.testing.assert_close(solution.parameters[0], alone.parameters)


def test_levenberg_marquardt__a_step_out_of_the_domain_is_rejected():
    # a full Gauss-Newton step from 8 leads to a negative number, whose logarithm is NaN
    def logarithm(x):
        return torch.stack((x.log(), 0.1 * (x - 1)), -1).transpose(-1, -2)

    solution = levenberg_marquardt(logarithm, torch.tensor([[8.0]], dtype=torch.float64), damping=0.0)
    torch.testing.assert_close(solution.parameters, torch.ones(1, 1, dtype=torch.float64))
    assert solution.converged.all()


def test_levenberg_marquardt__parameter_without_evidence_stays():
    start = torch.tensor([3.0, 7.0], dtype=torch.float64)
    solution = levenberg_marquardt(lambda x: (x[..., :1] - 1)[..., None], start)
    torch.testing.assert_close(solution.parameters, torch.tensor([1.0, 7.0], dtype=torch.float64))
    assert solution.converged


def test_levenberg_marquardt__rotation_by_a_retraction():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4, 10, 3, generator=generator, dtype=torch.float64)
    axes = torch.randn(4, 3, generator=generator, dtype=torch.float64)

    def cross(v):
        zero = torch.zeros_like(v[..., 0])
        x, y, z = v.unbind(-1)
        return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*v.shape[:-1], 3, 3)

    truth = torch.linalg.matrix_exp(cross(axes))

    def turn(flat, step):
        return (torch.linalg.matrix_exp(cross(step)) @ flat.reshape(*flat.shape[:-1], 3, 3)).flatten(-2)

    def residuals(flat):
        return points @ (flat.reshape(*flat.shape[:-1], 3, 3) - truth).transpose(-1, -2)

    start = torch.eye(3, dtype=torch.float64).flatten().expand(4, 9)
    solution = levenberg_marquardt(residuals, start, retract=turn, steps=3)
    torch.testing.assert_close(solution.parameters.reshape(4, 3, 3), truth)
    assert solution.information.shape == (4, 3, 3)
    assert solution.converged.all()


def test_levenberg_marquardt__out_of_iterations_is_not_converged():
    _, observed = observations()
    solution = levenberg_marquardt(residuals_of(observed), START, max_iterations=1)
    assert not solution.converged
    assert solution.iterations == 1


def test_levenberg_marquardt__information_is_the_inverse_covariance():
    truth, _ = observations()
    noise = 0.01
    generator = torch.Generator().manual_seed(3)
    observed = decay(truth) + noise * torch.randn(4000, len(TIMES), generator=generator, dtype=torch.float64)
    solution = levenberg_marquardt(lambda x: residuals_of(observed)(x) / noise, truth.expand(4000, 3))
    errors = solution.parameters - truth
    mahalanobis = (errors[:, None] @ solution.information @ errors[..., None]).squeeze()
    assert mahalanobis.mean().item() == pytest.approx(3, abs=0.2)


def test_levenberg_marquardt__names_what_is_wrong():
    with pytest.raises(ShapeError, match=r"residuals: expected \(2, 'M', 'D'\)"):
        levenberg_marquardt(lambda x: x, torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"derivative: expected \(2, 3, 1, 'S'\)"):
        levenberg_marquardt(
            lambda x: x[..., None], torch.ones(2, 3), linearise=lambda x: (x[..., None], torch.ones(2, 3, 3))
        )
    with pytest.raises(InputError, match="expected non-negative"):
        levenberg_marquardt(lambda x: x[..., None], torch.ones(2, 3), damping=-1.0)
